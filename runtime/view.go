package runtime

import "fmt"

// Slot names a buffer of a Plan. The zero Slot names none.
type Slot int

// View is a matrix inside a buffer of a Plan: element (i, j) is at Offset + i*Stride + j. All are counted in elements.
// The zero View stands for an operand that is absent.
type View struct {
	Slot       Slot
	Offset     int
	Rows, Cols int
	Stride     int
}

// Absent reports whether v is the zero View.
func (v View) Absent() bool { return v.Slot == 0 }

// Columns is the view of n columns of v from column j on: q, k and v inside one product's output, for example.
func (v View) Columns(j, n int) View {
	v.Offset += j
	v.Cols = n
	return v
}

// Span is the view of n rows of v from row i on.
func (v View) Span(i, n int) View {
	v.Offset += i * v.Stride
	v.Rows = n
	return v
}

// Element is the 1 x 1 view of element (i, j).
func (v View) Element(i, j int) View {
	return View{Slot: v.Slot, Offset: v.Offset + i*v.Stride + j, Rows: 1, Cols: 1, Stride: 1}
}

// end is one past the last element that v reaches.
func (v View) end() int {
	if v.Rows == 0 || v.Cols == 0 {
		return v.Offset
	}
	return v.Offset + (v.Rows-1)*v.Stride + v.Cols
}

func (v View) String() string {
	if v.Absent() {
		return "absent"
	}
	return fmt.Sprintf("slot %d+%d [%d, %d] stride %d", v.Slot, v.Offset, v.Rows, v.Cols, v.Stride)
}

// Dim is an extent that varies from run to run: at most Cap, and as much as the I32 element Live says. Where Live is
// absent the extent is always Cap.
type Dim struct {
	Cap  int
	Live View
}

// Fixed is the Dim that is always n.
func Fixed(n int) Dim { return Dim{Cap: n} }
