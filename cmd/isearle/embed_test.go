package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"isearle/cmd/isearle/internal/bench"
	"isearle/search"
	"isearle/weights"
	"isearle/weights/golden"
	"isearle/weights/safetensors"
)

// asProgram makes the test binary be the program.
const asProgram = "ISEARLE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// smallDim is the dimension of smallModel's features.
const smallDim = 24

// smallModel writes a tiny model of random weights and returns its file.
func smallModel(t *testing.T) string {
	t.Helper()
	c, _ := bench.Shapes("vit-b-32")
	c.Vision = weights.Vision{ImageSize: 32, PatchSize: 16, Width: 32, Layers: 2, Heads: 2, MLP: 64}
	c.Text = weights.Text{Context: 77, Vocab: 49408, Width: 16, Layers: 1, Heads: 2, MLP: 32, BOS: 49406, EOT: 49407}
	c.EmbedDim, c.Preprocess.Resize = smallDim, 32
	m, err := bench.Random(c)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "small.safetensors")
	if err := weights.Write(path, m, weights.OpenAI, safetensors.Invalid); err != nil {
		t.Fatal(err)
	}
	return path
}

// pictures writes n different images and returns their folder and paths, in order.
func pictures(t *testing.T, n int) (dir string, paths []string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		m := image.NewRGBA(image.Rect(0, 0, 16+i%7, 16+i%5))
		for y := range m.Rect.Dy() {
			for x := range m.Rect.Dx() {
				m.SetRGBA(x, y, color.RGBA{uint8(i * x), uint8(i >> 3 * y), uint8(i ^ x*y), 255})
			}
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%04d.png", i)))
		write(t, paths[i], b.Bytes())
	}
	return dir, paths
}

// process is the program running by itself.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0])}
	p.Args = args
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Stderr = &p.stderr
	var err error
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	return p
}

// give writes paths to standard input and leaves it open.
func (p *process) give(t *testing.T, paths []string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, strings.Join(paths, "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
}

// grown waits until a file is larger than n bytes and returns its size.
func grown(t *testing.T, path string, n int64) int64 {
	t.Helper()
	for range 6000 {
		if info, err := os.Stat(path); err == nil && info.Size() > n {
			return info.Size()
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not grow beyond %d bytes", path, n)
	return 0
}

// A run that is killed again and again, and then finished, ends in the bytes of one that nobody disturbed.
func TestKilledEmbedGoesOn(t *testing.T) {
	model := smallModel(t)
	dir, paths := pictures(t, 1000)
	whole := filepath.Join(t.TempDir(), "whole.isx")
	must(t, "", "isearle", "embed", "-m", model, "--int8", "-o", whole, dir)

	killed := filepath.Join(t.TempDir(), "killed.isx")
	size := int64(0)
	for _, known := range []int{300, 500, 900} {
		p := start(t, "isearle", "embed", "-m", model, "--int8", "--save-every", "1ns", "-o", killed, "-")
		p.give(t, paths[:known])
		size = grown(t, killed+search.PartialSuffix, size+4096)
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.Wait()
		if _, err := os.Stat(killed); err == nil {
			t.Fatal("a killed run left an output file")
		}
	}
	r := call(t, "", "isearle", "embed", "-m", model, "--int8", "-o", killed, dir)
	fails(t, r, exitDone, "going on with")
	if !bytes.Equal(read(t, whole), read(t, killed)) {
		t.Error("the files differ")
	}
	if _, err := os.Stat(killed + search.PartialSuffix); err == nil {
		t.Error("the journal is still there")
	}
}

// An interrupt keeps what is done and says so.
func TestInterruptedEmbedGoesOn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signal by which a process interrupts another")
	}
	model := smallModel(t)
	dir, paths := pictures(t, 200)
	whole, cut := filepath.Join(t.TempDir(), "whole.npy"), filepath.Join(t.TempDir(), "cut.npy")
	must(t, "", "isearle", "embed", "-m", model, "-o", whole, dir)

	p := start(t, "isearle", "embed", "-m", model, "--save-every", "1ns", "-o", cut, "-")
	p.give(t, paths[:150])
	grown(t, cut+search.PartialSuffix, 4096)
	if err := p.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err := p.Wait()
	if p.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("ended with %v, want exit code %d", err, exitInterrupted)
	}
	if s := p.stderr.String(); !strings.Contains(s, "goes on from there") || !strings.Contains(s, "interrupted") {
		t.Errorf("standard error is %q", s)
	}
	fails(t, call(t, "", "isearle", "embed", "-m", model, "-o", cut, dir), exitDone, "going on with")
	if !bytes.Equal(read(t, whole), read(t, cut)) {
		t.Error("the files differ")
	}
}

