//go:build cuda

package cuda

import (
	"gorgonia.org/cu"
)

// arena is memory for programs' temporaries. Programs run one after the other and a temporary's content does not outlive a
// run, so any number of programs share an arena. It does not move: captured graphs hold its address.
type arena struct {
	ptr   cu.DevicePtr
	bytes int
	users int
}

// arenaGrain is what sizes are rounded up to, so that plans of about the same size share an arena.
const arenaGrain = 1 << 20

// arena returns one of at least so many bytes: the smallest that is there, or a new one.
func (d *Device) arena(bytes int) (*arena, error) {
	var best *arena
	for _, a := range d.arenas {
		if a.bytes >= bytes && (best == nil || a.bytes < best.bytes) {
			best = a
		}
	}
	if best == nil {
		bytes = (bytes + arenaGrain - 1) / arenaGrain * arenaGrain
		p, err := d.allocate(bytes)
		if err != nil {
			return nil, err
		}
		best = &arena{ptr: p, bytes: bytes}
		d.arenas = append(d.arenas, best)
	}
	best.users++
	return best, nil
}

// trim frees the arenas that no program uses and the rows that searches keep, and says whether there were any.
func (d *Device) trim() bool {
	rows := false
	for _, s := range d.searches {
		rows = rows || len(s.feed.kept) > 0
		s.feed.drop()
	}
	d.searches = nil
	var kept []*arena
	for _, a := range d.arenas {
		if a.users > 0 || cu.MemFree(a.ptr) != nil {
			kept = append(kept, a)
		}
	}
	freed := len(kept) < len(d.arenas)
	d.arenas = kept
	return freed || rows
}
