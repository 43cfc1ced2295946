// Package weights reads and writes CLIP checkpoints: safetensors files and PyTorch archives, in the layouts of Hugging
// Face, OpenAI and open_clip. What it opens looks the same whatever it came from: one configuration, and the tensors
// under one set of names.
//
// The canonical names are OpenAI's. All matrices are [out, in], the two projections too (OpenAI stores those as
// [in, out]), so y = W x for every one of them; W is a tower's width, E the length of the features:
//
//	visual.conv1.weight [W,3,P,P]                            visual.class_embedding [W]
//	visual.positional_embedding [1+grid*grid,W]              visual.ln_pre.{weight,bias} [W]
//	visual.transformer.resblocks.N.<block>                   visual.ln_post.{weight,bias} [W]
//	visual.proj [E,W]
//	token_embedding.weight [vocab,W]                         positional_embedding [context,W]
//	transformer.resblocks.N.<block>                          ln_final.{weight,bias} [W]
//	text_projection [E,W]                                    logit_scale []
//
// and in each block ln_1, ln_2.{weight,bias} [W]; attn.in_proj_weight [3W,W] and attn.in_proj_bias [3W], the rows in the
// order q, k, v; attn.out_proj.{weight,bias}; mlp.c_fc.{weight,bias} [MLP,W]; mlp.c_proj.{weight,bias} [W,MLP].
package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"isearle/weights/mmap"
	"isearle/weights/safetensors"
)

// ErrNoModel is wrapped by the error for a directory without a checkpoint.
var ErrNoModel = errors.New("no model here")

// Options are what a user knows about a checkpoint. The zero value asks for nothing; what is set goes before what the
// checkpoint says.
type Options struct {
	VisionHeads int // attention heads of the towers
	TextHeads   int
	Activation  Activation
	Prefix      string // the beginning of the model's names where a checkpoint holds several: "state_dict.module."
}

// CLIP is an open checkpoint. Its methods can be called concurrently.
type CLIP struct {
	Config Config
	// Layout and Format are those of the files.
	Layout Layout
	Format Format
	// Path names the file that holds the tensors, or the index of its shards.
	Path string
	// Assumed lists what the files do not say and was concluded from shapes and types; empty for a checkpoint with a
	// configuration. A user should be told: two models can differ in nothing else.
	Assumed []string
	// Ignored lists the tensors of the files that are not part of the model.
	Ignored []string

	folder  *folder // nil when the model has no directory
	store   *store
	order   []string // canonical names
	tensors map[string]*tensor
	hash    func() string

	mu     sync.Mutex
	holds  int
	closed bool
}

// Open opens a checkpoint. In a directory it takes the first of model.safetensors, model.safetensors.index.json,
// open_clip_model.safetensors, state_dict.pt, torchscript.pt, pytorch_model.bin and open_clip_pytorch_model.bin, and
// otherwise the only .safetensors, or the only .pt, .pth or .bin. Every tensor's presence, type and shape is checked; no
// element is read. The errors wrap ErrNoModel, ErrHeads, a *TensorError, a *safetensors.FormatError, a
// *torch.FormatError, torch.ErrLegacy or the system's.
func Open(path string, opts Options) (*CLIP, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("weights: open: %w", err)
	}
	dir, name := path, ""
	if !info.IsDir() {
		dir, name = filepath.Split(path)
		if dir == "" {
			dir = "."
		}
	}
	c, err := diskFolder(os.DirFS(dir), dir).load(name, opts)
	if err != nil {
		return nil, fmt.Errorf("weights: open %q: %w", path, err)
	}
	return c, nil
}

// OpenFS opens the checkpoint in the root of a file system, as Open does a directory.
func OpenFS(fsys fs.FS, opts Options) (*CLIP, error) {
	c, err := memoryFolder(fsys).load("", opts)
	if err != nil {
		return nil, fmt.Errorf("weights: open: %w", err)
	}
	return c, nil
}

