package cpu

import (
	"math"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// patchEmbed compiles runtime.PatchEmbed: one phase lays the patches out as rows, one multiplies them.
func (c *compiler) patchEmbed(o runtime.PatchEmbed) {
	k, images := c.dev.k, c.live(o.Images)
	px, pos, class, out := c.f32(o.Pixels), c.f32(o.Pos), c.f32(o.Class), c.f32(o.Out)
	w := c.weight(o.W)
	if c.err != nil {
		return
	}
	l, grid := o.Rows(), o.Size/o.Patch
	per, depth := l-1, 3*o.Patch*o.Patch
	apart := per // the rows of an image
	if c.dev.k.Tiles {
		apart = simd.TallRows(per)
	}
	rows := c.encoded(w.fwd, o.Images.Cap*apart)
	c.add(func() int { return images() * grid }, func(wk *worker, task int) {
		b, gy := task/grid, task%grid
		buf := carver(wk.floats(rows.room + depth))
		room, row := buf.take(rows.room), buf.take(depth)
		for gx := range grid {
			layPatch(row, px.row(b), o.Size, o.Patch, gy, gx)
			rows.encode(b*apart+gy*grid+gx, row, room)
		}
		if gy == 0 {
			copy(out.row(b*l), class.row(0))
			k.Bias(out.row(b*l), pos.row(0))
		}
	})
	panels := w.fwd.panels()
	all := &product{k: k, a: rows.a, w: w.fwd, dst: out, to: w.fwd.k, end: epilogue{tile: k.TileBias, res: pos}}
	all.end.res.data = pos.from(1, 0)
	all.link(c, func() int { return images() * panels })
	c.add(all.tasks, func(wk *worker, task int) {
		b, p := task/panels, *all
		p.a.data, p.dst.data = rows.a.from(b*apart, 0), out.from(b*l+1, 0)
		if rows.aq != nil {
			p.aq = rows.aq[2*b*apart:]
		}
		p.block(wk, 0, per, task, images() > 1)
	})
}

// layPatch writes patch (gy, gx) of an image [3, size, size] as one row: channel, row, column.
func layPatch(dst, px []float32, size, patch, gy, gx int) {
	for c := range 3 {
		for y := range patch {
			src := (c*size+gy*patch+y)*size + gx*patch
			copy(dst[(c*patch+y)*patch:][:patch], px[src:])
		}
	}
}

// tokenEmbed compiles runtime.TokenEmbed.
func (c *compiler) tokenEmbed(o runtime.TokenEmbed) {
	rows, ids, pos, inject := c.live(o.Rows), c.i32(o.IDs), c.i32(o.Pos), c.i32(o.Inject)
	posTable, pseudo, out := c.f32(o.PosTable), c.f32(o.Pseudo), c.f32(o.Out)
	table := c.prog.buffers[o.Table.Slot-1]
	mem, size := table.mem, table.dt.Size()
	k, width := c.dev.k, o.Table.Cols
	embed := func(i int) bool {
		p := int(pos[i])
		if p < 0 || p >= posTable.rows {
			return false
		}
		dst := out.row(i)
		if inject != nil && inject[i] >= 0 {
			if int(inject[i]) >= pseudo.rows {
				return false
			}
			copy(dst, pseudo.row(int(inject[i])))
		} else {
			id := int(ids[i])
			if id < 0 || id >= o.Table.Rows {
				return false
			}
			toF32(dst[:width], table.dt, mem[(o.Table.Offset+id*o.Table.Stride)*size:])
		}
		k.Bias(dst, posTable.row(p))
		return true
	}
	c.eachRow(rows, normRows, func(_ *worker, i int) {
		if !embed(i) {
			fill(out.row(i), float32(math.NaN()))
		}
	})
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
