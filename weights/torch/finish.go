package torch

import "fmt"

// finish turns the lists of a value, which grew while others pointed to them, into slices. What is shared is visited
// once and stays shared. A value that contains itself or nests too deep is refused, so that those who walk it may recurse.
func finish(v any) (any, error) {
	f := finisher{height: make(map[any]int)}
	v, _, err := f.value(v, 0)
	return v, err
}

// maxDepth limits how deep values nest; Python's own limit on recursion is 1000.
const maxDepth = 1000

type finisher struct {
	// height has the height of what is done and 0 for what is being done, by identity: *list, *Dict, and the address of
	// a tuple's first item.
	height map[any]int
}

// value returns the finished value and its height: 0 for what contains nothing.
func (f *finisher) value(v any, depth int) (any, int, error) {
	switch v := v.(type) {
	case *list:
		h, err := f.once(v, v.items, depth)
		return v.items, h, err
	case Tuple:
		if len(v) == 0 {
			return v, 0, nil
		}
		h, err := f.once(&v[0], v, depth)
		return v, h, err
	case *Dict:
		h, err := f.once(v, v.values, depth)
		return v, h, err
	case *Object:
		if v.State == nil {
			return v, 0, nil
		}
		h, err := f.once(v.State, v.State.values, depth)
		return v, h, err
	case storage, global, mark:
		return nil, 0, fmt.Errorf("a bare %s is not a value", kind(v))
	}
	return v, 0, nil
}

func (f *finisher) once(id any, items []any, depth int) (int, error) {
	h, seen := f.height[id]
	if seen && h == 0 {
		return 0, fmt.Errorf("a value contains itself")
	}
	if seen {
		return h, f.check(depth + h)
	}
	f.height[id] = 0
	h = 1
	if err := f.check(depth + h); err != nil {
		return 0, err
	}
	for i, v := range items {
		value, below, err := f.value(v, depth+1)
		if err != nil {
			return 0, err
		}
		items[i], h = value, max(h, below+1)
	}
	f.height[id] = h
	return h, nil
}

func (f *finisher) check(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values nest more than %d deep", maxDepth)
	}
	return nil
}
