package clipnet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"isearle/clipnet/preprocess"
	"isearle/runtime"
	"isearle/weights"
)

// MaxImages is the number of images of an image encoder's largest program on a device: what a caller should gather.
func MaxImages(dev runtime.Device) int { return 32 * runtime.Breadth(dev) }

// imageFloats is what a matrix of a program of several images may have where a CPU computes: second-level caches of 2 MiB hold most of
// what is between two products then. For ViT-B/32 that are 5 images, whose 250 rows fill 8 tiles of 32; with 32 a program took 7 % more
// time for each in int8, as much in f32, and 50 MiB more.
const imageFloats = 256 * 768

// imageCapacities are those of an image encoder's programs, ascending; a batch takes the smallest that holds it. floats are those
// of an image in a matrix.
func imageCapacities(dev runtime.Device, floats int) []int {
	if runtime.Breadth(dev) == 1 {
		return slices.Compact([]int{1, min(max(1, imageFloats/floats), MaxImages(dev))})
	}
	return slices.Compact([]int{1, 8, 32, MaxImages(dev)})
}

// ImageEncoder is CLIP's vision transformer on a device. It is safe for concurrent use; calls run one after the other.
type ImageEncoder struct {
	dev   runtime.Device
	cfg   weights.Config
	tower tower
	patch runtime.Weight
	class runtime.Buffer
	pos   runtime.Buffer
	pre   norm
	owned closers
	from  *preprocess.Preprocessor // of sources; nil where there are none

	mu              sync.Mutex
	pixels, sources imagePrograms // for Encode and EncodeSources
}

// imagePrograms are the compiled Plans of one kind of input by their capacities.
type imagePrograms struct {
	capacities []int // ascending, less those that the device had no memory for
	progs      map[int]*imageProgram
}

// imageProgram is the compiled Plan for one capacity.
type imageProgram struct {
	prog               runtime.Program
	count, pixels, out runtime.Buffer
	sources            sourceBuffers // in place of pixels
	live               [2]int32      // images and rows, as written to count
}

// NewImageEncoder packs a checkpoint's vision tower for a device. The checkpoint may be closed afterwards.
func NewImageEncoder(dev runtime.Device, c *weights.CLIP, o Options) (*ImageEncoder, error) {
	e := &ImageEncoder{dev: dev, cfg: c.Config, from: o.Images}
	v := c.Config.Vision
	for _, p := range []*imagePrograms{&e.pixels, &e.sources} {
		p.capacities, p.progs = imageCapacities(dev, (1+e.grid()*e.grid())*v.Width), map[int]*imageProgram{}
	}
	if o.Images != nil && o.Images.Options().Size != v.ImageSize {
		return nil, fmt.Errorf("clipnet: images of %d pixels for a model of %d", o.Images.Options().Size, v.ImageSize)
	}
	l := loader{dev: dev, ckpt: c, owned: &e.owned, opts: o}
	l.tower(&e.tower, "visual.transformer.", v.Width, v.Layers, v.Heads, v.MLP, 1+e.grid()*e.grid(), c.Config)
	e.patch = l.weight("visual.conv1.weight", v.Width, 3*v.PatchSize*v.PatchSize, e.grid()*e.grid())
	e.class = l.vector("visual.class_embedding", v.Width)
	e.pos = l.vector("visual.positional_embedding", (1+e.grid()*e.grid())*v.Width)
	e.pre = l.norm("visual.ln_pre", v.Width)
	e.tower.final = l.norm("visual.ln_post", v.Width)
	e.tower.proj = l.weight("visual.proj", c.Config.EmbedDim, v.Width, 1)
	if l.err != nil {
		e.Close()
		return nil, fmt.Errorf("clipnet: load vision tower: %w", l.err)
	}
	return e, nil
}

// Size is D, the side of the square images that the model takes, in pixels.
func (e *ImageEncoder) Size() int { return e.cfg.Vision.ImageSize }

// Dim is the number of elements of a feature.
func (e *ImageEncoder) Dim() int { return e.cfg.EmbedDim }

func (e *ImageEncoder) grid() int { return e.cfg.Vision.ImageSize / e.cfg.Vision.PatchSize }

// program returns the program for a capacity, which it compiles once.
func (e *ImageEncoder) program(ps *imagePrograms, images int) (*imageProgram, error) {
	if p := ps.progs[images]; p != nil {
		return p, nil
	}
	p, err := e.compile(images, ps == &e.sources)
	if err == nil {
		ps.progs[images] = p
	}
	return p, err
}