// New returns a model of tensors in memory, in the naming of any layout. The tensors' data is used, not copied.
func New(cfg Config, tensors []safetensors.Tensor) (*CLIP, error) {
	s := &store{path: "memory", format: Safetensors, tensors: make(map[string]view), advice: mmap.FromBytes("memory", nil), close: func() error { return nil }}
	for _, t := range tensors {
		if _, ok := s.tensors[t.Name]; ok {
			return nil, fmt.Errorf("weights: tensor %q is given twice", t.Name)
		}
		if t.DType.Size() == 0 || t.Len()*t.DType.Size() != len(t.Data) {
			return nil, fmt.Errorf("weights: tensor %q: %d bytes for %v %v", t.Name, len(t.Data), t.DType, t.Shape)
		}
		s.names = append(s.names, t.Name)
		s.tensors[t.Name] = dense(t)
	}
	n, err := s.detect("")
	if err == nil {
		err = cfg.check()
	}
	var c *CLIP
	if err == nil {
		c, err = bind(s, n, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("weights: new: %w", err)
	}
	return c, nil
}

func (d folder) load(name string, opts Options) (c *CLIP, err error) {
	if name == "" {
		if name, err = d.find(); err != nil {
			return nil, err
		}
	}
	s, err := d.openStore(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	n, err := s.detect(opts.Prefix)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", s.path, err)
	}
	cfg, assumed, err := d.config(s, &n, opts)
	if err != nil {
		return nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("%q: %w", s.path, err)
	}
	if c, err = bind(s, n, cfg); err != nil {
		return nil, err
	}
	c.Assumed, c.folder = assumed, &d
	return c, nil
}

// naming is how a store names the model's tensors.
type naming struct {
	layout Layout
	prefix string // before every name
}

// detect finds the model among a store's names.
func (s *store) detect(prefix string) (naming, error) {
	if prefix != "" && !strings.HasSuffix(prefix, ".") {
		prefix += "."
	}
	var found []naming
	for _, name := range s.names {
		for _, anchor := range []struct {
			name   string
			layout Layout
		}{{hfPatches, HuggingFace}, {patchWeights, OpenAI}} {
			p, ok := strings.CutSuffix(name, anchor.name)
			if ok && (p == "" || strings.HasSuffix(p, ".")) && (prefix == "" || p == prefix) {
				found = append(found, naming{anchor.layout, p})
			}
		}
	}
	if len(found) == 0 {
		return naming{}, s.explainAbsence(prefix)
	}
	if len(found) > 1 {
		return naming{}, fmt.Errorf("several models, under %q, %q, ...: choose one by its prefix", found[0].prefix, found[1].prefix)
	}
	n := found[0]
	if n.layout == OpenAI {
		if _, ok := s.tensors[n.prefix+"visual.layer1.0.conv1.weight"]; ok {
			return n, errors.New("a CLIP with a ResNet: only vision transformers are implemented")
		}
		if _, ok := s.tensors[n.prefix+textPrefix+tokenWeights]; ok {
			n.layout = OpenCLIPText
		}
	}
	return n, nil
}

func (s *store) explainAbsence(prefix string) error {
	has := func(part string) bool {
		return slices.ContainsFunc(s.names, func(name string) bool { return strings.Contains(name, part) })
	}
	switch {
	case prefix != "":
		return fmt.Errorf("no CLIP under the prefix %q", prefix)
	case has("visual.trunk."):
		return errors.New("a CLIP with a tower of timm: only plain vision transformers are implemented")
	case has("text_model.") || has(tokenWeights):
		return errors.New("a text tower without its image tower: not a whole CLIP")
	case has("vision_model.") || has("visual."):
		return errors.New("an image tower that is not CLIP's vision transformer")
	}
	return fmt.Errorf("not a CLIP: none of its %d tensors is %s or %s", len(s.names), patchWeights, hfPatches)
}

// Tensor returns a tensor by its canonical name: a view of the file, or a copy where the file stores it in pieces or
// transposed. It is one of F64, F32, F16 and BF16.
func (c *CLIP) Tensor(name string) (safetensors.Tensor, error) {
	t, ok := c.tensors[name]
	if !ok {
		return safetensors.Tensor{}, fmt.Errorf("weights: %q: no tensor is called %q", c.Path, name)
	}
	return t.canonical(), nil
}

// Parts returns a tensor as successive rows of its first dimension: views of the file if it stores the tensor so, otherwise one copy. All
// are of the tensor's type.
func (c *CLIP) Parts(name string) ([]safetensors.Tensor, error) {
	t, ok := c.tensors[name]
	if !ok {
		return nil, fmt.Errorf("weights: %q: no tensor is called %q", c.Path, name)
	}
	return t.rows(), nil
}

// Names returns the canonical names in a fixed order.
func (c *CLIP) Names() []string { return slices.Clone(c.order) }

// Shape returns the canonical shape and the type of a tensor without reading it; nil for an unknown name.
func (c *CLIP) Shape(name string) ([]int, safetensors.DType) {
	if t, ok := c.tensors[name]; ok {
		return slices.Clone(t.shape), t.dtype
	}
	return nil, safetensors.Invalid
}

// LogitScale returns the logarithm of what CLIP multiplies cosines by.
func (c *CLIP) LogitScale() float32 {
	x, err := c.tensors[logitScale].canonical().Float32s(nil)
	if err != nil {
		panic(err) // bind made sure of it
	}
	return x[0]
}

// Drop tells the system that a tensor is not needed for now, for instance because it has been packed for a device: mapped
// pages count as this process's memory. The tensor stays usable.
func (c *CLIP) Drop(name string) {
	if t, ok := c.tensors[name]; ok {
		for _, p := range t.parts {
			c.store.Drop(p.data)
		}
	}
}

// Hold keeps the files mapped, also when the checkpoint is closed, until release is called, once.
func (c *CLIP) Hold() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.holds--; c.holds == 0 && c.closed {
			c.store.close() // nobody is left to be told: the files were only read
		}
	}
}

