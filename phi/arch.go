package phi

import (
	"fmt"

	"isearle/runtime"
)

// Arch is the architecture of a Network.
type Arch uint8

const (
	// MLP is SEARLE's: linear layers one after the other, with an activation between them.
	MLP Arch = iota
	// Residual has blocks of two linear layers in the manner of a pre-norm transformer's, without attention: with N the layer
	// normalisation without weights of its own (those of the layer behind it can do the same),
	//
	//	x_0 = feature;  x_k+1 = x_k + Down_k(GELU(Up_k(N(x_k))));  pseudo-word = Head(N(x_last))
	//
	// Its Layers are Up_0, Down_0, Up_1, Down_1, .. and Head; its tensors blocks.K.{up,down} and head.
	Residual
)

var archNames = [...]string{MLP: "mlp", Residual: "residual"}

func (a Arch) String() string { return archNames[a] }

// MarshalText writes the name.
func (a Arch) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// ArchNames are what ParseArch takes.
func ArchNames() []string { return append([]string(nil), archNames[:]...) }

// ParseArch returns the architecture of a name.
func ParseArch(s string) (Arch, error) {
	for a, name := range archNames {
		if s == name {
			return Arch(a), nil
		}
	}
	return 0, fmt.Errorf("phi: architecture %q is none of %v", s, archNames)
}

// residualBlocks is how many blocks a new Residual network has: with as wide hidden layers it has about as many parameters as the MLP
// (25 against 24 d^2 for features and pseudo-words of d elements).
const residualBlocks = 3

// normEps is PyTorch's default for layer normalisation.
const normEps = 1e-5

// blocks is the number of blocks of a Residual network.
func (n *Network) blocks() int { return len(n.Layers) / 2 }

func blockNames(k int) [2]string {
	return [2]string{fmt.Sprintf("blocks.%d.up", k), fmt.Sprintf("blocks.%d.down", k)}
}

// headName is that of the last layer.
const headName = "head"

func residualNames(blocks int) (names []string) {
	for k := range blocks {
		b := blockNames(k)
		names = append(names, b[:]...)
	}
	return append(names, headName)
}

// buildResidual assembles a Residual network of as many blocks as the source has.
func buildResidual(get source, meta map[string]string) (*Network, error) {
	n := &Network{Arch: Residual, Act: runtime.GELU, Meta: meta}
	blocks := 1
	for ; ; blocks++ {
		if _, ok := get(blockNames(blocks)[0] + ".weight"); !ok {
			break
		}
	}
	for _, name := range residualNames(blocks) {
		l, err := readLayer(get, name)
		if err != nil {
			return nil, err
		}
		n.Layers = append(n.Layers, l)
	}
	for i, name := range residualNames(blocks) {
		if l, want := n.Layers[i], n.inputOf(i); l.In != want {
			return nil, fmt.Errorf("%w: tensor %q takes %d elements, want %d", ErrFormat, name+".weight", l.In, want)
		} else if i%2 == 1 && l.Out != n.In() {
			return nil, fmt.Errorf("%w: tensor %q gives %d elements to add to %d", ErrFormat, name+".weight", l.Out, n.In())
		}
	}
	return n, nil
}

// inputOf is the size of what layer i of a Residual network takes.
func (n *Network) inputOf(i int) int {
	if i%2 == 1 {
		return n.Layers[i-1].Out
	}
	return n.In()
}

// sizes are [out, in] of a new network's layers.
func (a Arch) sizes(in, hidden, out int) (sizes [][2]int) {
	if a == MLP {
		return [][2]int{{hidden, in}, {hidden, hidden}, {out, hidden}}
	}
	for range residualBlocks {
		sizes = append(sizes, [2]int{hidden, in}, [2]int{in, hidden})
	}
	return append(sizes, [2]int{out, in})
}
