package gpt

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"isearle/runtime"
)

// Model is a causal language model on a device. It is safe for concurrent use; calls run one after the other.
type Model struct {
	dev    runtime.Device
	cfg    Config
	batch  int // sequences that share a step
	layers []layer
	tokens runtime.Buffer // [Vocab, Width]
	pos    runtime.Buffer // [Context, Width]
	final  norm
	head   runtime.Weight // [Vocab, Width]
	owned  []io.Closer

	mu    sync.Mutex
	cache *cache
}

// Open reads a model from a Hugging Face directory onto a device: config.json, and model.safetensors or its shards. Weights
// may be F32, F16 or BF16. Errors name the file, the tensor and the reason.
func Open(dev runtime.Device, dir string) (*Model, error) { return open(dev, dir, 0) }

func open(dev runtime.Device, dir string, batch int) (*Model, error) {
	if batch == 0 {
		batch = defaultBatch
	}
	cfg, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	f, err := openTensors(dir)
	if err != nil {
		return nil, fmt.Errorf("gpt: %w", err)
	}
	defer f.Close()
	m := &Model{dev: dev, cfg: cfg, batch: batch}
	l := newLoader(dev, f, &m.owned)
	embedding := l.prefix + "wte.weight"
	m.tokens = l.buffer(embedding, 0, cfg.Vocab, cfg.Width)
	m.pos = l.buffer(l.prefix+"wpe.weight", runtime.F32, cfg.Context, cfg.Width)
	for i := range cfg.Layers {
		if l.err != nil {
			break
		}
		m.layers = append(m.layers, l.layer(&cfg, i))
	}
	m.final = l.norm(l.prefix+"ln_f", cfg.Width)
	if !cfg.Tied {
		embedding = "lm_head.weight"
	}
	m.head = l.weight(embedding, cfg.Vocab, cfg.Width)
	if l.err != nil {
		m.Close()
		return nil, fmt.Errorf("gpt: load: %w", l.err)
	}
	return m, nil
}

// Config is the model's architecture. It must not be changed.
func (m *Model) Config() Config { return m.cfg }

// Close releases the device memory.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := []error{m.cache.close()}
	for _, c := range m.owned {
		errs = append(errs, c.Close())
	}
	m.owned, m.cache = nil, nil
	return errors.Join(errs...)
}
