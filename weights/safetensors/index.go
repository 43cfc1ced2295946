package safetensors

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"isearle/weights/mmap"
)

// IndexSuffix ends the name of the index of a sharded checkpoint, such as model.safetensors.index.json.
const IndexSuffix = ".safetensors.index.json"

// OpenIndex opens the shards named by the index at path, which must lie in the same directory, as one File.
func OpenIndex(path string) (*File, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: open: %w", err)
	}
	defer m.Close()
	return ParseIndex(m.Bytes(), path, func(shard string) (*mmap.File, error) {
		return mmap.Open(filepath.Join(filepath.Dir(path), shard))
	})
}

// ParseIndex reads an index and opens its shards with open, which gets names without any directory. name stands for the
// index in errors. A tensor that the index does not mention, or puts into another shard, is left out.
func ParseIndex(index []byte, name string, open func(shard string) (*mmap.File, error)) (f *File, err error) {
	var content struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(index, &content); err != nil {
		return nil, fmt.Errorf("safetensors: index %q: %w", name, err)
	}
	if len(content.WeightMap) == 0 {
		return nil, fmt.Errorf("safetensors: index %q: no weight_map", name)
	}
	shards := make(map[string]int)
	for tensor, shard := range content.WeightMap {
		if !isFileName(shard) {
			return nil, fmt.Errorf("safetensors: index %q: tensor %q: refusing the shard %q: not the name of a file in the same directory", name, tensor, shard)
		}
		shards[shard]++
	}
	f = &File{name: name, tensors: make(map[string]Tensor, len(content.WeightMap)), metadata: map[string]string{}}
	defer func() {
		if err != nil {
			f.Close()
			f = nil
		}
	}()
	order := make([]string, 0, len(shards))
	for shard := range shards {
		order = append(order, shard)
	}
	slices.Sort(order)
	for _, shard := range order {
		if err := f.addShard(shard, content.WeightMap, open); err != nil {
			return f, fmt.Errorf("safetensors: index %q: %w", name, err)
		}
	}
	for tensor, shard := range content.WeightMap {
		if _, ok := f.tensors[tensor]; !ok {
			return f, fmt.Errorf("safetensors: index %q: tensor %q is not in its shard %q", name, tensor, shard)
		}
	}
	return f, nil
}

// addShard opens a shard and takes over the tensors that the index puts there.
func (f *File) addShard(shard string, weightMap map[string]string, open func(string) (*mmap.File, error)) error {
	m, err := open(shard)
	if err != nil {
		return fmt.Errorf("shard %q: %w", shard, err)
	}
	s, err := FromMap(m)
	if err != nil {
		m.Close()
		return err
	}
	f.sources = append(f.sources, m)
	for _, tensor := range s.names {
		if weightMap[tensor] == shard {
			f.names = append(f.names, tensor)
			f.tensors[tensor] = s.tensors[tensor]
		}
	}
	for key, value := range s.metadata {
		if _, ok := f.metadata[key]; !ok {
			f.metadata[key] = value
		}
	}
	return nil
}

// isFileName says whether name is one path element on every system.
func isFileName(name string) bool {
	return name != "." && name != ".." && filepath.IsLocal(name) && !strings.ContainsAny(name, "/\\:\x00")
}
