package demo

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"image/png"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	clip "isearle/weights"
)

// limit is the most that may be embedded.
const limit = 16 << 20

func TestEmbeddedSize(t *testing.T) {
	size := len(phiFile) + len(galleryFile) + len(queriesFile) + len(conceptsFile) + len(modelCard)
	for _, files := range []fs.FS{modelFiles, licenseFiles} {
		err := fs.WalkDir(files, ".", func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			size += int(info.Size())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if size > limit {
		t.Errorf("%d bytes are embedded, more than %d", size, limit)
	}
	if len(galleryFile) > 6<<20 {
		t.Errorf("the gallery has %d bytes, more than 6 MiB", len(galleryFile))
	}
}

func TestModelIsADirectory(t *testing.T) {
	model, err := Model()
	if err != nil {
		t.Fatal(err)
	}
	err = fstest.TestFS(model, "config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json", "merges.txt", weightsName)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Weights()
	if err != nil {
		t.Fatal(err)
	}
	got, err := fs.ReadFile(model, weightsName)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("ReadFile differs from Weights (%v)", err)
	}
	got[0]++ // the caller's copy
	if again, _ := fs.ReadFile(model, weightsName); !bytes.Equal(again, want) {
		t.Error("ReadFile handed out shared bytes")
	}
	f, err := model.Open(weightsName)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tail := make([]byte, 16)
	if _, err := f.(io.ReaderAt).ReadAt(tail, int64(len(want)-len(tail))); err != nil || !bytes.Equal(tail, want[len(want)-len(tail):]) {
		t.Errorf("ReadAt of the last bytes: %x, %v", tail, err)
	}
	if _, err := model.Open(weightsName + ".zst"); err == nil {
		t.Error("the compressed file is visible")
	}
}

// header returns a safetensors file's tensors and metadata.
func header(t *testing.T, data []byte) (map[string]tensor, map[string]string) {
	t.Helper()
	n := binary.LittleEndian.Uint64(data)
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &raw); err != nil {
		t.Fatal(err)
	}
	var meta map[string]string
	if err := json.Unmarshal(raw["__metadata__"], &meta); err != nil {
		t.Fatal(err)
	}
	delete(raw, "__metadata__")
	tensors := make(map[string]tensor, len(raw))
	for name, r := range raw {
		var v tensor
		if err := json.Unmarshal(r, &v); err != nil {
			t.Fatal(err)
		}
		if v.Offsets[1] > len(data)-8-int(n) {
			t.Errorf("%s ends at %d, after the file", name, v.Offsets[1])
		}
		tensors[name] = v
	}
	return tensors, meta
}

type tensor struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

type config struct {
	Embed  int `json:"projection_dim"`
	Text   tower
	Vision tower
}

type tower struct {
	Vocab   int    `json:"vocab_size"`
	Width   int    `json:"hidden_size"`
	Hidden  int    `json:"intermediate_size"`
	Layers  int    `json:"num_hidden_layers"`
	Heads   int    `json:"num_attention_heads"`
	Context int    `json:"max_position_embeddings"`
	Image   int    `json:"image_size"`
	Patch   int    `json:"patch_size"`
	Act     string `json:"hidden_act"`
	BOS     int    `json:"bos_token_id"`
	EOT     int    `json:"eos_token_id"`
}

