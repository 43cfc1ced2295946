package runtime

import "fmt"

// DType is the type of a buffer's elements.
type DType uint8

const (
	F32  DType = iota + 1 // IEEE binary32
	F16                   // IEEE binary16
	BF16                  // bfloat16
	I32                   // 32-bit signed: tables, counts, ids
	I8                    // 8-bit signed: quantised rows
	U8                    // 8-bit unsigned: pixels
)

var dtypes = [...]struct {
	name string
	size int
}{F32: {"f32", 4}, F16: {"f16", 2}, BF16: {"bf16", 2}, I32: {"i32", 4}, I8: {"i8", 1}, U8: {"u8", 1}}

func (d DType) String() string {
	if d == 0 || int(d) >= len(dtypes) {
		return fmt.Sprintf("dtype(%d)", uint8(d))
	}
	return dtypes[d].name
}

// ParseDType returns the type that String calls s.
func ParseDType(s string) (DType, error) {
	for d := range dtypes {
		if s != "" && dtypes[d].name == s {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("runtime: no dtype %q", s)
}

// Size is the number of bytes of an element.
func (d DType) Size() int { return dtypes[d].size }

// Float says whether elements are floating-point numbers.
func (d DType) Float() bool { return d == F32 || d == F16 || d == BF16 }