// An embed run again on a gallery computes what is new or changed, and the result is that of a fresh run.
func TestEmbedAgain(t *testing.T) {
	model := smallModel(t)
	dir, paths := pictures(t, 40)
	out := filepath.Join(t.TempDir(), "g.isx")
	must(t, "", "isearle", "embed", "-m", model, "-o", out, dir)
	first := read(t, out)
	must(t, "", "isearle", "embed", "-m", model, "-o", out, dir)
	if !bytes.Equal(first, read(t, out)) {
		t.Error("a second run changes the file")
	}
	write(t, paths[3], read(t, paths[4]))
	if err := os.Remove(paths[7]); err != nil {
		t.Fatal(err)
	}
	must(t, "", "isearle", "embed", "-m", model, "-o", out, dir)
	fresh := filepath.Join(t.TempDir(), "g.isx")
	must(t, "", "isearle", "embed", "-m", model, "-o", fresh, dir)
	if !bytes.Equal(read(t, fresh), read(t, out)) {
		t.Error("the updated gallery is not that of a fresh run")
	}
}

// ids are those of a gallery in order.
func ids(t *testing.T, path string) (list []string) {
	t.Helper()
	g, err := search.OpenGallery(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for i := range g.Len() {
		list = append(list, g.ID(i))
	}
	return list
}

func TestEmbedIDs(t *testing.T) {
	model := smallModel(t)
	dir, _ := pictures(t, 4)
	t.Chdir(dir)
	embed := func(stdin string, args ...string) []string {
		must(t, stdin, append([]string{"isearle", "embed", "-m", model, "-o", "g.isx"}, args...)...)
		return ids(t, "g.isx")
	}
	captions := "a cat\na dog\n"
	for _, c := range []struct{ got, want []string }{
		{embed("", "./0001.png", "0000.png"), []string{"./0001.png", "0000.png"}},
		{embed("", "--append", "0003.png", "0000.png"), []string{"./0001.png", "0000.png", "0003.png"}},
		{embed("", "--ids", "name", dir), []string{"0000.png", "0001.png", "0002.png", "0003.png"}},
		{embed("0002.png\x00./0001.png", "--ids", "stem", "-0", "-"), []string{"0002", "0001"}},
		{embed(captions, "--text"), []string{"1", "2"}},
		{embed(captions, "--text", "--ids", "caption", "-"), []string{"a cat", "a dog"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("ids %q, want %q", c.got, c.want)
		}
	}
	fails(t, call(t, "a cat\n\n", "isearle", "embed", "-m", model, "--text", "--ids", "caption", "-o", "h.isx"), exitFailed, "standard input:2", "no id")
}

// Without --raw features have unit length, with it they are the model's.
func TestEmbedRaw(t *testing.T) {
	model := smallModel(t)
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args []string
		unit bool
	}{{nil, true}, {[]string{"--raw"}, false}} {
		must(t, "a cat\n\na dog\n", append([]string{"isearle", "embed", "-m", model, "--text", "-o", "t.npy"}, c.args...)...)
		a := golden.NPY(t, "t.npy")
		if !slices.Equal(a.Shape, []int{3, smallDim}) {
			t.Fatalf("shape %v: an empty line is a caption", a.Shape)
		}
		if unit := math.Abs(length(a.Row(0))-1) < 1e-6; unit != c.unit {
			t.Errorf("%v: length %v", c.args, length(a.Row(0)))
		}
	}
	if _, err := os.Stat("t.ids.txt"); err == nil {
		t.Error("the numbers of lines are written beside the array")
	}
}
