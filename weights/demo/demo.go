// Package demo is the embedded default: the emoji world. It carries a CLIP of 4.5 million parameters trained on
// freely licensed emoji artwork, a textual inversion network (phi), a gallery of pictures and composed queries with
// their right answers, so that composed retrieval can be tried and tested with nothing to download.
//
// The package owns the data and its formats and imports nothing of the engine: the model is an [io/fs.FS] in the
// Hugging Face layout, to be read by the loader that reads every other model. How the data was made is told in
// recipe/README.md, what it can and cannot do in MODEL_CARD.md, and whose artwork it is in LICENSES.
package demo

import (
	"archive/zip"
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

var (
	//go:embed model
	modelFiles embed.FS
	//go:embed phi.safetensors
	phiFile string
	//go:embed gallery.zip
	galleryFile []byte
	//go:embed queries.json
	queriesFile []byte
	//go:embed concepts.txt
	conceptsFile string
	//go:embed MODEL_CARD.md
	modelCard string
	//go:embed LICENSES
	licenseFiles embed.FS
)

// weightsName is the file the model's directory shows in place of its compressed form.
const weightsName = "model.safetensors"

// Picture is one picture of the gallery.
type Picture struct {
	ID         string            `json:"id"`         // vendor/slug@background, unique: "noto/man-farmer-dark@white"
	Name       string            `json:"name"`       // what it shows, from Unicode CLDR: "man farmer with dark skin"
	Emoji      string            `json:"emoji"`      // the characters themselves
	Vendor     string            `json:"vendor"`     // noto, fluent-flat or fluent-3d
	Attributes map[string]string `json:"attributes"` // background, style, and what applies of concept, family, gender, skin, hair, colour, hour, expression, objects
	Split      string            `json:"split"`      // "train", or "held-out": a combination that training never saw
	Data       []byte            `json:"-"`          // the PNG file, 64 x 64; shared, not to be modified
}

// Query is a composed query over the gallery.
type Query struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`      // the kind of edit: "background", "skin tone", ...
	Reference string   `json:"reference"` // the ID of the reference picture
	Caption   string   `json:"caption"`   // the relative caption, which completes "a photo of $ that"
	Targets   []string `json:"targets"`   // the IDs of all right answers, never empty
	Aspects   []string `json:"aspects"`   // semantic aspects, as CIRCO names them
}

var weights = sync.OnceValues(func() ([]byte, error) {
	packed, err := modelFiles.ReadFile("model/" + weightsName + ".zst")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("demo: decompress %s: %w", weightsName, err)
	}
	defer d.Close()
	data, err := d.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("demo: decompress %s: %w", weightsName, err)
	}
	return data, nil
})

// Weights returns the model's safetensors file (F16), decompressed at the first call. The bytes are shared by all
// callers and must not be modified.
func Weights() ([]byte, error) { return weights() }

// Model returns the model's directory in the Hugging Face layout: config.json, preprocessor_config.json,
// tokenizer_config.json, vocab.json, merges.txt and model.safetensors. The weights are decompressed at the first
// call; where copying them matters, [Weights] returns them uncopied.
func Model() (fs.FS, error) {
	data, err := weights()
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(modelFiles, "model")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return &directory{files: files, weights: data}, nil
}

// Phi returns the textual inversion network as a safetensors file: layers.{0,3,6}.{weight,bias}, its configuration
// and the SHA-256 of the weights it belongs to in __metadata__.
func Phi() ([]byte, error) { return []byte(phiFile), nil }

var gallery = sync.OnceValues(func() ([]Picture, error) {
	z, err := zip.NewReader(bytes.NewReader(galleryFile), int64(len(galleryFile)))
	if err != nil {
		return nil, fmt.Errorf("demo: gallery: %w", err)
	}
	files := make(map[string]*zip.File, len(z.File))
	for _, f := range z.File {
		files[f.Name] = f
	}
	var manifest struct {
		Pictures []Picture `json:"pictures"`
	}
	data, err := entry(files, "manifest.json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("demo: gallery manifest: %w", err)
	}
	for i := range manifest.Pictures {
		p := &manifest.Pictures[i]
		if p.Data, err = entry(files, p.ID+".png"); err != nil {
			return nil, err
		}
	}
	return manifest.Pictures, nil
})

// entry reads one file of the gallery archive.
func entry(files map[string]*zip.File, name string) ([]byte, error) {
	f, ok := files[name]
	if !ok {
		return nil, fmt.Errorf("demo: gallery: %q: %w", name, fs.ErrNotExist)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("demo: gallery: open %q: %w", name, err)
	}
	defer r.Close()
	data := make([]byte, f.UncompressedSize64)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("demo: gallery: read %q: %w", name, err)
	}
	return data, nil
}

// Gallery returns the pictures in the archive's order, unpacked at the first call. The slice is the caller's, what
// its elements refer to is shared and must not be modified.
func Gallery() ([]Picture, error) {
	shared, err := gallery()
	return append([]Picture(nil), shared...), err
}

// Queries returns the composed queries, grouped by kind. Their IDs, references and targets are those of [Gallery].
func Queries() ([]Query, error) {
	var list struct {
		Queries []Query `json:"queries"`
	}
	if err := json.Unmarshal(queriesFile, &list); err != nil {
		return nil, fmt.Errorf("demo: queries: %w", err)
	}
	return list.Queries, nil
}

// showcaseKinds is how many kinds of edit the showcase has.
const showcaseKinds = 8

// Showcase returns the queries of the first demonstration: the first of each of the first eight kinds, a rule that
// knows nothing of how well they are answered.
func Showcase() ([]Query, error) {
	queries, err := Queries()
	if err != nil {
		return nil, err
	}
	var out []Query
	seen := make(map[string]bool)
	for _, q := range queries {
		if !seen[q.Kind] && len(out) < showcaseKinds {
			seen[q.Kind] = true
			out = append(out, q)
		}
	}
	return out, nil
}

// Concepts returns the names of the world's emoji, without skin tones: the classes of zero-shot naming and the
// concepts that textual inversion associates with a picture.
func Concepts() []string {
	return strings.Split(strings.TrimSpace(conceptsFile), "\n")
}

// Card returns the model card, as Markdown.
func Card() string { return modelCard }

// Licenses returns the licences and notices of the artwork and the names, one file each; NOTICE.md is the overview.
func Licenses() fs.FS {
	sub, err := fs.Sub(licenseFiles, "LICENSES")
	if err != nil {
		panic(err) // the name is a valid constant path
	}
	return sub
}
