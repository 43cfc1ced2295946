package torch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"isearle/weights/safetensors"
)

func open(t *testing.T, name string) *File {
	t.Helper()
	f, err := Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// count returns 0, 1, ... n-1.
func count(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(i)
	}
	return out
}

func get[T any](t *testing.T, d *Dict, key any) T {
	t.Helper()
	v, ok := d.Get(key)
	x, is := v.(T)
	if !ok || !is {
		t.Fatalf("%v is %T %v", key, v, v)
	}
	return x
}

func TestMixed(t *testing.T) {
	root := open(t, "mixed.pt").Value().(*Dict)
	if got := get[int64](t, root, "epoch"); got != 7 {
		t.Errorf("epoch %d", got)
	}
	if got := get[float64](t, root, "lr"); got != 0.02 {
		t.Errorf("lr %g", got)
	}
	for key, want := range map[any]any{"ok": true, "none": nil, "list": []any{int64(1), "x", Tuple{int64(2), int64(3)}},
		"size": Tuple{int64(4), int64(6)}, "dtype": safetensors.F16, int64(5): "five"} {
		if got, ok := root.Get(key); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%v is %#v, want %#v", key, got, want)
		}
	}
	phi := get[*Dict](t, root, "Phi")
	for _, c := range []struct {
		name  string
		dtype safetensors.DType
		shape []int
		want  []float32
	}{
		{"a", safetensors.F32, []int{4, 6}, count(24)},
		{"transposed", safetensors.F32, []int{6, 4}, []float32{0, 6, 12, 18, 1, 7, 13, 19, 2, 8, 14, 20, 3, 9, 15, 21, 4, 10, 16, 22, 5, 11, 17, 23}},
		{"strided", safetensors.F32, []int{2, 3}, []float32{6, 8, 10, 12, 14, 16}},
		{"row", safetensors.F32, []int{6}, []float32{12, 13, 14, 15, 16, 17}},
		{"scalar", safetensors.F32, []int{}, []float32{3.5}},
		{"half", safetensors.F16, []int{4, 6}, count(24)},
		{"bfloat16", safetensors.BF16, []int{4, 6}, count(24)},
		{"double", safetensors.F64, []int{4, 6}, count(24)},
		{"empty", safetensors.F32, []int{0, 3}, nil},
		{"parameter", safetensors.F32, []int{6}, count(6)},
	} {
		x := get[*Tensor](t, phi, c.name).Dense(c.name)
		got, err := x.Float32s(nil)
		if err != nil || x.DType != c.dtype || !slices.Equal(x.Shape, c.shape) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v %v %v, %v", c.name, x.DType, x.Shape, got, err)
		}
	}
	for name, d := range map[string]safetensors.DType{"int64": safetensors.I64, "int32": safetensors.I32, "uint8": safetensors.U8, "bool": safetensors.Bool, "uint16": safetensors.U16} {
		x := get[*Tensor](t, phi, name).Dense(name)
		if got, err := x.Int64s(nil); err != nil || x.DType != d || name != "bool" && !slices.Equal(got, []int64{0, 1, 2, 3, 4}[:len(got)]) {
			t.Errorf("%s: %v %v, %v", name, x.DType, got, err)
		}
	}
	named, err := Flatten(root)
	if err != nil || len(named) != phi.Len() || named[0].Name != "Phi.a" {
		t.Errorf("flattened: %d tensors, %v", len(named), err)
	}
}

func TestScript(t *testing.T) {
	f := open(t, "script.pt")
	root, ok := f.Value().(*Object)
	if !ok || !f.IsScript() || !strings.HasPrefix(root.Class, "__torch__.") {
		t.Fatalf("%T", f.Value())
	}
	plain := open(t, "state_dict.pt")
	if plain.IsScript() {
		t.Error("a state dict taken for TorchScript")
	}
	want, err := Flatten(plain.Value())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Flatten(root)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d tensors, want %d: %v", len(got), len(want), err)
	}
	for i := range want {
		if got[i].Name != want[i].Name || !bytes.Equal(got[i].Tensor.Data, want[i].Tensor.Data) {
			t.Errorf("%s differs from %s", got[i].Name, want[i].Name)
		}
		f.Drop(got[i].Tensor.Data)
	}
}

