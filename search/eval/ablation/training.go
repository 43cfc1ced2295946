package ablation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"isearle/phi"
)

// training is either of phi's.
type training interface {
	Identity() string
	StepsPerEpoch() int
	Run(context.Context, phi.RunOptions) error
	Network() (*phi.Network, error)
	Close() error
}

// trained trains to the last of so many epochs, or takes the network from the folder, and closes the training.
func (s *Study) trained(ctx context.Context, what string, t training, epochs int) (n *phi.Network, err error) {
	defer func() { err = errors.Join(err, t.Close()) }()
	path := filepath.Join(s.Work, fmt.Sprintf("phi-%s-%d.safetensors", t.Identity(), epochs))
	if n, err = phi.Open(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	total := epochs * t.StepsPerEpoch()
	s.progress("phi "+what, 0, total)
	o := phi.RunOptions{Checkpoint: path + ".checkpoint", Every: max(1, epochs/4), Steps: func(done int) { s.progress("phi "+what, done, total) }}
	if err := t.Run(ctx, o); err != nil {
		return nil, err
	}
	if n, err = t.Network(); err != nil {
		return nil, err
	}
	if err := n.Save(path); err != nil {
		return nil, err
	}
	return n, os.Remove(o.Checkpoint)
}

// lesson is what phi is distilled from: a share of the training images, into an architecture.
type lesson struct {
	fraction float64
	arch     phi.Arch
	hidden   int
	seed     int
}

func (l lesson) String() string {
	return fmt.Sprintf("%v, %g of the images, seed %d", l.arch, l.fraction, l.seed)
}

// whole is the lesson of all training images into the usual network.
func (s *Study) whole(seed int) lesson {
	return lesson{1, s.Options.Distil.Arch, s.Options.Distil.Hidden, seed}
}

// trainRows are the images that phi is distilled from: as many as asked, evenly from those that are no reference.
func (s *Study) trainRows() (rows []int) {
	all := s.World.Training
	n := min(s.Options.Train, len(all))
	for k := range n {
		rows = append(rows, all[k*len(all)/n])
	}
	return rows
}

// distil trains phi from OTI's pseudo-words; rows are the images that it learnt from.
func (s *Study) distil(ctx context.Context, l lesson) (n *phi.Network, rows []int, err error) {
	all := s.trainRows()
	if len(all) < 2 {
		return nil, nil, fmt.Errorf("%d images are no reference: phi cannot be distilled from them", len(all))
	}
	v := s.usual(0)
	of, err := s.invert(ctx, s.World, all, v) // of all, so that a smaller fraction needs no more of OTI
	if err != nil {
		return nil, nil, err
	}
	o := s.Options.Distil
	o.Arch, o.Hidden, o.Seed = l.arch, l.hidden, s.Options.OTI.Seed+uint64(l.seed)
	for _, i := range phi.Subset(len(all), l.fraction, o.Seed) {
		rows = append(rows, all[i])
	}
	images, phrases, err := s.inverted(ctx, s.World, rows, v)
	if err != nil {
		return nil, nil, err
	}
	if phrases == nil {
		o.LambdaGPT = 0
	}
	var examples []phi.Example
	for i, row := range rows {
		if o.LambdaGPT > 0 && !slices.ContainsFunc(images[i].Concepts[:min(o.TopConcepts, len(images[i].Concepts))], func(c string) bool { return !phrases.Dropped(strings.TrimSpace(c)) }) {
			continue
		}
		examples = append(examples, phi.Example{Name: images[i].Name, Feature: images[i].Feature, Token: of[row], Concepts: images[i].Concepts})
	}
	// Few images make small batches, of which at least four are made of them, and as many steps.
	o.Batch = max(2, min(o.Batch, len(examples)/4))
	perEpoch := max(1, len(examples)/o.Batch)
	o.Epochs = (s.Options.TrainSteps + perEpoch - 1) / perEpoch
	t, err := s.Engine.TrainPhi(phrases, examples, o)
	if err != nil {
		return nil, nil, err
	}
	n, err = s.trained(ctx, l.String(), t, o.Epochs)
	return n, rows, err
}

// parameters is how many numbers a network has.
func parameters(n *phi.Network) (sum int) {
	for _, l := range n.Layers {
		sum += len(l.W) + len(l.B)
	}
	return sum
}

// trainingColumns are the columns of taught.
var trainingColumns = slices.Concat(retrievalColumns, []string{"cosine with OTI, held out", "cosine with OTI, learnt from"})

// taught measures a network of a lesson on the references, which it did not learn from, and on the images that it did.
func (s *Study) taught(ctx context.Context, l lesson) (n *phi.Network, rows []int, o outcome, held, learnt []float64, err error) {
	if n, rows, err = s.distil(ctx, l); err != nil {
		return
	}
	mine, err := s.byPhi(ctx, s.World, s.refs, n)
	if err != nil {
		return
	}
	if o, err = s.retrieve(ctx, s.World, s.queries, mine, 1); err != nil {
		return
	}
	oti, err := s.invert(ctx, s.World, s.refs, s.usual(0))
	if err != nil {
		return
	}
	held = cosines(mine.list(s.refs), oti.list(s.refs), s.Engine.Width())
	if mine, err = s.byPhi(ctx, s.World, rows, n); err != nil {
		return
	}
	if oti, err = s.invert(ctx, s.World, s.trainRows(), s.usual(0)); err != nil {
		return
	}
	learnt = cosines(mine.list(rows), oti.list(rows), s.Engine.Width())
	return
}

// lessons measures a lesson with every seed.
func (s *Study) lessons(ctx context.Context, l lesson) (n *phi.Network, images int, cells []Cell, o outcome, err error) {
	var list []outcome
	var held, learnt []float64
	for seed := range s.Options.Seeds {
		l.seed = seed
		net, rows, o, h, k, err := s.taught(ctx, l)
		if err != nil {
			return nil, 0, nil, o, err
		}
		n, images, list = net, len(rows), append(list, o)
		held, learnt = append(held, h...), append(learnt, k...)
	}
	o = mean(list...)
	return n, images, append(s.retrieved(o), s.measured(held, 3), s.measured(learnt, 3)), o, nil
}

// fractions distils phi from ever more images.
func (s *Study) fractions(ctx context.Context) (Section, error) {
	out := Section{Note: fmt.Sprintf("phi distilled from OTI's pseudo-words of a share of %d images, none of them a reference, in at least %d steps.", len(s.trainRows()), s.Options.TrainSteps)}
	t := Table{Columns: slices.Concat([]string{"share", "images"}, trainingColumns)}
	var names []string
	curves := map[string][]Cell{}
	var few, all outcome
	least, most := slices.Min(s.Options.Fractions), slices.Max(s.Options.Fractions)
	for _, f := range s.Options.Fractions {
		l := s.whole(0)
		l.fraction = f
		_, images, cells, o, err := s.lessons(ctx, l)
		if err != nil {
			return out, err
		}
		if f == least {
			few = o
		}
		if f == most {
			all = o
		}
		names = append(names, strconv.Itoa(images))
		curves["held out"], curves["learnt from"] = append(curves["held out"], cells[3]), append(curves["learnt from"], cells[4])
		curves["mAP@10"] = append(curves["mAP@10"], cells[0])
		t.Rows = append(t.Rows, Row{number(f), append([]Cell{plain(float64(images), 0)}, cells...)})
	}
	if least < most {
		s.claim(&out, fmt.Sprintf("phi distilled from %g of the images against %g", least, most), few, all)
	}
	out.Tables = []Table{t}
	f := categories("fraction.png", "phi by the number of images it is distilled from", "images", "mAP@10, %", names, curves, "mAP@10")
	f.Panels = append(f.Panels, categories("", "", "", "cosine with OTI", names, curves, "held out", "learnt from").Panels...)
	out.Figures = []Figure{f}
	return out, nil
}

// architectures distils phi of several architectures from the same images.
func (s *Study) architectures(ctx context.Context) (Section, error) {
	out := Section{Note: fmt.Sprintf("phi of either architecture and of half and the usual width, distilled from the same %d images in at least %d steps.", len(s.trainRows()), s.Options.TrainSteps)}
	t := Table{Columns: slices.Concat([]string{"network", "parameters"}, trainingColumns, []string{"mAP@10 - first row's"})}
	var first outcome
	for _, a := range []phi.Arch{phi.MLP, phi.Residual} {
		for _, hidden := range []int{4 * s.Engine.Dim(), 2 * s.Engine.Dim()} {
			l := lesson{fraction: 1, arch: a, hidden: hidden}
			if hidden == 4*s.Engine.Dim() {
				l.hidden = 0 // the usual, made once
			}
			n, _, cells, o, err := s.lessons(ctx, l)
			if err != nil {
				return out, err
			}
			if first.ap == nil {
				first = o
			} else if a == phi.Residual && l.hidden == 0 {
				s.claim(&out, "phi, residual blocks against an MLP", o, first)
			}
			t.Rows = append(t.Rows, Row{fmt.Sprintf("%v, hidden %d", a, hidden), slices.Concat([]Cell{plain(float64(parameters(n)), 0)}, cells, []Cell{s.difference(o.ap, first.ap)})})
		}
	}
	out.Tables = []Table{t}
	return out, nil
}

// tune fine-tunes a network on the triplets of some queries.
func (s *Study) tune(ctx context.Context, what string, n *phi.Network, queries []int, seed int, scratch bool) (*phi.Network, error) {
	o := s.Options.Tune
	o.Seed = s.Options.OTI.Seed + uint64(seed)
	if scratch {
		// From nothing there is more to learn: at the rate of distillation, three times as long.
		o.LR, o.Epochs = s.Options.Distil.LR, 3*o.Epochs
	}
	d := s.Engine.Dim()
	var triplets []phi.Triplet
	for _, i := range queries {
		q := s.queries[i]
		f, err := s.World.feature(ctx, s.World.row[q.Reference.ID])
		if err != nil {
			return nil, err
		}
		x := phi.Triplet{Name: q.ID, Reference: f}
		for _, row := range q.Targets {
			x.Targets = append(x.Targets, s.World.Unit[row*d:(row+1)*d])
		}
		for _, p := range q.Prompts {
			x.Prompt = p
			triplets = append(triplets, x)
		}
	}
	o.Batch = max(2, min(o.Batch, len(triplets)))
	t, err := s.Engine.TunePhi(n, triplets, o)
	if err != nil {
		return nil, err
	}
	return s.trained(ctx, what, t, o.Epochs)
}

// folds cuts the queries into parts: queries of one reference are in one part.
func (s *Study) folds() (part []int) {
	at := map[string]int{}
	for _, q := range s.queries {
		if _, ok := at[q.Reference.ID]; !ok {
			at[q.Reference.ID] = len(at) % s.Options.Folds
		}
		part = append(part, at[q.Reference.ID])
	}
	return part
}

// tuned asks every query of the networks that learnt from the other parts, and of those that learnt from its own.
func (s *Study) tuned(ctx context.Context, what string, first func(seed int) (*phi.Network, error), scratch bool) (held, learnt []outcome, err error) {
	part := s.folds()
	n := len(s.queries)
	for seed := range s.Options.Seeds {
		begin, err := first(seed)
		if err != nil {
			return nil, nil, err
		}
		h := outcome{make([]float64, n), make([]float64, n), make([]float64, n)}
		k := outcome{make([]float64, n), make([]float64, n), make([]float64, n)}
		for fold := range s.Options.Folds {
			var queries []int
			for i := range s.queries {
				if part[i] != fold {
					queries = append(queries, i)
				}
			}
			net, err := s.tune(ctx, fmt.Sprintf("%s, fold %d, seed %d", what, fold+1, seed), begin, queries, seed, scratch)
			if err != nil {
				return nil, nil, err
			}
			of, err := s.byPhi(ctx, s.World, s.refs, net)
			if err != nil {
				return nil, nil, err
			}
			o, err := s.retrieve(ctx, s.World, s.queries, of, 1)
			if err != nil {
				return nil, nil, err
			}
			for i := range o.ap {
				if part[i] == fold {
					h.ap[i], h.first[i], h.found[i] = o.ap[i], o.first[i], o.found[i]
					continue
				}
				share := 1 / float64(s.Options.Folds-1)
				k.ap[i], k.first[i], k.found[i] = k.ap[i]+share*o.ap[i], k.first[i]+share*o.first[i], k.found[i]+share*o.found[i]
			}
		}
		held, learnt = append(held, h), append(learnt, k)
	}
	return held, learnt, nil
}

// finetune compares the distilled phi with one that learnt from triplets.
func (s *Study) finetune(ctx context.Context) (Section, error) {
	out := Section{Note: fmt.Sprintf("phi trained on triplets of reference, caption and right answers by InfoNCE through the frozen text tower (batch %d, rate %g, %d epochs; from a "+
		"new network rate %g, %d epochs), in %d folds: each query is asked of networks that learnt from the other folds' queries (held out), whose images may be right answers there too, "+
		"and of those that learnt from it.", s.Options.Tune.Batch, s.Options.Tune.LR, s.Options.Tune.Epochs, s.Options.Distil.LR, 3*s.Options.Tune.Epochs, s.Options.Folds)}
	t := Table{Columns: slices.Concat([]string{"phi"}, retrievalColumns, []string{"mAP@10 of triplets learnt from", "mAP@10 - before"})}
	fixed := func(label string, network func(seed int) (*phi.Network, error)) (outcome, error) {
		var list []outcome
		for seed := range s.Options.Seeds {
			n, err := network(seed)
			if err != nil {
				return outcome{}, err
			}
			of, err := s.byPhi(ctx, s.World, s.refs, n)
			if err != nil {
				return outcome{}, err
			}
			o, err := s.retrieve(ctx, s.World, s.queries, of, 1)
			if err != nil {
				return outcome{}, err
			}
			list = append(list, o)
		}
		o := mean(list...)
		t.Rows = append(t.Rows, Row{label, append(s.retrieved(o), none(), none())})
		return o, nil
	}
	tuned := func(label string, before outcome, network func(seed int) (*phi.Network, error), scratch bool) error {
		held, learnt, err := s.tuned(ctx, label, network, scratch)
		if err != nil {
			return err
		}
		o := mean(held...)
		cells := append(s.retrieved(o), s.percent(mean(learnt...).ap), none())
		if before.ap != nil {
			cells[len(cells)-1] = s.difference(o.ap, before.ap)
			s.claim(&out, "phi, "+label+", against before", o, before)
		}
		t.Rows = append(t.Rows, Row{label, cells})
		return nil
	}
	distilled := func(seed int) (*phi.Network, error) {
		n, _, err := s.distil(ctx, s.whole(seed))
		return n, err
	}
	before, err := fixed("distilled here", distilled)
	if err == nil {
		err = tuned("distilled here, then on triplets", before, distilled, false)
	}
	if err != nil {
		return out, err
	}
	n, err := s.given()
	if err != nil {
		return out, err
	}
	if n != nil {
		given := func(int) (*phi.Network, error) { return n, nil }
		before, err := fixed("the model's own", given)
		if err == nil {
			err = tuned("the model's own, then on triplets", before, given, false)
		}
		if err != nil {
			return out, err
		}
	}
	fresh := func(seed int) (*phi.Network, error) {
		o := s.Options.Distil
		return phi.New(o.Arch, s.Engine.Dim(), o.Hidden, s.Engine.Width(), s.Options.OTI.Seed+uint64(seed)), nil
	}
	if err := tuned("on triplets from nothing", outcome{}, fresh, true); err != nil {
		return out, err
	}
	out.Tables = []Table{t}
	return out, nil
}
