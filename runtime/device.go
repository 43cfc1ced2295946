package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unsafe"
)

// Device runs Plans. Its methods are safe for concurrent use; Programs of one device run one after the other.
type Device interface {
	// Name is what --device takes: "cpu", "cuda:0".
	Name() string
	// Describe says what the device is, in a line.
	Describe() string
	// Alloc returns a zeroed buffer of n elements.
	Alloc(dt DType, n int) (Buffer, error)
	// Pack copies a frozen weight matrix into the device's own layout. The source may be dropped afterwards,
	// unless the options say that it stays.
	Pack(m Matrix, o PackOptions) (Weight, error)
	// Activations is the type in which the device wants the matrices between products made in a type: queries, keys, values,
	// what attention gives and what goes into a second product. Sums over blocks, and gradients of them, are F32 everywhere.
	Activations(products DType) DType
	// Compile makes a Plan runnable. It returns the Plan's recording error, if there is one.
	Compile(p *Plan) (Program, error)
	// NewSearch returns an exact cosine search for queries of a dimension.
	NewSearch(dim int) (Search, error)
	// Close releases the device. Buffers, weights and programs of it must be closed before.
	Close() error
}

// Breadth is how many times the work that keeps a CPU busy a device wants at once: what a method of this name says, else 1.
// Callers that can gather more work for one run multiply by it.
func Breadth(d Device) int {
	if b, ok := d.(interface{ Breadth() int }); ok {
		return max(1, b.Breadth())
	}
	return 1
}

// Resamples says whether images are better resized on a device, by Resample, than on the host: what a method of this name says, else no.
func Resamples(d Device) bool {
	r, ok := d.(interface{ Resamples() bool })
	return ok && r.Resamples()
}

// Buffer is device memory that a host may write and read. Writes happen before, and reads after, every run that is
// requested between them. Offsets and lengths are in elements; an access outside the buffer, or of the wrong dtype, is
// an error.
type Buffer interface {
	DType() DType
	Len() int
	// WriteF32 and ReadF32 convert to and from the buffer's floating-point type.
	WriteF32(off int, src []float32) error
	ReadF32(off int, dst []float32) error
	WriteI32(off int, src []int32) error
	ReadI32(off int, dst []int32) error
	// WriteRaw copies whole elements as little-endian bytes.
	WriteRaw(off int, src []byte) error
	Close() error
}

// Matrix is a row-major host matrix to be packed: Data, and behind it More, hold Rows x Cols little-endian elements of DType F32, F16 or
// BF16; each holds whole rows.
type Matrix struct {
	DType      DType
	Rows, Cols int
	Data       []byte
	More       [][]byte
}

// Check returns an error for a matrix that is empty, of another dtype or not of as many bytes as it should be.
func (m Matrix) Check() error {
	row, n := m.Cols*m.DType.Size(), len(m.Data)
	whole := m.DType.Float() && m.Rows > 0 && m.Cols > 0 && len(m.Data)%row == 0
	for _, d := range m.More {
		n += len(d)
		whole = whole && len(d)%row == 0
	}
	if !whole || n != m.Rows*row {
		return fmt.Errorf("%d bytes of %s for a [%d, %d] matrix", n, m.DType, m.Rows, m.Cols)
	}
	return nil
}

// Whole is the matrix with all its rows in Data, copied there if some are in More.
func (m Matrix) Whole() Matrix {
	if len(m.More) > 0 {
		m.Data = slices.Concat(append([][]byte{m.Data}, m.More...)...)
		m.More = nil
	}
	return m
}

// A Borrower is a Device that can use host memory in its place.
type Borrower interface {
	// Borrow returns a buffer that is data, elements of dt, which must not change until s is released; it cannot be written to.
	Borrow(dt DType, data []byte, s Source) (Buffer, error)
}

// Source keeps the data of a Matrix where it is.
type Source interface {
	// Drop says that the data is not needed for a while. It can be called while it is read.
	Drop()
	// Release says that the data is needed no more.
	Release()
}

// Float32Bytes is the memory of x as Matrix and Chunk take it; not a copy.
func Float32Bytes(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// PackOptions says how a weight will be used.
type PackOptions struct {
	// DType the products are made in; 0 means F32. A device refuses what it lacks with ErrUnsupported.
	//
	//	F32        f32 factors and sums
	//	F16, BF16  both factors (the left one behind its Norm) are rounded to nearest, ties to even; sums are f32
	//	I8         both factors are quantised by rows, the left one behind its Norm and on the fly; sums are integers
	//
	// In I8 a weight's row is s*v with s = max|w|/127 and v = round(w * (127/max|w|)); a row of the left factor is l + s*u with l its
	// minimum, s = span/255 and u = round((x-l) * (255/span)). All that is computed in f32, integers are rounded to nearest, ties to
	// even, and maxima and spans are taken for at least 1e-30. There is no backward pass.
	//
	// Biases, activations and residuals are computed in f32.
	DType DType
	// Grad packs the transposed matrix too, for products with it in a backward pass.
	Grad bool
	// Rows is how many rows the products with the weight have, most of them no fewer, or 0: a hint by which a device may choose how to
	// multiply. A row's bits may depend on it, but not on the rows that a product has.
	Rows int
	// Source, if not nil, says that the matrix's data stays as it is until its Release, which the device calls once, also if Pack fails. So a
	// device may read a weight when it is used, and if that is but once, never copy it.
	Source Source
}

// Weight is a frozen [out, in] matrix in a device's own layout.
type Weight interface {
	Shape() (out, in int)
	DType() DType
	Close() error
}

// Program is a compiled Plan with its memory.
type Program interface {
	// Run executes the Plan once over the present content of its buffers. When ctx is done between operations it
	// returns ctx's error and leaves the outputs undefined.
	Run(ctx context.Context) error
	// Buffer is the memory of a Persistent or Bound slot.
	Buffer(s Slot) Buffer
	Close() error
}

var (
	// ErrUnsupported is wrapped where a device lacks an operation's variant or a dtype.
	ErrUnsupported = errors.New("not supported by this device")
	// ErrNoDevice is wrapped where a device that was asked for is not there.
	ErrNoDevice = errors.New("no such device")
	// ErrOutOfMemory is wrapped where a smaller batch might help.
	ErrOutOfMemory = errors.New("out of device memory")
)