func TestRefusedFiles(t *testing.T) {
	for name, want := range map[string]string{
		"legacy.pt":     "before PyTorch 1.6",
		"module.pt":     `data.pkl: offset 2: refusing the global "torch.nn.modules.container.Sequential"`,
		"expanded.pt":   "does not fit in a storage of 24 elements",
		"protocol2.pkl": "not a zip archive",
		"missing.pt":    "no such file",
	} {
		_, err := Open(filepath.Join("testdata", name))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if name == "legacy.pt" && !errors.Is(err, ErrLegacy) {
			t.Errorf("%v is not ErrLegacy", err)
		}
	}
}

func TestLoadPickle(t *testing.T) {
	inner := &Dict{}
	if err := inner.set("c", strings.Repeat("ü", 300)); err != nil {
		t.Fatal(err)
	}
	i := func(n int64) any { return n }
	want := []any{"x", i(1), i(-5), i(1 << 40), i(-(1 << 33)), i(300), 1.5, nil, true, Tuple{i(1)}, Tuple{i(1), i(2)},
		Tuple{i(1), i(2), i(3), i(4)}, []any(nil), Tuple{}, inner}
	for p := minProtocol; p <= maxProtocol; p++ {
		f, err := os.Open(fmt.Sprintf("testdata/protocol%d.pkl", p))
		if err != nil {
			t.Fatal(err)
		}
		v, err := LoadPickle(f, f.Name())
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		a := get[[]any](t, v.(*Dict), "a")
		if !reflect.DeepEqual(a, want) {
			t.Errorf("protocol %d: %#v", p, a)
		}
		if a[len(a)-1] != get[*Dict](t, v.(*Dict), "b") {
			t.Errorf("protocol %d: a shared dictionary is not shared", p)
		}
	}
	f, err := os.Open("testdata/protocol1.pkl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := LoadPickle(f, "old.pkl"); err == nil || !strings.Contains(err.Error(), `"old.pkl": offset 0: not a pickle of protocol 2 to 5`) {
		t.Errorf("protocol 1: %v", err)
	}
}

