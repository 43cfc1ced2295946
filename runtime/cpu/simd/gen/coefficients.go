package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
)

// coefficients reads the constants of the Go file at path, which the portable loops use too, rounded to float32.
func coefficients(path string) (map[string]float32, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		return nil, err
	}
	pkg, err := new(types.Config).Check("simd", set, []*ast.File{file}, nil)
	if err != nil {
		return nil, err
	}
	values := map[string]float32{}
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok {
			return nil, fmt.Errorf("%s: %s is no constant", path, name)
		}
		values[name], _ = constant.Float32Val(constant.ToFloat(c.Val()))
	}
	return values, nil
}
