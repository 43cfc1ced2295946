package search

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// npy builds a file of a version with a header and data, as numpy lays them out.
func npy(version byte, header string, data []byte) []byte {
	b := append([]byte(npyMagic), version, 0)
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	}
	return append(append(b, header...), data...)
}

func doubles(x ...float64) (b []byte) {
	for _, v := range x {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

func floats(x ...float32) (b []byte) {
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func TestParseNPY(t *testing.T) {
	halves := []byte{0x00, 0x3c, 0x00, 0xc0} // 1, -2
	for name, c := range map[string]struct {
		file []byte
		rows [][]float32
	}{
		"f4": {npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }  \n", floats(1, 2, 3, 4)), [][]float32{{1, 2}, {3, 4}}},
		"f8 version 2": {npy(2, "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }\n", doubles(0.1, -1e300)),
			[][]float32{{0.1, float32(math.Inf(-1))}}},
		"f2 version 3":     {npy(3, "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 1), }\n", halves), [][]float32{{1}, {-2}}},
		"no rows":          {npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 7), }\n", nil), nil},
		"order of keys":    {npy(1, `{"shape":(1,1),"descr":"<f4","fortran_order":False}`, floats(5)), [][]float32{{5}}},
		"long integers":    {npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 1L), }", floats(5)), [][]float32{{5}}},
		"fortran, one row": {npy(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }", floats(5, 6)), [][]float32{{5, 6}}},
	} {
		a, err := ParseNPY(c.file, "x.npy")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if a.Rows != len(c.rows) {
			t.Errorf("%s: %d rows", name, a.Rows)
		}
		for i, want := range c.rows {
			got := make([]float32, a.Dim)
			if a.Row(i, got); !slices.Equal(got, want) {
				t.Errorf("%s: row %d is %v, want %v", name, i, got, want)
			}
		}
	}
}

func TestParseNPYRefusals(t *testing.T) {
	head := func(descr, order, shape string) string {
		return fmt.Sprintf("{'descr': %s, 'fortran_order': %s, 'shape': %s, }", descr, order, shape)
	}
	data := floats(1, 2, 3, 4)
	for want, file := range map[string][]byte{
		"does not begin as":              []byte("\x93NUMPX\x01\x00\x00\x00\x00\x00"),
		"offset 0":                       []byte("\x93NUMPY"),
		"version 4":                      npy(4, head("'<f4'", "False", "(2, 2)"), data),
		"a header of 65535 bytes":        []byte("\x93NUMPY\x01\x00\xff\xff{}"),
		`elements of type ">f4"`:         npy(1, head("'>f4'", "False", "(2, 2)"), data),
		`elements of type "|O"`:          npy(1, head("'|O'", "False", "(2, 2)"), data),
		`elements of type "<i4"`:         npy(1, head("'<i4'", "False", "(2, 2)"), data),
		"a string expected":              npy(1, head("[('a', '<f4')]", "False", "(2, 2)"), data),
		"Fortran order":                  npy(1, head("'<f4'", "True", "(2, 2)"), data),
		"False expected":                 npy(1, head("'<f4'", "0", "(2, 2)"), data),
		"shape [4]":                      npy(1, head("'<f4'", "False", "(4,)"), data),
		"shape []":                       npy(1, head("'<f4'", "False", "()"), data),
		"a shape of two whole":           npy(1, head("'<f4'", "False", "(1, 2, 2)"), data),
		"numbers expected at \"-2":       npy(1, head("'<f4'", "False", "(-2, 2)"), data),
		"numbers expected at \"99999999": npy(1, head("'<f4'", "False", "(99999999999999999999, 2)"), data),
		"shape [4 0]":                    npy(1, head("'<f4'", "False", "(4, 0)"), data),
		"16 bytes of data for 2 rows":    npy(1, head("'<f4'", "False", "(2, 3)"), data),
		"16 bytes of data for 1 rows":    npy(1, head("'<f4'", "False", "(1, 2)"), data),
		"16 bytes of data for 42949672":  npy(1, head("'<f4'", "False", "(4294967294, 1048576)"), data),
		`"descr" occurs twice`:           npy(1, "{'descr': '<f4', 'descr': '<f4'}", data),
		"is missing":                     npy(1, "{'descr': '<f4', 'shape': (2, 2)}", data),
		`unknown key "order"`:            npy(1, "{'order': 'C'}", data),
		"text behind":                    npy(1, head("'<f4'", "False", "(2, 2)")+"x", data),
		"{ expected":                     npy(1, "", data),
		"} expected":                     npy(1, "{'descr': '<f4'", data),
	} {
		if _, err := ParseNPY(file, "x.npy"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"x.npy"`) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestWriteNPY(t *testing.T) {
	for _, n := range []int{0, 1, 12345} {
		x := features(uint64(n), n, 3)
		var b bytes.Buffer
		if err := WriteNPY(&b, n, 3, func(i int) ([]float32, error) { return x[i], nil }); err != nil {
			t.Fatal(err)
		}
		if (b.Len()-12*n)%64 != 0 {
			t.Errorf("%d rows: the data begins at %d", n, b.Len()-12*n)
		}
		a, err := ParseNPY(b.Bytes(), "x.npy")
		if err != nil || a.Rows != n || a.Dim != 3 {
			t.Fatalf("%d rows: %+v, %v", n, a, err)
		}
		got := make([]float32, 3)
		for i := range x {
			if a.Row(i, got); !equalBits(got, x[i]) {
				t.Fatalf("row %d is %v, want %v", i, got, x[i])
			}
		}
	}
}

func TestIDs(t *testing.T) {
	if got := IDsPath("dir/x.npy"); got != "dir/x.ids.txt" {
		t.Error(got)
	}
	var b bytes.Buffer
	ids := []string{"a b", "ü", "\xff"}
	if err := WriteIDs(&b, ids); err != nil {
		t.Fatal(err)
	}
	if got, err := parseIDs(&b); err != nil || !slices.Equal(got, ids) {
		t.Errorf("%q, %v", got, err)
	}
	if err := WriteIDs(&b, []string{"a", "b\nc"}); err == nil || !strings.Contains(err.Error(), "row 1") {
		t.Errorf("an id of two lines: %v", err)
	}
	for text, want := range map[string]string{"a\n\nb\n": "line 2 is empty", "a\n" + strings.Repeat("x", maxID+9): "line 2"} {
		if _, err := parseIDs(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "x.ids.txt")
	if err := os.WriteFile(path, []byte("a\r\nb"), 0o666); err != nil {
		t.Fatal(err)
	}
	if got, err := readIDs(path, 2); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readIDs(path, 3); err == nil || !strings.Contains(err.Error(), "2 ids for 3 rows") {
		t.Errorf("too few ids: %v", err)
	}
}

func FuzzNPY(f *testing.F) {
	f.Add(npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }  \n", floats(1, 2, 3, 4)))
	f.Add(npy(2, "{'descr': '<f8', 'fortran_order': True, 'shape': (1, 2), }\n", doubles(0.1, 2)))
	f.Add(npy(3, `{"shape":(4294967294L,1),"descr":"<f2","fortran_order":False}`, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseNPY(data, "fuzz.npy")
		if err != nil {
			return
		}
		x := make([]float32, a.Dim)
		for i := range a.Rows {
			a.Row(i, x)
		}
	})
}