// TestRefusedPickles has one program for each thing that must not happen.
func TestRefusedPickles(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "ran")
	p := func(parts ...string) string { return "\x80\x02" + strings.Join(parts, "") }
	text := func(s string) string { return "X" + string([]byte{byte(len(s)), 0, 0, 0}) + s }
	for _, c := range []struct{ name, in, want string }{
		{"os.system", p("cposix\nsystem\n", text("touch "+canary), "\x85R."), `offset 2: refusing the global "posix.system"`},
		{"os.system by STACK_GLOBAL", p(text("os"), text("system"), "\x93", text("touch "+canary), "\x85R."), `refusing the global "os.system"`},
		{"eval", p("c__builtin__\neval\n", text("1"), "\x85R."), `refusing the global "__builtin__.eval"`},
		{"a name that only begins well", p("ctorch._utils\n_rebuild_tensor_v2.__globals__\n."), "refusing the global"},
		{"TorchScript class outside TorchScript", p("c__torch__.a\nB\n)\x81."), "refusing the global"},
		{"calling a string", p(text("os.system"), ")R."), "refusing to call str"},
		{"calling a storage class", p("ctorch\nFloatStorage\n)R."), "refusing to call torch.FloatStorage"},
		{"instance of a storage class", p("ctorch\nFloatStorage\n)\x81."), "refusing to make an instance"},
		{"INST", p("(ios\nsystem\n."), "refusing the opcode"},
		{"NEWOBJ_EX", p("\x92."), "refusing the opcode"},
		{"EXT1", p("\x82\x01."), "refusing the opcode"},
		{"PERSID", p("Pabc\n."), "refusing the opcode"},
		{"BUILD of a string", p(text("a"), "}b."), "refusing to set attributes of a str"},
		{"BUILD with a list", p("}]b."), "not a dict"},
		{"tensor outside an archive", p("((", text("storage"), "ctorch\nFloatStorage\n", text("0"), text("cpu"), "K\x01tQ."), "outside an archive"},
		{"other persistent id", p("K\x01Q."), "not a storage"},
		{"OrderedDict of arguments", p("ccollections\nOrderedDict\n](K\x01eaR."), ""},
		{"protocol 6", "\x80\x06N.", "pickle protocol 6"},
		{"empty", "", "not a pickle"},
		{"text", "hello", "not a pickle"},
		{"no STOP", p("N"), "without STOP"},
		{"nothing on the stack", p("."), "0 values"},
		{"two values", p("NN."), "2 values"},
		{"only a mark", p("(."), "a bare"},
		{"underflow", p("a."), "not on the stack"},
		{"no mark", p("NNt."), "not on the stack"},
		{"tuple across a mark", p("(N\x86."), "not on the stack"},
		{"unknown memo", p("h\x05."), "nothing is stored under 5"},
		{"distant memo", p("Nr\xff\xff\xff\xff."), "stored under 4294967295"},
		{"long string", p("X\xff\xff\xff\x7fabc"), "truncated"},
		{"huge string", p("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "truncated"},
		{"not UTF-8", p("X\x01\x00\x00\x00\xff."), "not UTF-8"},
		{"big integer", p("\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01."), "does not fit in 64 bits"},
		{"key None", p("}NNs."), "key of type None"},
		{"key list", p("}]Ns."), "key of type list"},
		{"odd items", p("}(Nu."), "key without a value"},
		{"append to a dict", p("}Na."), "a dict cannot be added to"},
		{"list in itself", p("]q\x00h\x00a."), "contains itself"},
		{"dict in itself", p("}q\x00K\x01h\x00s."), "contains itself"},
		{"tuple in itself", p("]q\x00h\x00\x85q\x01a."), "contains itself"},
		{"too deep", p(strings.Repeat("]", 3000), strings.Repeat("a", 2999), "."), "more than 1000 deep"},
		{"too deep, built from below", p("]", strings.Repeat("q\x000]h\x00a", 3000), "."), "more than 1000 deep"},
		{"global without an end", p("cos"), "truncated"},
	} {
		v, err := LoadPickle(strings.NewReader(c.in), "bad.pkl")
		var format *FormatError
		if !errors.As(err, &format) {
			t.Errorf("%s: %#v, %v", c.name, v, err)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("the pickle was run")
	}
}

// TestSharedStructure: 2^60 paths through 60 pairs, in tuples, lists and dictionaries, take no time and no memory.
func TestSharedStructure(t *testing.T) {
	for name, in := range map[string]string{
		"tuples": "\x80\x02K\x01" + strings.Repeat("2\x86", 60) + ".",
		"lists":  "\x80\x02K\x01" + strings.Repeat("q\x000](h\x00h\x00e", 60) + ".",
		"dicts":  "\x80\x02K\x01" + strings.Repeat("q\x000}(K\x01h\x00K\x02h\x00u", 60) + ".",
	} {
		v, err := LoadPickle(strings.NewReader(in), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Flatten(v); err == nil && name != "tuples" {
			t.Errorf("%s: flattening follows every path", name)
		}
	}
}

func FuzzPickle(f *testing.F) {
	for p := minProtocol; p <= maxProtocol; p++ {
		b, err := os.ReadFile(fmt.Sprintf("testdata/protocol%d.pkl", p))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(tensorPickle(6, 0, []int{2, 3}, []int{3, 1})))
	f.Add([]byte("\x80\x02c__torch__.a\nB\n)\x81}K\x01K\x02sb."))
	storage := make([]byte, 24)
	f.Fuzz(func(t *testing.T, in []byte) {
		env := environment{script: true, storage: func(string) ([]byte, error) { return storage, nil }}
		v, err := unpickle(in, env)
		if err != nil {
			return
		}
		named, err := Flatten(v)
		if err != nil {
			return
		}
		for _, x := range named {
			d := x.Tensor.Dense(x.Name)
			if len(d.Data) != d.Len()*d.DType.Size() || len(d.Data) > len(storage) {
				t.Fatalf("%d bytes for %v %v", len(d.Data), d.DType, d.Shape)
			}
		}
	})
}