// compile records and compiles the Plan for a capacity.
func (e *ImageEncoder) compile(images int, sources bool) (*imageProgram, error) {
	v, l := e.cfg.Vision, 1+e.grid()*e.grid()
	name := fmt.Sprintf("image %d", images)
	if sources {
		name += ", resized"
	}
	p := runtime.NewPlan(name)
	counts := p.New("counts", runtime.I32, 1, 2)
	starts := p.New("starts", runtime.I32, 1, images+1)
	pool := p.New("class rows", runtime.I32, 1, images)
	ones := p.New("ones", runtime.I32, 1, images+1)
	out := p.New("features", runtime.F32, images, e.cfg.EmbedDim)
	seqs := runtime.Dim{Cap: images, Live: counts.Element(0, 0)}
	rows := runtime.Dim{Cap: images * l, Live: counts.Element(0, 1)}
	var pixels runtime.View
	var from sourceViews
	if sources {
		pixels, from = e.recordSources(p, seqs)
	} else {
		pixels = p.New("pixels", runtime.F32, images, 3*v.ImageSize*v.ImageSize)
	}
	x := p.Temp("x", runtime.F32, images*l, v.Width)
	p.Add(runtime.PatchEmbed{Pixels: pixels, Size: v.ImageSize, Patch: v.PatchSize, W: e.patch,
		Class: p.Use("class", e.class, 1, v.Width), Pos: p.Use("positions", e.pos, l, v.Width), Images: seqs, Out: x})
	p.Add(runtime.LayerNorm{X: x, Norm: e.tower.norm(p, e.pre), Rows: rows, Out: x})
	tr := e.tower.record(p, x, tables{seqs: seqs, rows: rows, starts: starts, maxKeys: l, pool: pool, ones: ones}, false)
	e.tower.project(p, tr.pooled, out, seqs)
	prog, err := e.dev.Compile(p)
	if err != nil {
		return nil, err
	}
	ip := &imageProgram{prog: prog, count: prog.Buffer(counts.Slot), out: prog.Buffer(out.Slot)}
	for b, step := range map[runtime.Buffer]int{prog.Buffer(starts.Slot): l, prog.Buffer(pool.Slot): l, prog.Buffer(ones.Slot): 1} {
		if err == nil {
			err = b.WriteI32(0, multiples(b.Len(), step))
		}
	}
	switch {
	case err != nil:
	case sources:
		ip.sources, err = from.buffers(prog, e.from)
	default:
		ip.pixels = prog.Buffer(pixels.Slot)
	}
	if err != nil {
		prog.Close()
		return nil, err
	}
	return ip, nil
}

// multiples is 0, step, 2*step, ...
func multiples(n, step int) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(i * step)
	}
	return x
}

// Encode writes the features of n images to dst [n, Dim]: raw, not normalised. Pixels are normalised f32 [n, 3, Size, Size]. Where
// the device has no memory for a large program, smaller ones take its work.
func (e *ImageEncoder) Encode(ctx context.Context, dst, pixels []float32, n int) error {
	size, dim := 3*e.Size()*e.Size(), e.Dim()
	if len(pixels) != n*size || len(dst) != n*dim {
		return fmt.Errorf("clipnet: encode %d images: %d pixels and room for %d values, want %d and %d", n, len(pixels), len(dst), n*size, n*dim)
	}
	return e.inBatches(&e.pixels, n, func(p *imageProgram, capacity, done int) (int, error) {
		b := min(n-done, capacity)
		if err := p.pixels.WriteF32(0, pixels[done*size:(done+b)*size]); err != nil {
			return 0, err
		}
		return b, e.run(ctx, p, dst[done*dim:(done+b)*dim], b)
	})
}

// Repeat encodes the pixels again, times over, that an Encode of n images has left on the device, n at most one batch, and copies neither
// pixels nor features but one element of them, for which it waits: what the device does alone, for measuring.
func (e *ImageEncoder) Repeat(ctx context.Context, n, times int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.pixels.progs[smallest(e.pixels.capacities, n)]
	if p == nil || p.live[0] != int32(n) {
		return fmt.Errorf("clipnet: repeat %d images: the last batch was another", n)
	}
	for range times {
		if err := p.prog.Run(ctx); err != nil {
			return err
		}
	}
	return p.out.ReadF32(0, make([]float32, 1))
}

// inBatches has n images encoded, by the smallest programs that hold what is left: encode takes images from number done on, as many
// as it can, and says how many those were.
func (e *ImageEncoder) inBatches(ps *imagePrograms, n int, encode func(p *imageProgram, capacity, done int) (int, error)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for done := 0; done < n; {
		c := smallest(ps.capacities, n-done)
		p, err := e.program(ps, c)
		if errors.Is(err, runtime.ErrOutOfMemory) && ps.giveUp(c) {
			continue
		}
		b := 0
		if err == nil {
			b, err = encode(p, c, done)
		}
		if err != nil {
			return fmt.Errorf("clipnet: encode images: %w", err)
		}
		done += b
	}
	return nil
}

// giveUp leaves capacities out that are at least c and have no program yet, and says whether others are left.
func (ps *imagePrograms) giveUp(c int) bool {
	left := slices.DeleteFunc(slices.Clone(ps.capacities), func(o int) bool { return o >= c && ps.progs[o] == nil })
	if len(left) > 0 {
		ps.capacities = left
	}
	return len(left) > 0
}

// run encodes the n images that have been written to a program.
func (e *ImageEncoder) run(ctx context.Context, p *imageProgram, dst []float32, n int) error {
	p.live = [2]int32{int32(n), int32(n * (1 + e.grid()*e.grid()))}
	if err := p.count.WriteI32(0, p.live[:]); err != nil {
		return err
	}
	if err := p.prog.Run(ctx); err != nil {
		return err
	}
	return p.out.ReadF32(0, dst)
}

// smallest is the smallest capacity that holds n, or the largest there is.
func smallest(capacities []int, n int) int {
	for _, c := range capacities {
		if c >= n {
			return c
		}
	}
	return capacities[len(capacities)-1]
}

// Close releases the device memory.
func (e *ImageEncoder) Close() error {
	for _, ps := range []imagePrograms{e.pixels, e.sources} {
		for _, p := range ps.progs {
			p.prog.Close()
		}
	}
	return e.owned.Close()
}