// Close unmaps the files, at once or when the last Hold is released. Tensors must not be used afterwards, but by who holds them.
func (c *CLIP) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed = true; c.holds > 0 {
		return nil
	}
	if err := c.store.close(); err != nil {
		return fmt.Errorf("weights: close: %w", err)
	}
	return nil
}

// Hash identifies the model: 32 hexadecimal digits that depend on the configuration (less preprocessing) and on the values
// of the tensors, and on nothing else. The same model has the same hash in every layout, format and shard, and after a
// conversion to a wider type; rounding it to a narrower one changes it.
//
// It is made to tell models apart, not to prove that nobody touched one: of a tensor with more than 4,096 elements it
// takes four blocks of 1,024 (training and merging change all of them). So it reads 3 MB of a ViT-L/14's 1.7 GB, in some
// milliseconds, at the first call.
func (c *CLIP) Hash() string { return c.hash() }

// bind finds every tensor of a configuration in a store.
func bind(s *store, n naming, cfg Config) (*CLIP, error) {
	c := &CLIP{Config: cfg, Layout: n.layout, Format: s.format, Path: s.path, store: s, tensors: make(map[string]*tensor)}
	c.hash = sync.OnceValue(c.computeHash)
	if layers := max(cfg.Vision.Layers, cfg.Text.Layers); layers > len(s.names) {
		return nil, fmt.Errorf("%q: the configuration says %d layers, there are %d tensors", s.path, layers, len(s.names))
	}
	used := make(map[string]bool, len(s.names))
	var wrong *TensorError
	for _, sp := range cfg.specs() {
		t := &tensor{spec: sp}
		for _, f := range n.layout.fields(sp) {
			v, err := s.field(n.prefix+f.name, f)
			if err != nil && wrong == nil {
				wrong = err
			} else if err != nil {
				wrong.More++
			}
			used[n.prefix+f.name] = true
			t.parts = append(t.parts, v)
		}
		t.dtype = commonType(t.parts)
		c.order = append(c.order, sp.name)
		c.tensors[sp.name] = t
	}
	if wrong != nil {
		return nil, wrong
	}
	return c, c.account(used, n)
}

// field returns a tensor of the store in canonical orientation.
func (s *store) field(name string, f field) (view, *TensorError) {
	v, ok := s.tensors[name]
	scalar := len(f.shape) == 0 && slices.Equal(v.shape, []int{1}) // open_clip's nonscalar_logit_scale
	switch {
	case !ok:
		return view{}, &TensorError{File: s.path, Tensor: name, Want: f.shape}
	case !slices.Equal(v.shape, f.shape) && !scalar:
		return view{}, &TensorError{File: s.path, Tensor: name, Want: f.shape, Got: v.shape, DType: v.dtype}
	case !v.dtype.IsFloat():
		return view{}, &TensorError{File: s.path, Tensor: name, Want: f.shape, Got: v.shape, DType: v.dtype}
	case scalar:
		v.shape, v.stride = []int{}, []int{}
	case f.transposed:
		v = v.transpose()
	}
	return v, nil
}

func commonType(parts []view) safetensors.DType {
	d := parts[0].dtype
	for _, p := range parts {
		if p.dtype != d {
			return safetensors.F32
		}
	}
	return d
}

// account looks at the tensors that were not used. One inside a tower belongs to a variant of CLIP that this is not.
func (c *CLIP) account(used map[string]bool, n naming) error {
	for _, name := range c.store.names {
		if used[name] {
			continue
		}
		local, inside := strings.CutPrefix(name, n.prefix)
		if inside && !isBuffer(local) {
			for _, tower := range n.layout.towers() {
				if strings.HasPrefix(local, tower) {
					return fmt.Errorf("%q: tensor %q has no place in a plain CLIP of %d and %d layers: a variant that is not implemented",
						c.Path, name, c.Config.Vision.Layers, c.Config.Text.Layers)
				}
			}
		}
		c.Ignored = append(c.Ignored, name)
	}
	return nil
}

// TensorError is a tensor that is missing or is not what the configuration calls for.
type TensorError struct {
	File   string
	Tensor string // its name in the file
	Want   []int
	Got    []int             // nil when it is missing
	DType  safetensors.DType // of what is there
	More   int               // others that are missing or wrong
}

func (e *TensorError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q: tensor %q ", e.File, e.Tensor)
	switch {
	case e.Got == nil:
		fmt.Fprintf(&b, "is missing, expected with shape %v", e.Want)
	case !slices.Equal(e.Got, e.Want):
		fmt.Fprintf(&b, "has shape %v, expected %v", e.Got, e.Want)
	default:
		fmt.Fprintf(&b, "has type %v, expected a floating-point type", e.DType)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, " (%d more are missing or wrong)", e.More)
	}
	return b.String()
}
