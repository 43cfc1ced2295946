package search

import (
	"errors"
	"fmt"
	"strconv"

	"isearle/runtime"
	"isearle/weights/safetensors"
)

// Model identifies the model that made features. Features of different models cannot be compared.
type Model struct {
	Name string // for people
	Hash string // of the weights; "" if unknown
}

func (m Model) String() string {
	name := m.Name
	if name == "" {
		name = "unknown"
	}
	if m.Hash == "" {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q (%.16s)", name, m.Hash)
}

// matches says whether features of m and o can be compared, as far as is known.
func (m Model) matches(o Model) bool {
	if m.Hash != "" && o.Hash != "" {
		return m.Hash == o.Hash
	}
	return m.Name == "" || o.Name == "" || m.Name == o.Name
}

// ModelMismatchError says that features of two models meet.
type ModelMismatchError struct {
	Path string // of the gallery
	Have Model  // the gallery's
	Want Model  // that of the queries, or of the rows to be added
}

func (e *ModelMismatchError) Error() string {
	return fmt.Sprintf("search: gallery %q was made with model %v, not with %v: their features cannot be compared", e.Path, e.Have, e.Want)
}

// Meta says what the features of a gallery are.
type Meta struct {
	Model Model
	// How images were prepared; zero for captions. Pad and Order are preprocess's names.
	Size       int
	Pad, Order string
	// Dim is the features' dimension.
	Dim int
	// Normalised says that every feature has unit length.
	Normalised bool
	// DType is what features are stored in: F32, F16 or BF16.
	DType runtime.DType
	// Coarse asks for an int8 copy beside the features, from which a search learns which of them it has to read. It does not
	// change results. Only normalised galleries can have it.
	Coarse bool
	// Products is the type that the model's products were made in; 0 means F32, or unknown.
	Products runtime.DType
	// Tool is the program and version that wrote the file.
	Tool string
}

// check says what is wrong with a Meta.
func (m Meta) check() error {
	switch {
	case m.Dim < 1 || m.Dim > maxDim:
		return fmt.Errorf("dimension %d; 1 to %d are possible", m.Dim, maxDim)
	case !m.DType.Float():
		return fmt.Errorf("features of %s; f32, f16 and bf16 are possible", m.DType)
	case m.Coarse && !m.Normalised:
		return errors.New("a coarse copy needs normalised features")
	}
	return nil
}

// maxDim is far above any model's and keeps a row's bytes in an int32.
const maxDim = 1 << 20

// The keys of a gallery's metadata.
const (
	keyFormat     = "format"
	keyVersion    = "format_version"
	keyModel      = "model"
	keyHash       = "model_hash"
	keySize       = "image_size"
	keyPad        = "pad"
	keyOrder      = "order"
	keyDim        = "dim"
	keyNormalised = "normalised"
	keyTool       = "tool"
	keyProducts   = "products"

	formatName    = "isearle-gallery"
	formatVersion = "1"
)

var stored = map[runtime.DType]safetensors.DType{
	runtime.F32: safetensors.F32, runtime.F16: safetensors.F16, runtime.BF16: safetensors.BF16,
}

// encode gives a Meta as metadata; DType and Coarse are seen from the tensors.
func (m Meta) encode() map[string]string {
	out := map[string]string{
		keyFormat: formatName, keyVersion: formatVersion, keyModel: m.Model.Name, keyHash: m.Model.Hash,
		keyDim: strconv.Itoa(m.Dim), keyNormalised: strconv.FormatBool(m.Normalised), keyTool: m.Tool,
	}
	if m.Size > 0 {
		out[keySize] = strconv.Itoa(m.Size)
	}
	products := ""
	if dt := m.products(); dt != runtime.F32 {
		products = dt.String()
	}
	for key, v := range map[string]string{keyPad: m.Pad, keyOrder: m.Order, keyProducts: products} {
		if v != "" {
			out[key] = v
		}
	}
	return out
}

// decodeMeta reads metadata; the caller completes and checks what depends on the tensors.
func decodeMeta(in map[string]string) (Meta, error) {
	m := Meta{Model: Model{Name: in[keyModel], Hash: in[keyHash]}, Pad: in[keyPad], Order: in[keyOrder], Tool: in[keyTool]}
	if in[keyFormat] != formatName {
		return m, fmt.Errorf("not a gallery: its metadata lacks %q: %q", keyFormat, formatName)
	}
	if v := in[keyVersion]; v != formatVersion {
		return m, fmt.Errorf("version %q of the gallery format; this program reads version %s", v, formatVersion)
	}
	var err error
	if m.Dim, err = strconv.Atoi(in[keyDim]); err != nil {
		return m, fmt.Errorf("metadata: %s is %q, not a number", keyDim, in[keyDim])
	}
	if m.Normalised, err = strconv.ParseBool(in[keyNormalised]); err != nil {
		return m, fmt.Errorf("metadata: %s is %q, not true or false", keyNormalised, in[keyNormalised])
	}
	if s, ok := in[keySize]; ok {
		if m.Size, err = strconv.Atoi(s); err != nil || m.Size < 1 {
			return m, fmt.Errorf("metadata: %s is %q, not a positive number", keySize, s)
		}
	}
	if s, ok := in[keyProducts]; ok {
		if m.Products, err = runtime.ParseDType(s); err != nil {
			return m, fmt.Errorf("metadata: %s: %w", keyProducts, err)
		}
	}
	return m, nil
}

// products is Products with its default.
func (m Meta) products() runtime.DType {
	if m.Products == 0 {
		return runtime.F32
	}
	return m.Products
}

// difference names the first setting in which rows of m and o could not stand in one file; "" if there is none.
func (m Meta) difference(o Meta) string {
	for _, f := range []struct {
		name       string
		have, want any
	}{
		{keyDim, m.Dim, o.Dim}, {"dtype", m.DType, o.DType}, {keyNormalised, m.Normalised, o.Normalised},
		{keySize, m.Size, o.Size}, {keyPad, m.Pad, o.Pad}, {keyOrder, m.Order, o.Order},
		{keyProducts, m.products(), o.products()},
	} {
		if f.have != f.want {
			return fmt.Sprintf("%s %v, not %v", f.name, f.have, f.want)
		}
	}
	return ""
}
