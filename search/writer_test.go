package search

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"isearle/runtime"
	"isearle/weights/atomicfile"
)

// run goes through inputs as a program that embeds does, until it has computed stop of them, and reports how many were kept.
func run(t testing.TB, path string, meta Meta, o WriterOptions, x [][]float32, stop int) (kept int) {
	t.Helper()
	w, err := Create(path, meta, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	computed := 0
	for i, f := range x {
		id := testID(i)
		d := DigestOf(encode(nil, f, runtime.F32))
		has := w.Has(id, d)
		ok, err := w.Keep(id, d)
		if err != nil || ok != has {
			t.Fatalf("keep %q: %t, %v; has: %t", id, ok, err, has)
		}
		if ok {
			kept++
			continue
		}
		if computed == stop {
			return kept
		}
		computed++
		if err := w.Add(id, d, f); err != nil {
			t.Fatal(err)
		}
		if i%7 == 3 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return kept
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// only checks that a directory holds nothing else.
func only(t testing.TB, path string) {
	t.Helper()
	names, _ := os.ReadDir(filepath.Dir(path))
	if len(names) != 1 {
		t.Errorf("beside the file: %v", names)
	}
}

var formats = []string{"g.isx", "g.npy", "g.jsonl"}

// TestResume interrupts a run several times and compares with one that was not.
func TestResume(t *testing.T) {
	x := features(7, 60, 12)
	for _, name := range formats {
		meta := testMeta(12)
		meta.Coarse = name == "g.isx"
		whole, parts := filepath.Join(t.TempDir(), name), filepath.Join(t.TempDir(), name)
		run(t, whole, meta, WriterOptions{}, x, -1)
		for i, stop := range []int{5, 0, 23, 1} {
			if kept, want := run(t, parts, meta, WriterOptions{}, x, stop), []int{0, 5, 5, 28}[i]; kept != want {
				t.Errorf("%s: %d rows kept in run %d, want %d", name, kept, i, want)
			}
			if _, err := os.Stat(parts); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: an unfinished file stands at its path (%v)", name, err)
			}
		}
		if kept := run(t, parts, meta, WriterOptions{}, x, -1); kept != 29 {
			t.Errorf("%s: %d rows kept in the last run", name, kept)
		}
		if !bytes.Equal(read(t, whole), read(t, parts)) {
			t.Errorf("%s: the resumed file differs", name)
		}
		if name == "g.npy" {
			if !bytes.Equal(read(t, IDsPath(whole)), read(t, IDsPath(parts))) {
				t.Error("the resumed ids differ")
			}
			continue
		}
		only(t, parts)
	}
}

// TestResumeOtherInputs changes, removes and adds inputs between an interrupted run and the next: the file is that of the
// new inputs alone, in their order.
func TestResumeOtherInputs(t *testing.T) {
	before, meta := features(7, 40, 12), testMeta(12)
	after := append([][]float32{}, before...)
	after[4] = features(8, 1, 12)[0]
	whole, parts := filepath.Join(t.TempDir(), "g.isx"), filepath.Join(t.TempDir(), "g.isx")
	run(t, whole, meta, WriterOptions{}, after[:30], -1)
	run(t, parts, meta, WriterOptions{}, before, 35)
	if kept := run(t, parts, meta, WriterOptions{}, after[:30], -1); kept != 29 {
		t.Errorf("%d rows kept, want 29", kept)
	}
	if !bytes.Equal(read(t, whole), read(t, parts)) {
		t.Error("the file differs from that of a run with the new inputs")
	}
	// A finished gallery serves the next run in the same way.
	after[11] = features(9, 1, 12)[0]
	run(t, whole, meta, WriterOptions{Restart: true}, after, -1)
	if kept := run(t, parts, meta, WriterOptions{}, after, -1); kept != 29 {
		t.Errorf("%d rows of the finished gallery kept, want 29", kept)
	}
	if !bytes.Equal(read(t, whole), read(t, parts)) {
		t.Error("the updated gallery differs from that of a run with the new inputs")
	}
	if kept := run(t, parts, meta, WriterOptions{Restart: true}, after, -1); kept != 0 {
		t.Errorf("%d rows kept after a restart", kept)
	}
	only(t, parts)
}

// TestTornJournal cuts a journal at many lengths, as a killed process or a full disk may, and resumes.
func TestTornJournal(t *testing.T) {
	x, meta := features(7, 20, 3), testMeta(3)
	whole, parts := filepath.Join(t.TempDir(), "g.isx"), filepath.Join(t.TempDir(), "g.isx")
	run(t, whole, meta, WriterOptions{}, x, -1)
	run(t, parts, meta, WriterOptions{}, x, 19)
	want, journal := read(t, whole), read(t, parts+PartialSuffix)
	resume := func(what string, torn []byte) (kept int) {
		t.Helper()
		if err := os.WriteFile(parts+PartialSuffix, torn, 0o666); err != nil {
			t.Fatal(err)
		}
		kept = run(t, parts, meta, WriterOptions{}, x, -1)
		if !bytes.Equal(read(t, parts), want) {
			t.Fatalf("%s: another file", what)
		}
		os.Remove(parts)
		return kept
	}
	most := 0
	for n := 0; n <= len(journal); n += 11 {
		most = max(most, resume(fmt.Sprintf("%d bytes of %d", n, len(journal)), journal[:n]))
	}
	if kept := resume("whole", journal); kept != 19 || most < 11 {
		t.Errorf("%d rows kept of a whole journal, at most %d of a torn one", kept, most)
	}
	for i := len(journal) - 1; i > len(journalMagic); i -= 23 {
		bad := bytes.Clone(journal)
		bad[i] ^= 0x10
		resume(fmt.Sprintf("bit of byte %d turned", i), bad)
	}
	resume("zeros behind", append(bytes.Clone(journal), make([]byte, 100)...))
}

// TestKilled kills processes that write, and lets the last one finish.
func TestKilled(t *testing.T) {
	if path := os.Getenv("ISEARLE_TEST_WRITE"); path != "" {
		child(t, path)
		return
	}
	x, meta := features(7, 300, 16), testMeta(16)
	whole, parts := filepath.Join(t.TempDir(), "g.isx"), filepath.Join(t.TempDir(), "g.isx")
	run(t, whole, meta, WriterOptions{}, x, -1)
	for flushes := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "ISEARLE_TEST_WRITE="+parts)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// A byte comes for each flush, so that some progress is made before the kill.
		if _, err := io.ReadFull(out, make([]byte, flushes+1)); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process was not killed")
		}
		in.Close()
	}
	if kept := run(t, parts, meta, WriterOptions{}, x, -1); kept < 3*6 || kept == 300 {
		t.Errorf("%d rows are left by the killed processes", kept)
	}
	if !bytes.Equal(read(t, whole), read(t, parts)) {
		t.Error("the file differs")
	}
	only(t, parts)
}

