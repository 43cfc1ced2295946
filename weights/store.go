package weights

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"isearle/weights/mmap"
	"isearle/weights/safetensors"
	"isearle/weights/torch"
)

// folder is where a checkpoint and its configuration lie.
type folder struct {
	fsys fs.FS
	open func(name string) (*mmap.File, error)
	show func(name string) string // the path for messages
}

// diskFolder is a directory of the file system; its files are mapped.
func diskFolder(fsys fs.FS, dir string) folder {
	show := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	return folder{fsys, func(name string) (*mmap.File, error) { return mmap.Open(show(name)) }, show}
}

// memoryFolder is any other file system; its files are read.
func memoryFolder(fsys fs.FS) folder {
	return folder{fsys, func(name string) (*mmap.File, error) {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		return mmap.FromBytes(name, data), nil
	}, func(name string) string { return name }}
}

// Names of the files of a model's directory, in the order in which they are looked for.
const (
	hfWeights        = "model.safetensors"
	hfIndex          = "model.safetensors.index.json"
	openCLIPWeights  = "open_clip_model.safetensors"
	hfConfig         = "config.json"
	hfPreprocess     = "preprocessor_config.json"
	openCLIPConfig   = "open_clip_config.json"
	embeddedMetadata = "isearle.config"
	embeddedExtra    = "isearle.json"
)

var weightFiles = []string{hfWeights, hfIndex, openCLIPWeights, "state_dict.pt", "torchscript.pt", "pytorch_model.bin", "open_clip_pytorch_model.bin"}

// find returns the name of the checkpoint in a directory.
func (d folder) find() (string, error) {
	entries, err := fs.ReadDir(d.fsys, ".")
	if err != nil {
		return "", err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	for _, name := range weightFiles {
		if slices.Contains(names, name) {
			return name, nil
		}
	}
	for _, kinds := range [][]string{{".safetensors"}, {".pt", ".pth", ".bin"}} {
		var found []string
		for _, name := range names {
			if slices.Contains(kinds, path.Ext(name)) {
				found = append(found, name)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return "", fmt.Errorf("which of %s is the model? name the file", strings.Join(found, ", "))
		}
	}
	return "", fmt.Errorf("%w: none of %s, and no other .safetensors or .pt", ErrNoModel, strings.Join(weightFiles, ", "))
}

// store is an open checkpoint, whatever its format.
type store struct {
	path    string
	format  Format
	names   []string
	tensors map[string]view
	config  string // the configuration that Write embedded, if any
	advice
	close func() error
}

// advice is what a file tells the system about parts of it.
type advice interface {
	Drop(data []byte)
	Prefetch(data []byte)
}

// Format is a kind of file.
type Format string

// The formats of checkpoints.
const (
	Safetensors Format = "safetensors"
	Torch       Format = "torch"       // torch.save
	TorchScript Format = "TorchScript" // torch.jit.save
)

// openStore opens a checkpoint by its content, whatever its name.
func (d folder) openStore(name string) (*store, error) {
	if strings.HasSuffix(name, safetensors.IndexSuffix) {
		m, err := d.open(name)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		f, err := safetensors.ParseIndex(m.Bytes(), d.show(name), func(shard string) (*mmap.File, error) {
			return d.open(path.Join(path.Dir(name), shard))
		})
		if err != nil {
			return nil, err
		}
		return safetensorsStore(f), nil
	}
	m, err := d.open(name)
	if err != nil {
		return nil, err
	}
	s, err := storeOf(m)
	if err != nil {
		m.Close()
	}
	return s, err
}

// storeOf tells the formats apart: a zip archive has its magic number, a safetensors file a header that begins with a
// brace, and a pickle its protocol.
func storeOf(m *mmap.File) (*store, error) {
	data := m.Bytes()
	if torch.IsArchive(data) || len(data) > 1 && data[0] == 0x80 && (len(data) < 9 || data[8] != '{') {
		f, err := torch.FromMap(m)
		if err != nil {
			return nil, err
		}
		return torchStore(f)
	}
	f, err := safetensors.FromMap(m)
	if err != nil {
		return nil, err
	}
	return safetensorsStore(f), nil
}

func safetensorsStore(f *safetensors.File) *store {
	s := &store{path: f.Name(), format: Safetensors, tensors: make(map[string]view, f.Len()), advice: f, close: f.Close}
	for t := range f.All() {
		s.names = append(s.names, t.Name)
		s.tensors[t.Name] = dense(t)
	}
	s.config = f.Metadata()[embeddedMetadata]
	return s
}

func torchStore(f *torch.File) (*store, error) {
	named, err := torch.Flatten(f.Value())
	if err != nil {
		return nil, fmt.Errorf("%q: %w", f.Name(), err)
	}
	s := &store{path: f.Name(), format: Torch, tensors: make(map[string]view, len(named)), advice: f, close: f.Close}
	if f.IsScript() {
		s.format = TorchScript
	}
	for _, n := range named {
		if _, ok := s.tensors[n.Name]; ok {
			return nil, fmt.Errorf("%q: two tensors are called %q", f.Name(), n.Name)
		}
		s.names = append(s.names, n.Name)
		s.tensors[n.Name] = view{n.Name, n.Tensor.DType, n.Tensor.Shape, n.Tensor.Stride, n.Tensor.Data}
	}
	config, err := f.Extra(embeddedExtra)
	if err != nil {
		return nil, err
	}
	s.config = string(config)
	return s, nil
}
