package main

import (
	"encoding/csv"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"isearle/weights/atomicfile"
)

// picturePath is the plot's file beside a file of curves: .png instead of .csv, or behind another ending.
func picturePath(csv string) string {
	if ext := filepath.Ext(csv); strings.EqualFold(ext, ".csv") {
		csv = strings.TrimSuffix(csv, ext)
	}
	return csv + ".png"
}

// writeColumns writes columns of equal length as CSV; what is not a number stays empty.
func writeColumns(path string, names []string, columns [][]float64) error {
	return atomicfile.Write(path, func(to io.Writer) error {
		w := csv.NewWriter(to)
		w.Write(names)
		row := make([]string, len(columns))
		for i := range columns[0] {
			for k, c := range columns {
				row[k] = ""
				if !math.IsNaN(c[i]) {
					row[k] = strconv.FormatFloat(c[i], 'g', 7, 64)
				}
			}
			w.Write(row)
		}
		w.Flush()
		return w.Error()
	})
}
