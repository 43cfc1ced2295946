// Command gen writes the tables of package tokenizer: ../tables.go from unicode.json, which record.py wrote, and
// ../clip.bin from CLIP's merge list.
//
//	go generate ./clipnet/tokenizer
package main

import (
	"flag"
	"log"
	"os"
)

func main() {
	merges := flag.String("merges", "../../../weights/golden/testdata/tokenizer/merges_full.txt.gz", "CLIP's merge list")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("gen: ")

	tables, err := unicodeTables("unicode.json")
	if err != nil {
		log.Fatal(err)
	}
	pairs, err := mergePairs(*merges)
	if err != nil {
		log.Fatal(err)
	}
	for path, data := range map[string][]byte{"../tables.go": tables, "../clip.bin": pairs} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
