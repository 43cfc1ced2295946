package endpoint

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// transient is an error that may be gone the next time.
type transient struct {
	err   error
	after time.Duration // what the server asks to wait, 0 if it does not say
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// retry says how often and after what pauses something is tried again.
type retry struct {
	attempts    int
	first, most time.Duration // the pauses double
	longest     time.Duration // what a server may ask for; above it the error stands
}

// defaultRetry gives up after about a minute.
var defaultRetry = retry{attempts: 8, first: 500 * time.Millisecond, most: 30 * time.Second, longest: 5 * time.Minute}

// do calls f until it succeeds, fails for good, or was tried often enough.
func (r retry) do(ctx context.Context, f func() error) error {
	pause := r.first
	for attempt := 1; ; attempt++ {
		err := f()
		var t *transient
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &t) || attempt >= r.attempts || t.after > r.longest:
			return err
		}
		// Half of the pause is random, so that clients that were sent away together do not come back together.
		wait := max(t.after, pause/2+rand.N(pause/2+1))
		pause = min(2*pause, r.most)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
