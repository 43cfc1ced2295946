package runtime

import "sort"

// Arena assigns every Temporary slot of a Plan its place in one block of memory, so that slots whose lifetimes do not
// meet share bytes. Offsets (by slot - 1, -1 for slots that are not Temporary) and size are in bytes, multiples of align.
func (p *Plan) Arena(align int) (offsets []int, size int) {
	type life struct{ slot, first, last, bytes int }
	lives := make([]life, len(p.slots))
	for i, s := range p.slots {
		lives[i] = life{slot: i, first: -1, bytes: (s.Len*s.DType.Size() + align - 1) / align * align}
	}
	for i, op := range p.ops {
		for v := range op.operands {
			if v.Absent() {
				continue
			}
			l := &lives[v.Slot-1]
			if l.first < 0 {
				l.first = i
			}
			l.last = i
		}
	}
	offsets = make([]int, len(p.slots))
	for i := range offsets {
		offsets[i] = -1
	}
	used := lives[:0]
	for _, l := range lives {
		if p.slots[l.slot].Kind == Temporary && l.first >= 0 && l.bytes > 0 {
			used = append(used, l)
		}
	}
	// Large first, each at the lowest place that no slot alive at the same time covers.
	sort.SliceStable(used, func(i, j int) bool { return used[i].bytes > used[j].bytes })
	var placed []life
	for _, l := range used {
		at := 0
		for _, q := range placed { // sorted by offset
			o := offsets[q.slot]
			if q.last < l.first || l.last < q.first || o+q.bytes <= at {
				continue
			}
			if at+l.bytes <= o {
				break
			}
			at = o + q.bytes
		}
		offsets[l.slot] = at
		size = max(size, at+l.bytes)
		placed = append(placed, l)
		sort.SliceStable(placed, func(i, j int) bool { return offsets[placed[i].slot] < offsets[placed[j].slot] })
	}
	return offsets, size
}
