package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isearle/weights/safetensors"
)

// rawSafetensors is a file with a header of any content, and n bytes of data.
func rawSafetensors(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// without is a small model's file with one tensor left out or of another shape.
func without(t *testing.T, model, name string, shape ...int) []byte {
	t.Helper()
	f, err := safetensors.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []safetensors.Tensor
	for x := range f.All() {
		if x.Name == name {
			if shape == nil {
				continue
			}
			x.Shape = shape
		}
		list = append(list, x)
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, list, f.Metadata()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archive is a torch checkpoint with the given pickle.
func archive(t *testing.T, pickle []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range map[string][]byte{"archive/data.pkl": pickle, "archive/version": []byte("3\n")} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A broken model is one line and exit code 1, whatever the command.
func TestBrokenModels(t *testing.T) {
	t.Chdir(t.TempDir())
	model := smallModel(t)
	good := read(t, model)
	tensor := `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`
	system := []byte("\x80\x02cos\nsystem\nX\x0d\x00\x00\x00touch run.out\x85R.")
	for _, c := range []struct {
		name string
		data []byte
		says []string
	}{
		{"empty.safetensors", nil, nil},
		{"short.safetensors", good[:100], nil},
		{"cut.safetensors", good[:len(good)-100], nil},
		{"oversized.safetensors", binary.LittleEndian.AppendUint64(nil, math.MaxUint64/2), nil},
		{"overlap.safetensors", rawSafetensors(tensor, 12), []string{`"b"`}},
		{"noise.safetensors", rawSafetensors(`{"a":`, 0), nil},
		{"foreign.safetensors", rawSafetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), []string{"not a CLIP"}},
		{"lacks.safetensors", without(t, model, "visual.ln_pre.bias"), []string{"visual.ln_pre.bias", "missing"}},
		{"shape.safetensors", without(t, model, "visual.proj", 24, 32), []string{"visual.proj", "[24 32]", "[32 24]"}},
		{"system.pt", archive(t, system), []string{"os", "system"}},
		{"bare.pt", system, nil},
		{"bomb.pt", archive(t, make([]byte, 300<<20)), nil},
		{"text.pt", []byte("this is no model"), nil},
	} {
		write(t, c.name, c.data)
		for _, args := range [][]string{
			{"info", c.name}, {"embed", "-m", c.name, "--text"}, {"convert", c.name, "out.safetensors"},
			{"search", "-m", c.name, "-g", "none.isx", "a cat"},
		} {
			says := append([]string{"isearle " + args[0], c.name}, c.says...)
			if args[0] == "search" { // which looks at the gallery first
				says = []string{"isearle search", "none.isx"}
			}
			t.Run(args[0]+"/"+c.name, func(t *testing.T) {
				fails(t, call(t, "a cat\n", append([]string{"isearle"}, args...)...), exitFailed, says...)
			})
		}
	}
	for _, name := range []string{"run.out", "out.safetensors"} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

// pngHeader is a PNG that claims a size and has no pixels.
func pngHeader(width, height uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	chunk := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	chunk = append(binary.BigEndian.AppendUint32(chunk, height), 8, 2, 0, 0, 0)
	return binary.BigEndian.AppendUint32(append(b, chunk...), crc32.ChecksumIEEE(chunk))
}

// A broken image is one line, the others are embedded, and the exit code is 1.
func TestBrokenImages(t *testing.T) {
	model := smallModel(t)
	_, paths := pictures(t, 2)
	t.Chdir(t.TempDir())
	good := read(t, paths[0])
	for _, c := range []struct {
		name string
		data []byte
		says string
	}{
		{"empty.jpg", nil, "empty.jpg"},
		{"cut.png", good[:len(good)/2], "cut.png"},
		{"huge.png", pngHeader(60_000, 60_000), "60000"},
		{"text.jpg", []byte("no picture at all"), "text.jpg"},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, c.name, c.data)
			out := c.name + ".jsonl"
			r := call(t, "", "isearle", "embed", "-m", model, "-o", out, paths[0], c.name, paths[1])
			fails(t, r, exitFailed, "isearle embed", c.says)
			if n := strings.Count(string(read(t, out)), "\n"); n != 2 {
				t.Errorf("%d rows, want those of the two good images", n)
			}
			r = call(t, "", "isearle", "embed", "-m", model, "-o", "alone.isx", c.name)
			fails(t, r, exitFailed, c.says)
			if left, _ := filepath.Glob("alone.isx*"); left != nil {
				t.Errorf("a run without a row left %v", left)
			}
		})
	}
}

// poisoned is a safetensors file with a NaN in the place of an element of an F32 tensor.
func poisoned(t *testing.T, path, tensor string, element int) []byte {
	t.Helper()
	data := read(t, path)
	f, err := safetensors.Parse(data, path)
	if err != nil {
		t.Fatal(err)
	}
	x, ok := f.Tensor(tensor)
	if !ok {
		t.Fatalf("%s has no tensor %s", path, tensor)
	}
	binary.LittleEndian.PutUint32(x.Data[4*element:], math.Float32bits(float32(math.NaN()))) // a view of data
	return data
}

// Mistakes and misfortunes of other kinds, each one line.
func TestBrokenInputs(t *testing.T) {
	model := smallModel(t)
	dir, paths := pictures(t, 100)
	t.Chdir(t.TempDir())
	must(t, "", "isearle", "embed", "-m", model, "-o", "g.isx", dir)
	must(t, "", "isearle", "embed", "--quiet", "-o", "emoji.isx", paths[0])
	write(t, "nan.isx", poisoned(t, "g.isx", "features", 70*smallDim+5))
	write(t, "cut.isx", read(t, "g.isx")[:3000])
	if err := os.Mkdir("empty", 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, "nan.safetensors", poisoned(t, model, "visual.ln_post.bias", 0))
	long := strings.Repeat("word ", 10_000)
	search := []string{"isearle", "search", "-m", model, "-g"}
	for _, c := range []struct {
		name  string
		stdin string
		args  []string
		code  int
		says  []string
	}{
		{"directory without images", "", []string{"isearle", "embed", "-o", "x.isx", "empty"}, exitFailed, []string{`"empty"`, "no images"}},
		{"no such file", "", []string{"isearle", "embed", "-o", "x.isx", "lost.png"}, exitFailed, []string{"lost.png"}},
		{"no such captions", "", []string{"isearle", "embed", "--text", "-o", "x.isx", "lost.txt"}, exitFailed, []string{"lost.txt"}},
		{"captions twice", "", []string{"isearle", "embed", "--text", "-o", "x.isx", "a.txt", "b.txt"}, exitUsage, []string{"b.txt"}},
		{"empty list", "", []string{"isearle", "embed", "-o", "x.isx", "-"}, exitFailed, []string{"no inputs"}},
		{"unknown output", "", []string{"isearle", "embed", "-o", "x.csv", paths[0]}, exitFailed, []string{".isx, .npy or .jsonl"}},
		{"output folder lost", "", []string{"isearle", "embed", "-o", "lost/x.isx", paths[0]}, exitFailed, []string{"lost/x.isx"}},
		{"image twice", "", []string{"isearle", "embed", "-m", model, "-o", "x.isx", paths[0], paths[0]}, exitFailed, []string{"twice"}},
		{"gallery of another model", "", append(search, "emoji.isx", "--image", paths[0]), exitFailed, []string{"emoji world", filepath.Base(model)}},
		{"append to another model's", "", []string{"isearle", "embed", "-m", model, "--append", "-o", "emoji.isx", paths[1]}, exitFailed, []string{"emoji world"}},
		{"gallery cut short", "", append(search, "cut.isx", "--image", paths[0]), exitFailed, []string{"cut.isx"}},
		{"gallery that is a model", "", append(search, model, "--image", paths[0]), exitFailed, []string{"not a gallery"}},
		{"NaN in a gallery", "", append(search, "nan.isx", "--image", paths[0]), exitFailed, []string{"row 70", "not finite"}},
		{"NaN in a model", "", []string{"isearle", "embed", "-m", "nan.safetensors", "-o", "x.isx", paths[0]}, exitFailed, []string{paths[0], "NaN"}},
		{"k beyond the gallery", "", append(search, "g.isx", "--image", paths[0], "-k", "101"), exitDone, []string{"100", "101"}},
		{"k of nothing", "", append(search, "g.isx", "--image", paths[0], "-k", "0"), exitUsage, []string{"-k 0"}},
		{"empty caption", "", append(search, "g.isx", ""), exitUsage, []string{"empty"}},
		{"empty caption with an image", "", append(search, "g.isx", "--image", paths[0], ""), exitDone, []string{"caption is empty"}},
		{"empty caption in a list", paths[0] + "\t\n", append(search, "g.isx"), exitDone, []string{"caption is empty"}},
		{"empty line in a list", "\n" + paths[0] + "\n", append(search, "g.isx"), exitFailed, []string{"standard input:1", "neither"}},
		{"broken JSON in a list", "{\n" + paths[0] + "\n", append(search, "g.isx"), exitFailed, []string{"standard input:1", "JSON"}},
		{"lost reference in a list", "lost.png\n" + paths[0] + "\n", append(search, "g.isx"), exitFailed, []string{"lost.png"}},
		{"caption of 10,000 words", long + "\n", []string{"isearle", "embed", "--text", "-o", "x.npy", "-m", model}, exitDone, []string{"standard input:1", "77"}},
		{"query of 10,000 words", "", append(search, "g.isx", long), exitDone, []string{"77"}},
		{"no phi", "", append(search, "g.isx", "--image", paths[0], "is red"), exitFailed, []string{"--phi"}},
		{"phi that is none", "", append(search, "g.isx", "--phi", model, "--image", paths[0], "is red"), exitFailed, []string{"textual inversion"}},
		{"no device", "", []string{"isearle", "embed", "--device", "cuda", "-o", "x.isx", paths[0]}, exitNoDevice, []string{"cuda"}},
		{"no second device", "", []string{"isearle-search", "--device", "cuda:1", "a cat"}, exitNoDevice, []string{"cuda:1"}},
		{"unknown device", "", []string{"isearle", "embed", "--device", "tpu", "-o", "x.isx", paths[0]}, exitUsage, []string{"tpu"}},
		{"threads", "", []string{"isearle", "embed", "-j", "-1", "-o", "x.isx", paths[0]}, exitUsage, []string{"--threads"}},
		{"heads", "", []string{"isearle", "info", "--heads", "1,2,3", model}, exitUsage, []string{"--heads"}},
		{"two outputs of ids", "", []string{"isearle", "embed", "--ids", "caption", "-o", "x.isx", paths[0]}, exitUsage, []string{"--ids"}},
		{"int8 of an array", "", []string{"isearle", "embed", "--int8", "-o", "x.npy", paths[0]}, exitUsage, []string{"--int8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fails(t, call(t, c.stdin, c.args...), c.code, c.says...)
		})
	}
}
