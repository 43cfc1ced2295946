// Package endpoint lets a server with OpenAI's completion interface write the phrases that regularise textual inversion:
// POST /v1/completions with model, prompt, n, temperature, max_tokens and seed
// (https://platform.openai.com/docs/api-reference/completions), as vLLM, llama.cpp and others offer it too.
package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"isearle/oti/gpt/prompt"
)

// Options of a generator of phrases.
type Options struct {
	URL         string // the server, its /v1, or its /v1/completions
	Model       string // a name that the server knows; some need none
	Key         string // the API key, sent as a bearer token; "" for none
	N           int    // phrases of a concept
	Temperature float64
	MaxLength   int           // most tokens of a phrase; a word of the prompt is counted as one
	Seed        uint64        // asked for; whether the server draws the same again is its affair
	Timeout     time.Duration // of one request, 0 for DefaultTimeout
}

const (
	// DefaultTimeout is the longest that one request may take.
	DefaultTimeout = 2 * time.Minute
	// perRequest is how many phrases are asked for at once; OpenAI's limit is 128, and smaller servers have smaller ones.
	perRequest = 32
	// maxAnswer bounds an answer's size: 32 phrases of 35 tokens have some kilobytes.
	maxAnswer = 16 << 20
)

// Generator asks a server. It is safe for concurrent use.
type Generator struct {
	o      Options
	url    string
	client *http.Client
	retry  retry
}

// New checks the options; it does not connect.
func New(o Options) (*Generator, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("endpoint: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("endpoint: %q is no http or https URL", o.URL)
	case u.User != nil:
		return nil, errors.New("endpoint: a URL with a password; give the key apart")
	case o.N < 1 || o.MaxLength < 2 || !(o.Temperature >= 0):
		return nil, fmt.Errorf("endpoint: %d phrases of %d tokens at temperature %v", o.N, o.MaxLength, o.Temperature)
	}
	switch path := strings.TrimRight(u.Path, "/"); {
	case strings.HasSuffix(path, "/completions"):
	case strings.HasSuffix(path, "/v1"):
		u.Path = path + "/completions"
	default:
		u.Path = path + "/v1/completions"
	}
	client := &http.Client{Timeout: cmp.Or(o.Timeout, DefaultTimeout), CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a redirected POST would become a GET, and take the key to another host
	}}
	return &Generator{o: o, url: u.String(), client: client, retry: defaultRetry}, nil
}

// Phrases continues "a photo of {concept} that". Answers that ask for patience (429, 408, 5xx) and broken connections are
// tried again.
func (g *Generator) Phrases(ctx context.Context, concept string) ([]string, error) {
	start := prompt.Of(concept)
	var phrases []string
	for request := 0; len(phrases) < g.o.N; request++ {
		want := min(perRequest, g.o.N-len(phrases))
		texts, err := g.complete(ctx, start, want, seedOf(g.o.Seed, concept, request))
		if err != nil {
			return nil, fmt.Errorf("endpoint: %s: concept %q: %w", g.url, concept, err)
		}
		for _, t := range texts[:min(len(texts), want)] {
			phrases = append(phrases, prompt.Clean(join(start, t)))
		}
	}
	return phrases, nil
}

// join puts a space between where a server has cut it off.
func join(start, text string) string {
	if r, _ := utf8.DecodeRuneInString(text); unicode.IsLetter(r) || unicode.IsNumber(r) {
		return start + " " + text
	}
	return start + text
}

// seedOf is a request's seed: servers take 63 bits at most, some only 31.
func seedOf(seed uint64, concept string, request int) int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s", seed, request, concept)
	return int64(h.Sum64() >> 33)
}

type request struct {
	Model       string  `json:"model,omitempty"`
	Prompt      string  `json:"prompt"`
	N           int     `json:"n"`
	Temperature float64 `json:"temperature"`
	MaxTokens   int     `json:"max_tokens"`
	Seed        int64   `json:"seed"`
}

type answer struct {
	Choices []choice `json:"choices"`
}

type choice struct {
	Index int     `json:"index"`
	Text  *string `json:"text"`
}

// complete asks for n continuations and returns at least one.
func (g *Generator) complete(ctx context.Context, start string, n int, seed int64) ([]string, error) {
	body, err := json.Marshal(request{g.o.Model, start, n, g.o.Temperature, max(1, g.o.MaxLength-len(strings.Fields(start))), seed})
	if err != nil {
		return nil, err
	}
	var a answer
	err = g.retry.do(ctx, func() error {
		data, err := g.post(ctx, body)
		if err != nil {
			return err
		}
		a = answer{}
		if err := json.Unmarshal(data, &a); err != nil {
			return fmt.Errorf("the answer is no completion: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(a.Choices, func(x, y choice) int { return cmp.Compare(x.Index, y.Index) })
	var texts []string
	for i, c := range a.Choices {
		if c.Text == nil {
			return nil, fmt.Errorf("the answer is no completion: choice %d has no text", i)
		}
		texts = append(texts, *c.Text)
	}
	if len(texts) == 0 {
		return nil, errors.New("the answer is no completion: no choices")
	}
	return texts, nil
}

// post sends one request and returns the body of a good answer.
func (g *Generator) post(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if g.o.Key != "" {
		req.Header.Set("Authorization", "Bearer "+g.o.Key)
	}
	res, err := g.client.Do(req)
	if err != nil {
		return nil, &transient{err: err}
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, &transient{err: fmt.Errorf("read the answer: %w", err)}
	case res.StatusCode != http.StatusOK:
		return nil, statusError(res, data)
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("the answer has more than %d MiB", maxAnswer>>20)
	}
	return data, nil
}

// statusError is the error of an answer that is not good, with what the server says.
func statusError(res *http.Response, body []byte) error {
	err := fmt.Errorf("the server answers %s%s", res.Status, said(res, body))
	if s := res.StatusCode; s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s >= 500 {
		return &transient{err: err, after: retryAfter(res.Header.Get("Retry-After"), time.Now())}
	}
	return err
}

// said is the message in an error's body: {"error": {"message": ..}}, {"error": ..}, {"message": ..}, or a short text.
func said(res *http.Response, body []byte) string {
	var e struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	text := ""
	if json.Unmarshal(body, &e) == nil {
		var inner struct {
			Message string `json:"message"`
		}
		if text = e.Message; json.Unmarshal(e.Error, &inner) == nil && inner.Message != "" {
			text = inner.Message
		} else {
			json.Unmarshal(e.Error, &text)
		}
	} else if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "text/plain" {
		text = strings.TrimSpace(string(body))
	}
	if text == "" {
		return ""
	}
	return fmt.Sprintf(": %.300q", text)
}
