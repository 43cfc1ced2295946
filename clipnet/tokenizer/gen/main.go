// Command gen writes the tables of package tokenizer: ../tables.go from unicode.json, which record.py wrote, and
// ../clip.bin from CLIP's merge list.
//
//	cd clipnet/tokenizer/gen && go run .
//
// With -check it writes nothing and fails when a table differs from what it would write.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
)

func main() {
	check := flag.Bool("check", false, "compare, do not write")
	merges := flag.String("merges", "../../../weights/golden/testdata/tokenizer/merges_full.txt.gz", "CLIP's merge list")
	flag.Parse()
	log.SetFlags(0)

	tables, err := unicodeTables("unicode.json")
	if err != nil {
		log.Fatalf("gen: %v", err)
	}
	pairs, err := mergePairs(*merges)
	if err != nil {
		log.Fatalf("gen: %v", err)
	}
	for _, out := range []struct {
		path string
		data []byte
	}{{"../tables.go", tables}, {"../clip.bin", pairs}} {
		if err := emit(out.path, out.data, *check); err != nil {
			log.Fatalf("gen: %v", err)
		}
	}
}

func emit(path string, data []byte, check bool) error {
	if !check {
		return os.WriteFile(path, data, 0o644)
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, data) {
		return fmt.Errorf("%s is not what its sources make: run go run . in clipnet/tokenizer/gen", path)
	}
	return nil
}
