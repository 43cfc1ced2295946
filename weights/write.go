package weights

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"isearle/weights/atomicfile"
	"isearle/weights/safetensors"
	"isearle/weights/torch"
)

// sidecars are files of a model's directory that go along with its weights.
var sidecars = []string{"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json"}

// Write writes a model in a layout (0 for its own), its tensors as F32, F16 or BF16 (Invalid for the types they have).
//
// A path that ends in .safetensors becomes one file, and one in .pt, .pth or .bin a state dict that torch.load opens; the
// configuration goes into the file, where other programs pass over it. Any other path is a directory: the weights, the
// configuration of Hugging Face or open_clip, and the tokenizer's files where the model came with them. The same type
// means the same bits; otherwise numbers are rounded to nearest even, and one beyond the type's range is an error. Every
// file is replaced as a whole, a new directory appears as a whole, and a directory that holds another checkpoint is
// refused.
func Write(path string, c *CLIP, layout Layout, dtype safetensors.DType) error {
	if layout == 0 {
		layout = c.Layout
	}
	err := c.write(path, layout, dtype)
	if err != nil {
		return fmt.Errorf("weights: write: %w", err)
	}
	return nil
}

func (c *CLIP) write(path string, layout Layout, dtype safetensors.DType) error {
	fields, err := c.fieldsFor(layout, dtype)
	if err != nil {
		return err
	}
	switch filepath.Ext(path) {
	case ".safetensors":
		return safetensors.WriteFile(path, fields, metadata(&c.Config))
	case ".pt", ".pth", ".bin":
		return torch.WriteFile(path, fields, map[string][]byte{embeddedExtra: []byte(encodeConfig(c.Config))})
	}
	return c.writeDir(path, layout, dtype, fields)
}

// metadata returns a safetensors header's metadata: the format that transformers insists on and, if wanted, the
// configuration.
func metadata(cfg *Config) map[string]string {
	m := map[string]string{"format": "pt"}
	if cfg != nil {
		m[embeddedMetadata] = encodeConfig(*cfg)
	}
	return m
}

// fieldsFor returns what a layout stores, in the order of its names.
func (c *CLIP) fieldsFor(layout Layout, dtype safetensors.DType) ([]slice, error) {
	if _, ok := layoutNames[layout]; !ok {
		return nil, fmt.Errorf("unknown layout %d", layout)
	}
	if !slices.Contains([]safetensors.DType{safetensors.Invalid, safetensors.F32, safetensors.F16, safetensors.BF16}, dtype) {
		return nil, fmt.Errorf("weights are written as F32, F16 or BF16, not as %v", dtype)
	}
	var out []slice
	for _, name := range c.order {
		t := c.tensors[name]
		row := 0
		for _, f := range layout.fields(t.spec) {
			s := slice{field: f, from: t, dtype: dtype, row: row}
			if dtype == safetensors.Invalid {
				s.dtype = t.dtype
			}
			if len(f.shape) > 0 {
				row += f.shape[0]
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// writeDir writes a directory: beside its place and then renamed when there is none yet, file by file otherwise.
func (c *CLIP) writeDir(path string, layout Layout, dtype safetensors.DType, fields []slice) error {
	files, err := c.files(layout, dtype, fields)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err == nil {
		for _, e := range entries {
			if slices.Contains(weightFiles, e.Name()) && files[e.Name()] == nil {
				return fmt.Errorf("%q holds another checkpoint, %s", path, e.Name())
			}
		}
		return files.writeTo(path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	path = filepath.Clean(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()[:8]+".tmp")
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // gone already when all went well
	if err := files.writeTo(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// fileSet has the content of a directory by name.
type fileSet map[string]func(io.Writer) error

func (f fileSet) writeTo(dir string) error {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if err := atomicfile.Write(filepath.Join(dir, name), f[name]); err != nil {
			return err
		}
	}
	return nil
}

// files returns the files of a layout's directory.
func (c *CLIP) files(layout Layout, dtype safetensors.DType, fields []slice) (fileSet, error) {
	files := make(fileSet)
	tensors := func(name string, cfg *Config) {
		files[name] = func(w io.Writer) error { return safetensors.Write(w, fields, metadata(cfg)) }
	}
	document := func(name string, v any) error {
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		files[name] = func(w io.Writer) error { _, err := w.Write(append(data, '\n')); return err }
		return nil
	}
	if dtype == safetensors.Invalid {
		dtype = c.dtype()
	}
	switch layout {
	case HuggingFace:
		config, err := c.Config.toHF(dtype)
		if err != nil {
			return nil, err
		}
		tensors(hfWeights, nil)
		if err := errors.Join(document(hfConfig, config), document(hfPreprocess, c.Config.toHFPreprocess())); err != nil {
			return nil, err
		}
	case OpenAI:
		tensors(hfWeights, &c.Config)
	default:
		config, err := c.Config.toOpenCLIP(layout == OpenCLIPText)
		if err != nil {
			return nil, err
		}
		tensors(openCLIPWeights, nil)
		if err := document(openCLIPConfig, config); err != nil {
			return nil, err
		}
	}
	return files, c.addSidecars(files)
}

// addSidecars copies the tokenizer's files of the directory that the model came from.
func (c *CLIP) addSidecars(files fileSet) error {
	if c.folder == nil {
		return nil
	}
	for _, name := range sidecars {
		data, err := fs.ReadFile(c.folder.fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		files[name] = func(w io.Writer) error { _, err := w.Write(data); return err }
	}
	return nil
}