// child is the other process of TestKilled: it writes, and stops after some flushes to be killed at the latest then.
func child(t *testing.T, path string) {
	w, err := Create(path, testMeta(16), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	flushes := 0
	for i, f := range features(7, 300, 16) {
		d := DigestOf(encode(nil, f, runtime.F32))
		if ok, err := w.Keep(testID(i), d); err != nil {
			t.Fatal(err)
		} else if ok {
			continue
		}
		if err := w.Add(testID(i), d, f); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			os.Stdout.WriteString(".")
			if flushes++; flushes == 12 {
				os.Stdin.Read(make([]byte, 1))
			}
		}
	}
}

func TestAppend(t *testing.T) {
	x, meta := features(7, 50, 12), testMeta(12)
	meta.Coarse = true
	whole, parts := filepath.Join(t.TempDir(), "g.isx"), filepath.Join(t.TempDir(), "g.isx")
	run(t, whole, meta, WriterOptions{}, x, -1)
	run(t, parts, meta, WriterOptions{Append: true}, x[:20], -1) // nothing there yet
	run(t, parts, meta, WriterOptions{Append: true}, x, 10)
	if g := open(t, parts); g.Len() != 20 {
		t.Errorf("an unfinished append leaves %d rows", g.Len())
	}
	if kept := run(t, parts, meta, WriterOptions{Append: true}, x, -1); kept != 30 {
		t.Errorf("%d rows kept, want 20 of the gallery and 10 of the journal", kept)
	}
	if !bytes.Equal(read(t, whole), read(t, parts)) {
		t.Error("the appended gallery differs")
	}
	other := meta
	other.Model = Model{Name: "other", Hash: "ff"}
	var mismatch *ModelMismatchError
	if _, err := Create(parts, other, WriterOptions{Append: true}); !errors.As(err, &mismatch) || mismatch.Want.Name != "other" {
		t.Errorf("appending rows of another model: %v", err)
	}
	other = meta
	other.Pad = "none"
	if _, err := Create(parts, other, WriterOptions{Append: true}); err == nil || !strings.Contains(err.Error(), "pad targetpad:1.25, not none") {
		t.Errorf("appending rows prepared otherwise: %v", err)
	}
	if _, err := Create(filepath.Join(t.TempDir(), "g.npy"), meta, WriterOptions{Append: true}); err == nil {
		t.Error("an array can be appended to")
	}
	if !bytes.Equal(read(t, whole), read(t, parts)) {
		t.Error("refused appends changed the gallery")
	}
	only(t, parts)
}