func readConfig(t *testing.T) config {
	t.Helper()
	data, err := fs.ReadFile(modelFiles, "model/config.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		config
		TextConfig   tower `json:"text_config"`
		VisionConfig tower `json:"vision_config"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	c.Text, c.Vision = c.TextConfig, c.VisionConfig
	return c.config
}

func TestTensorsMatchConfig(t *testing.T) {
	c := readConfig(t)
	data, err := Weights()
	if err != nil {
		t.Fatal(err)
	}
	tensors, _ := header(t, data)
	patches := (c.Vision.Image / c.Vision.Patch) * (c.Vision.Image / c.Vision.Patch)
	want := map[string][]int{
		"logit_scale":                                           {},
		"text_projection.weight":                                {c.Embed, c.Text.Width},
		"visual_projection.weight":                              {c.Embed, c.Vision.Width},
		"text_model.embeddings.token_embedding.weight":          {c.Text.Vocab, c.Text.Width},
		"text_model.embeddings.position_embedding.weight":       {c.Text.Context, c.Text.Width},
		"text_model.final_layer_norm.bias":                      {c.Text.Width},
		"text_model.encoder.layers.0.mlp.fc2.weight":            {c.Text.Width, c.Text.Hidden},
		"vision_model.embeddings.class_embedding":               {c.Vision.Width},
		"vision_model.embeddings.patch_embedding.weight":        {c.Vision.Width, 3, c.Vision.Patch, c.Vision.Patch},
		"vision_model.embeddings.position_embedding.weight":     {patches + 1, c.Vision.Width},
		"vision_model.pre_layrnorm.weight":                      {c.Vision.Width},
		"vision_model.post_layernorm.weight":                    {c.Vision.Width},
		"vision_model.encoder.layers.0.self_attn.q_proj.weight": {c.Vision.Width, c.Vision.Width},
	}
	for name, shape := range want {
		if got := tensors[name]; !slices.Equal(got.Shape, shape) || got.DType != "F16" {
			t.Errorf("%s: %s %v, want F16 %v", name, got.DType, got.Shape, shape)
		}
	}
	// 16 tensors a layer, 3 + 2 embeddings and norms of text and 3 + 4 of vision, 2 projections, the scale.
	if n := 16*(c.Text.Layers+c.Vision.Layers) + 2 + 2 + 3 + 4 + 3; len(tensors) != n {
		t.Errorf("%d tensors, want %d", len(tensors), n)
	}
	if c.Text.Act != "quick_gelu" || c.Vision.Act != "quick_gelu" || c.Text.Width%c.Text.Heads != 0 || c.Vision.Width%c.Vision.Heads != 0 {
		t.Errorf("config: %+v", c)
	}
}

func TestPhiBelongsToTheModel(t *testing.T) {
	c := readConfig(t)
	data, err := Phi()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := Model()
	if err != nil {
		t.Fatal(err)
	}
	model, err := clip.OpenFS(folder, clip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	tensors, meta := header(t, data)
	if got := meta["model_hash"]; got != model.Hash() {
		t.Errorf("phi was trained for the model %s, embedded is %s", got, model.Hash())
	}
	hidden := 4 * c.Embed
	want := map[string][]int{
		"layers.0.weight": {hidden, c.Embed}, "layers.0.bias": {hidden}, "layers.3.weight": {hidden, hidden},
		"layers.3.bias": {hidden}, "layers.6.weight": {c.Text.Width, hidden}, "layers.6.bias": {c.Text.Width},
	}
	for name, shape := range want {
		if !slices.Equal(tensors[name].Shape, shape) {
			t.Errorf("%s: %v, want %v", name, tensors[name].Shape, shape)
		}
	}
	if len(tensors) != len(want) {
		t.Errorf("%d tensors, want %d", len(tensors), len(want))
	}
}

func TestVocabularyHasTheLayoutOfCLIP(t *testing.T) {
	c := readConfig(t)
	data, err := fs.ReadFile(modelFiles, "model/vocab.json")
	if err != nil {
		t.Fatal(err)
	}
	var vocab map[string]int
	if err := json.Unmarshal(data, &vocab); err != nil {
		t.Fatal(err)
	}
	merges, err := fs.ReadFile(modelFiles, "model/merges.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(merges), "\n"), "\n")[1:]
	if len(vocab) != c.Text.Vocab || len(vocab) != 512+len(lines)+2 {
		t.Errorf("%d ids, %d merges, vocab_size %d", len(vocab), len(lines), c.Text.Vocab)
	}
	for token, id := range map[string]int{"!": 0, "!</w>": 256, "$</w>": 259, "<|startoftext|>": c.Text.BOS, "<|endoftext|>": c.Text.EOT} {
		if vocab[token] != id {
			t.Errorf("%s has the id %d, want %d", token, vocab[token], id)
		}
	}
	for i, line := range lines {
		if got, ok := vocab[strings.Replace(line, " ", "", 1)]; !ok || got != 512+i {
			t.Fatalf("merge %d %q has the id %d, want %d", i, line, got, 512+i)
		}
	}
}

func TestGallery(t *testing.T) {
	pictures, err := Gallery()
	if err != nil {
		t.Fatal(err)
	}
	size := readConfig(t).Vision.Image
	ids := make(map[string]bool)
	vendors := make(map[string]int)
	heldOut := 0
	for _, p := range pictures {
		if ids[p.ID] {
			t.Errorf("%s: twice", p.ID)
		}
		ids[p.ID] = true
		vendors[p.Vendor]++
		im, err := png.Decode(bytes.NewReader(p.Data))
		if err != nil {
			t.Fatalf("%s: %v", p.ID, err)
		}
		if b := im.Bounds(); b.Dx() != size || b.Dy() != size {
			t.Errorf("%s: %v, want %d x %d", p.ID, b, size, size)
		}
		if !strings.HasPrefix(p.ID, p.Vendor+"/") || !strings.HasSuffix(p.ID, "@"+p.Attributes["background"]) {
			t.Errorf("%s: vendor %s, background %s", p.ID, p.Vendor, p.Attributes["background"])
		}
		if p.Name == "" || p.Emoji == "" || p.Attributes["style"] == "" {
			t.Errorf("%s: incomplete: %+v", p.ID, p)
		}
		switch p.Split {
		case "held-out":
			heldOut++
		case "train":
		default:
			t.Errorf("%s: split %q", p.ID, p.Split)
		}
	}
	if len(vendors) != 3 || heldOut == 0 || len(pictures) < 1500 {
		t.Errorf("%d pictures by %v, %d held out", len(pictures), vendors, heldOut)
	}
	pictures[0].ID = "changed"
	if again, _ := Gallery(); again[0].ID == "changed" {
		t.Error("the slice is shared")
	}
}

func TestQueries(t *testing.T) {
	pictures, err := Gallery()
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[string]Picture, len(pictures))
	for _, p := range pictures {
		byID[p.ID] = p
	}
	queries, err := Queries()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	kinds := make(map[string]int)
	for _, q := range queries {
		if seen[q.ID] {
			t.Errorf("%s: twice", q.ID)
		}
		seen[q.ID] = true
		kinds[q.Kind]++
		reference, ok := byID[q.Reference]
		if !ok {
			t.Errorf("%s: no reference %q", q.ID, q.Reference)
		}
		if len(q.Targets) == 0 || len(q.Aspects) == 0 || q.Caption == "" || slices.Contains(q.Targets, q.Reference) {
			t.Errorf("%s: %+v", q.ID, q)
		}
		for _, id := range q.Targets {
			target, ok := byID[id]
			if !ok {
				t.Errorf("%s: no target %q", q.ID, id)
			}
			checkEdit(t, q, reference, target)
		}
		if n := everyVendor(byID, q); q.Kind != "style" && n != len(q.Targets) {
			t.Errorf("%s: %d targets, but %d vendors have the picture", q.ID, len(q.Targets), n)
		}
	}
	if len(queries) < 300 || len(kinds) < 13 {
		t.Errorf("%d queries of the kinds %v", len(queries), kinds)
	}
}

// everyVendor counts the gallery's pictures that show what the query's first target shows.
func everyVendor(byID map[string]Picture, q Query) int {
	_, rest, _ := strings.Cut(q.Targets[0], "/")
	n := 0
	for id := range byID {
		if _, r, _ := strings.Cut(id, "/"); r == rest {
			n++
		}
	}
	return n
}

// checkEdit compares the attribute that a kind of edit is about.
func checkEdit(t *testing.T, q Query, reference, target Picture) {
	t.Helper()
	attribute := map[string]string{"background": "background", "expression": "expression", "colour": "colour", "skin tone": "skin",
		"gender": "gender", "clock": "hour", "style": "style", "role": "concept", "shape": "concept", "hair": "hair",
		"added object": "objects", "replaced object": "objects", "species": "family"}[q.Kind]
	if attribute == "" {
		t.Errorf("%s: unknown kind %q", q.ID, q.Kind)
	}
	if reference.Attributes[attribute] == target.Attributes[attribute] {
		t.Errorf("%s: %s and %s have the same %s", q.ID, reference.ID, target.ID, attribute)
	}
	if q.Kind == "skin tone" && !strings.Contains(q.Caption, " "+target.Attributes["skin"]+" ") {
		t.Errorf("%s: %q, but %s has %s skin", q.ID, q.Caption, target.ID, target.Attributes["skin"])
	}
	if q.Kind == "colour" && !strings.HasPrefix(q.Caption, "is "+target.Attributes["colour"]+" ") {
		t.Errorf("%s: %q, but %s is %s", q.ID, q.Caption, target.ID, target.Attributes["colour"])
	}
}

func TestShowcase(t *testing.T) {
	queries, err := Showcase()
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]bool)
	for _, q := range queries {
		kinds[q.Kind] = true
	}
	if len(queries) != showcaseKinds || len(kinds) != showcaseKinds {
		t.Errorf("%d queries of %d kinds, want %d", len(queries), len(kinds), showcaseKinds)
	}
}

func TestConcepts(t *testing.T) {
	concepts := Concepts()
	known := make(map[string]bool)
	for _, c := range concepts {
		if c == "" || known[c] {
			t.Errorf("concept %q empty or twice", c)
		}
		known[c] = true
	}
	pictures, err := Gallery()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pictures {
		name, _, _ := strings.Cut(p.Name, " with "+p.Attributes["skin"]+" skin")
		if p.Attributes["objects"] == "" && !known[name] {
			t.Errorf("%s: %q is no concept", p.ID, name)
		}
	}
}

func TestReferenceFeaturesAreOfTheGallery(t *testing.T) {
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var reference struct {
		Images []struct {
			ID      string    `json:"id"`
			Feature []float32 `json:"feature"`
		} `json:"images"`
	}
	if err := json.Unmarshal(data, &reference); err != nil {
		t.Fatal(err)
	}
	pictures, err := Gallery()
	if err != nil {
		t.Fatal(err)
	}
	embed := readConfig(t).Embed
	for _, r := range reference.Images {
		if !slices.ContainsFunc(pictures, func(p Picture) bool { return p.ID == r.ID }) || len(r.Feature) != embed {
			t.Errorf("%s: %d values", r.ID, len(r.Feature))
		}
	}
}

func TestLicences(t *testing.T) {
	for _, name := range []string{"NOTICE.md", "Apache-2.0.txt", "MIT-Fluent-Emoji.txt", "Unicode-3.0.txt"} {
		if data, err := fs.ReadFile(Licenses(), name); err != nil || len(data) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(Card(), "#") {
		t.Error("no model card")
	}
}
