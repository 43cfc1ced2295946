package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// quick makes a generator for a server on the loopback interface that does not wait between attempts.
func quick(t *testing.T, o Options, h http.HandlerFunc) *Generator {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	if o.URL = s.URL + o.URL; o.N == 0 {
		o.N = 2
	}
	if o.MaxLength == 0 {
		o.MaxLength = 35
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.retry.first, g.retry.most = time.Microsecond, time.Microsecond
	return g
}

// reply answers with as many choices as the request asks for, or most, whichever is less, in reverse order.
func reply(w http.ResponseWriter, r *http.Request, most int) {
	var in request
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var list []string
	for i := range min(in.N, most) {
		list = append(list, fmt.Sprintf(`{"index":%d,"text":" sits %d.\n\nThere","finish_reason":"length"}`, i, i))
	}
	slices.Reverse(list)
	fmt.Fprintf(w, `{"object":"text_completion","choices":[%s]}`, strings.Join(list, ","))
}

func TestPhrases(t *testing.T) {
	var got []request
	g := quick(t, Options{Model: "m", Key: "secret", N: 70, Temperature: .5, Seed: 3}, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		var in request
		if err := json.Unmarshal(data, &in); err != nil {
			t.Error(err)
		}
		got = append(got, in)
		if r.URL.Path != "/v1/completions" || r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%s %s, %v", r.Method, r.URL, r.Header)
		}
		r.Body = io.NopCloser(strings.NewReader(string(data)))
		reply(w, r, 100)
	})
	p, err := g.Phrases(t.Context(), "red fox")
	if err != nil {
		t.Fatal(err)
	}
	if len(p) != 70 || p[0] != "a photo of red fox that sits 0. There" || p[33] != "a photo of red fox that sits 1. There" {
		t.Errorf("%d phrases: %q, %q", len(p), p[0], p[33])
	}
	if len(got) != 3 || got[0].N != 32 || got[2].N != 6 || got[0].Seed == got[1].Seed {
		t.Errorf("requests %+v", got)
	}
	want := request{"m", "a photo of red fox that", 32, .5, 29, got[0].Seed}
	if got[0] != want {
		t.Errorf("request %+v, want %+v", got[0], want)
	}
}

func TestServersThatIgnoreN(t *testing.T) {
	var calls atomic.Int32
	g := quick(t, Options{N: 5}, func(w http.ResponseWriter, r *http.Request) { calls.Add(1); reply(w, r, 1) })
	if p, err := g.Phrases(t.Context(), "x"); err != nil || len(p) != 5 || calls.Load() != 5 {
		t.Errorf("%d phrases from %d calls, %v", len(p), calls.Load(), err)
	}
}

func TestRetries(t *testing.T) {
	for _, status := range []int{429, 408, 500, 502, 503} {
		var calls atomic.Int32
		g := quick(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) < 4 {
				w.WriteHeader(status)
				return
			}
			reply(w, r, 9)
		})
		if p, err := g.Phrases(t.Context(), "x"); err != nil || len(p) != 2 || calls.Load() != 4 {
			t.Errorf("%d: %d phrases from %d calls, %v", status, len(p), calls.Load(), err)
		}
	}
	var calls atomic.Int32
	g := quick(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		reply(w, r, 9)
	})
	if _, err := g.Phrases(t.Context(), "x"); err != nil {
		t.Errorf("a broken connection: %v", err)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		calls      int32
		words      []string
	}{
		{"wrong key", `{"error":{"message":"no such key","type":"x"}}`, 401, 1, []string{"401", "no such key"}},
		{"wrong model", `{"error":"no such model"}`, 404, 1, []string{"404", "no such model"}},
		{"other spelling", `{"message":"bad prompt"}`, 422, 1, []string{"422", "bad prompt"}},
		{"a redirection", ``, 302, 1, []string{"302"}},
		{"always busy", `busy`, 503, 8, []string{"503", "busy"}},
		{"no JSON", `<html>`, 200, 1, []string{"no completion"}},
		{"no choices", `{"choices":[]}`, 200, 1, []string{"no choices"}},
		{"chat", `{"choices":[{"message":{"content":"x"}}]}`, 200, 1, []string{"no text"}},
	} {
		var calls atomic.Int32
		g := quick(t, Options{Key: "secret"}, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		})
		_, err := g.Phrases(t.Context(), "red fox")
		if err == nil || calls.Load() != c.calls {
			t.Errorf("%s: %d calls, error %v", c.name, calls.Load(), err)
			continue
		}
		for _, w := range append(c.words, "red fox", "/v1/completions") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", c.name, err, w)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the key", c.name)
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := quick(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if _, err := g.Phrases(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	defer close(release) // before the server is closed, which waits for its handlers
	g := quick(t, Options{Timeout: 20 * time.Millisecond}, func(http.ResponseWriter, *http.Request) { <-release })
	g.retry.attempts = 2
	var timeout interface{ Timeout() bool }
	if _, err := g.Phrases(t.Context(), "x"); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("error %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for in, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
	g := quick(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if _, err := g.Phrases(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("asked to wait an hour: %v", err)
	}
}

func TestNew(t *testing.T) {
	for in, want := range map[string]string{
		"http://h:1":                      "http://h:1/v1/completions",
		"http://h:1/":                     "http://h:1/v1/completions",
		"https://h/v1":                    "https://h/v1/completions",
		"https://h/api/v1/":               "https://h/api/v1/completions",
		"https://h/v1/completions?q=1":    "https://h/v1/completions?q=1",
		"https://h/openai":                "https://h/openai/v1/completions",
		"http://h/deployment/completions": "http://h/deployment/completions",
	} {
		if g, err := New(Options{URL: in, N: 1, MaxLength: 9}); err != nil || g.url != want {
			t.Errorf("%s: %+v, %v", in, g, err)
		}
	}
	for _, in := range []string{"", "h:1", "ftp://h", "http://", "http://u:p@h", "http://h\x7f"} {
		if _, err := New(Options{URL: in, N: 1, MaxLength: 9}); err == nil {
			t.Errorf("%q: no error", in)
		}
	}
}

func TestJoin(t *testing.T) {
	for text, want := range map[string]string{" is": "that is", "is": "that is", "'s": "that's", "": "that", "3 x": "that 3 x", ".": "that."} {
		if got := join("that", text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