func TestWriterRefusals(t *testing.T) {
	meta := testMeta(2)
	meta.DType = runtime.F16
	path := filepath.Join(t.TempDir(), "g.isx")
	w, err := Create(path, meta, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add("first", Digest{}, []float32{0.6, 0.8}); err != nil {
		t.Fatal(err)
	}
	nan := float32(math.NaN())
	for want, row := range map[string]Row{
		"an id of 0 bytes":      {"", []float32{1, 0}},
		"an id of 65537 bytes":  {strings.Repeat("x", maxID+1), []float32{1, 0}},
		"the id occurs twice":   {"first", []float32{1, 0}},
		"dimension 3":           {"a", []float32{1, 0, 0}},
		"not finite":            {"b", []float32{nan, 0}},
		"has length 2, but the": {"c", []float32{0, 2}},
	} {
		if err := w.Add(row.ID, Digest{}, row.Feature); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := w.Add("first", Digest{}, []float32{1, 0}); !errors.Is(err, ErrDuplicateID) {
		t.Errorf("%v is not ErrDuplicateID", err)
	}
	if _, err := Create(path, meta, WriterOptions{}); !errors.Is(err, atomicfile.ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	meta.Normalised = false
	if _, err := Create(path, meta, WriterOptions{}); err == nil || !strings.Contains(err.Error(), "normalised true, not false") {
		t.Errorf("going on with other settings: %v", err)
	}
	if w, err = Create(path, meta, WriterOptions{Restart: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.Add("large", Digest{}, []float32{1e5, 0}); err == nil || !strings.Contains(err.Error(), "too large for f16") {
		t.Errorf("1e5 in f16: %v", err)
	}
	if err := w.Add("small", Digest{}, []float32{5, 0}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	meta.Model.Hash = "other"
	var mismatch *ModelMismatchError
	if _, err := Create(path, meta, WriterOptions{}); !errors.As(err, &mismatch) {
		t.Errorf("going on with another model: %v", err)
	}
}

func TestCreateRefusals(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "g.isx"+PartialSuffix), []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.isx"), 0o777); err != nil {
		t.Fatal(err)
	}
	good := testMeta(4)
	bad := good
	bad.Dim = 0
	raw := good
	raw.Normalised, raw.Coarse = false, true
	ints := good
	ints.DType = runtime.I8
	for _, c := range []struct {
		path, want string
		meta       Meta
	}{
		{filepath.Join(dir, "no", "g.isx"), "no such file or directory", good},
		{filepath.Join(file, "g.isx"), "not a directory", good},
		{filepath.Join(dir, "folder.isx"), "not a regular file", good},
		{filepath.Join(dir, "g.isx"), "stands in the way", good},
		{filepath.Join(dir, "g.csv"), "must end in .isx, .npy or .jsonl", good},
		{filepath.Join(dir, "h.isx"), "dimension 0", bad},
		{filepath.Join(dir, "h.isx"), "needs normalised features", raw},
		{filepath.Join(dir, "h.isx"), "features of i8", ints},
	} {
		if _, err := Create(c.path, c.meta, WriterOptions{}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
	}
	if string(read(t, filepath.Join(dir, "g.isx"+PartialSuffix))) != "precious" {
		t.Error("a foreign file was overwritten")
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write to any directory")
	}
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(4), features(1, 3, 4))
	want := read(t, path)
	if err := os.Chmod(filepath.Dir(path), 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(path), 0o777)
	if _, err := Create(path, testMeta(4), WriterOptions{}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("in a read-only directory: %v", err)
	}
	if !bytes.Equal(read(t, path), want) {
		t.Error("the gallery changed")
	}
}

// TestFullDisk limits the size of files, which fails as a full disk does: in the journal, and in the file itself.
func TestFullDisk(t *testing.T) {
	x := features(7, 400, 16)
	path := filepath.Join(t.TempDir(), "g.isx")
	write(t, path, testMeta(16), x[:10])
	old := read(t, path)
	if limit := os.Getenv("ISEARLE_TEST_LIMIT"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil {
			t.Fatal(err)
		}
		limitFiles(t, uint64(n))
		fullDisk(t, path, old, x)
		return
	}
	if !canLimitFiles {
		t.Skip("this system cannot limit the size of files")
	}
	// 400 rows are 26 KiB of features; the journal is larger than the gallery, whose ids need no lengths.
	for _, limit := range []string{"2000", "20000"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$")
		cmd.Env = append(os.Environ(), "ISEARLE_TEST_LIMIT="+limit)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("with at most %s bytes a file: %v\n%s", limit, err, out)
		}
	}
}

// fullDisk writes until it fails, and checks that nothing is lost by it.
func fullDisk(t *testing.T, path string, old []byte, x [][]float32) {
	w, err := Create(path, testMeta(16), WriterOptions{Restart: true})
	if err != nil {
		t.Fatal(err)
	}
	durable := 0
	for i, f := range x {
		if err = w.Add(testID(i), Digest{}, f); err != nil {
			t.Fatal(err)
		}
		if err = w.Flush(); err != nil {
			break
		}
		durable++
	}
	if err == nil || !strings.Contains(err.Error(), path) || durable == 0 {
		t.Fatalf("%d rows written, then %v", durable, err)
	}
	if err := w.Commit(); err == nil {
		t.Error("the file can be written")
	}
	if err := w.Close(); err == nil {
		t.Error("closing does not say that rows are lost")
	}
	if !bytes.Equal(read(t, path), old) {
		t.Error("the old file is damaged")
	}
	if w, err = Create(path, testMeta(16), WriterOptions{}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Resumed() != durable {
		t.Errorf("%d rows are left, %d were flushed", w.Resumed(), durable)
	}
}
