package lines

import (
	"context"
	"iter"
)

// Batches reads ahead and gives what there is at the moment, at least one value and at most max: so each question of a
// slow pipe is answered at once, and those of a fast one are answered together. The first error ends the sequence. When
// ctx ends, so does the sequence, with ctx's error; a read that is under way is not waited for.
func Batches[T any](ctx context.Context, seq iter.Seq2[T, error], max int) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		values, failure := pump(ctx, seq, max)
		for {
			batch, more := collect(ctx, values, max)
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if len(batch) > 0 && !yield(batch, nil) {
				return
			}
			if !more {
				if err := <-failure; err != nil {
					yield(nil, err)
				}
				return
			}
		}
	}
}

// pump sends the values of seq, and when they end the error that ended them, or nil.
func pump[T any](ctx context.Context, seq iter.Seq2[T, error], max int) (<-chan T, <-chan error) {
	values, failure := make(chan T, max), make(chan error, 1)
	go func() {
		defer close(values)
		for v, err := range seq {
			if err != nil {
				failure <- err
				return
			}
			select {
			case values <- v:
			case <-ctx.Done():
				failure <- ctx.Err()
				return
			}
		}
		failure <- nil
	}()
	return values, failure
}

// collect waits for one value and takes those that are there already.
func collect[T any](ctx context.Context, values <-chan T, max int) (batch []T, more bool) {
	select {
	case v, ok := <-values:
		if !ok {
			return nil, false
		}
		batch = append(batch, v)
	case <-ctx.Done():
		return nil, false
	}
	for len(batch) < max {
		select {
		case v, ok := <-values:
			if !ok {
				return batch, false
			}
			batch = append(batch, v)
		default:
			return batch, true
		}
	}
	return batch, true
}
