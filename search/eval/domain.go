package eval

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"isearle/clipnet/tokenizer"
)

// domains are Pic2Word's, in the order that labels count them.
var domains = []string{"cartoon", "origami", "toy", "sculpture"}

const (
	// domainStep separates the domains' labels: label = class + domainStep*domain, real images being domain realDomain.
	domainStep = 1000
	realDomain = 6
)

// LoadDomain reads Pic2Word's lists imgnet/imgnet_real_query.txt and imgnet/imgnet_targets.txt, lines of a path from dir and a label.
// Every query image asks for its class in each of the four domains by "a DOMAIN of $"; the targets hold real images too.
func LoadDomain(dir string, o LoadOptions) (*Dataset, error) {
	if o.Split != "" && o.Split != "val" {
		return nil, fmt.Errorf("eval: domain conversion has no split %q, only val", o.Split)
	}
	if _, err := os.Stat(filepath.Join(dir, "imgnet_targets.txt")); err == nil && filepath.Base(dir) == "imgnet" {
		dir = filepath.Dir(filepath.Clean(dir))
	}
	targetFile, queryFile := filepath.Join(dir, "imgnet", "imgnet_targets.txt"), filepath.Join(dir, "imgnet", "imgnet_real_query.txt")
	gallery, labels, err := readList(dir, targetFile)
	if err != nil {
		return nil, err
	}
	if _, err := index(targetFile, gallery); err != nil {
		return nil, err
	}
	references, classes, err := readList(dir, queryFile)
	if err != nil {
		return nil, err
	}
	right := map[int][]int{}
	for i, label := range labels {
		if d := label / domainStep; d >= len(domains) && d != realDomain {
			return nil, dataError(targetFile, fmt.Sprintf("line %d", i+1), "label %d is of none of the four domains, nor of a real image", label)
		}
		right[label] = append(right[label], i)
	}
	prompts, err := readPrompts(filepath.Join(dir, "imgnet", promptFile))
	if err != nil {
		return nil, err
	}
	d := &Dataset{Name: "domain", Title: "Domain conversion", Split: "val", Root: dir, Depth: domainKs[len(domainKs)-1], partial: true,
		Gallery: "all targets of the list, real images among them", measures: domainMeasures}
	for k, p := range prompts {
		d.Prompt = strings.TrimPrefix(d.Prompt+"; "+p.text, "; ")
		t := Task{Name: p.domain, Gallery: gallery}
		for i, ref := range references {
			if classes[i] >= domainStep {
				return nil, dataError(queryFile, fmt.Sprintf("line %d", i+1), "label %d is no class, which are below %d", classes[i], domainStep)
			}
			t.Queries = append(t.Queries, Query{ID: fmt.Sprintf("%s-%d", p.domain, i), Reference: ref, Caption: p.text, Exclude: -1,
				Prompts: []tokenizer.Prompt{p.template.Fill("")}, Texts: []string{strings.Replace(p.text, "$", "", 1)}, Targets: right[classes[i]+domainStep*k]})
		}
		d.Tasks = append(d.Tasks, t)
	}
	return d.checked(queryFile)
}

// promptFile may stand beside the lists and give the domains other names and prompts than Pic2Word's: a line "NAME<TAB>PROMPT" for each.
const promptFile = "prompts.txt"

// domainPrompt is a domain and how a query asks for it.
type domainPrompt struct {
	domain, text string
	template     tokenizer.Template
}

// readPrompts reads the file of prompts; where there is none they are Pic2Word's, "a DOMAIN of $".
func readPrompts(file string) (out []domainPrompt, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range domains {
			out = append(out, domainPrompt{domain: name, text: "a " + name + " of $"})
		}
	} else if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		name, text, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || name == "" {
			return nil, dataError(file, fmt.Sprintf("line %d", len(out)+1), "want NAME, a tab and a prompt with one $")
		}
		out = append(out, domainPrompt{domain: name, text: text})
	}
	if len(out) != len(domains) {
		return nil, dataError(file, "", "%d prompts, want %d", len(out), len(domains))
	}
	for i := range out {
		if out[i].template, err = tokenizer.ParseTemplate(out[i].text); err == nil && out[i].template.PseudoWords() != 1 {
			err = errors.New("want one $")
		}
		if err != nil {
			return nil, &DataError{File: file, Entry: fmt.Sprintf("line %d", i+1), Err: err}
		}
	}
	return out, nil
}

// readList reads lines of a path and a label.
func readList(root, file string) (images []Image, labels []int, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("eval: %w", err)
	}
	return parseList(root, file, string(data))
}

func parseList(root, file, text string) (images []Image, labels []int, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		entry := fmt.Sprintf("line %d", n)
		line = strings.TrimSpace(line)
		cut := strings.LastIndexByte(line, ' ')
		if cut < 1 {
			return nil, nil, dataError(file, entry, "%.60q is no path and label", line)
		}
		label, err := strconv.Atoi(line[cut+1:])
		if err != nil || label < 0 {
			return nil, nil, dataError(file, entry, "label %.20q is no number", line[cut+1:])
		}
		name := strings.TrimSpace(line[:cut])
		path, err := inside(file, entry, root, name)
		if err != nil {
			return nil, nil, err
		}
		images, labels = append(images, Image{name, path}), append(labels, label)
	}
	return images, labels, nil
}
