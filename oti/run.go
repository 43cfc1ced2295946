package oti

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"

	"isearle/runtime"
)

// JournalSuffix is added to an output's path for the journal of a run that is not finished.
const JournalSuffix = ".partial"

// Run inverts images into a file of pseudo-words. A run that was killed goes on from the images it had finished, and ends in the
// same bytes. meta, which must name the model, goes into the file and tells runs apart.
func (v *Inverter) Run(ctx context.Context, path string, images []Image, meta map[string]string, monitor Monitor) error {
	full, err := v.meta(meta)
	if err != nil {
		return err
	}
	j, err := OpenJournal(path+JournalSuffix, runIdentity(full, images, v.phrases), len(images), v.text.Width())
	if err != nil {
		return err
	}
	if err := v.Invert(ctx, images, j.Done, monitor, func(r Result) error { return j.Add(r) }); err != nil {
		j.Close()
		return err
	}
	w := Words{Width: v.text.Width(), Meta: full}
	for i, m := range images {
		w.IDs, w.Tokens = append(w.IDs, m.Name), append(w.Tokens, j.Token(i)...)
	}
	if err := w.Write(path); err != nil {
		j.Close()
		return err
	}
	return j.Remove()
}

// Identity tells runs apart: it is the same only where Run gives the same bytes.
func (v *Inverter) Identity(images []Image, meta map[string]string) (string, error) {
	full, err := v.meta(meta)
	if err != nil {
		return "", err
	}
	return runIdentity(full, images, v.phrases), nil
}

// meta is what a file of pseudo-words says about them.
func (v *Inverter) meta(more map[string]string) (map[string]string, error) {
	full := map[string]string{"method": "oti"}
	options, err := json.Marshal(v.identity())
	if err != nil {
		return nil, fmt.Errorf("oti: %w", err)
	}
	full["options"] = string(options)
	for k, x := range more {
		full[k] = x
	}
	return full, nil
}

// identity are the options that the result depends on.
func (v *Inverter) identity() Options {
	o := v.opts
	o.Parallel = 0
	return o
}

// runIdentity tells runs apart: what the file will say, the images with their concepts, and the phrases.
func runIdentity(meta map[string]string, images []Image, phrases *Phrases) string {
	h := sha256.New()
	json.NewEncoder(h).Encode(meta) // keys in order
	for _, m := range images {
		fmt.Fprintf(h, "%q%q", m.Name, m.Concepts)
		h.Write(runtime.Float32Bytes(m.Feature))
	}
	if phrases != nil {
		var names []string
		for c := range phrases.byConcept {
			names = append(names, c)
		}
		sort.Strings(names)
		for _, c := range names {
			fmt.Fprintf(h, "%q%q", c, phrases.byConcept[c])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
