package safetensors

import "fmt"

// DType is the type of a tensor's elements.
type DType uint8

// The element types of the format. Only the sizes of F8E4M3, F8E5M2, F8E8M0 and C64 are known here: their tensors can be
// listed, copied and written, not converted.
const (
	Invalid DType = iota
	Bool
	U8
	I8
	I16
	U16
	I32
	U32
	I64
	U64
	F16
	BF16
	F32
	F64
	F8E4M3
	F8E5M2
	F8E8M0
	C64
)

var dtypes = [...]struct {
	name string
	size int
}{
	Bool: {"BOOL", 1}, U8: {"U8", 1}, I8: {"I8", 1}, I16: {"I16", 2}, U16: {"U16", 2}, I32: {"I32", 4}, U32: {"U32", 4},
	I64: {"I64", 8}, U64: {"U64", 8}, F16: {"F16", 2}, BF16: {"BF16", 2}, F32: {"F32", 4}, F64: {"F64", 8},
	F8E4M3: {"F8_E4M3", 1}, F8E5M2: {"F8_E5M2", 1}, F8E8M0: {"F8_E8M0", 1}, C64: {"C64", 8},
}

// String returns the name of the type as the format writes it.
func (d DType) String() string {
	if d.Size() == 0 {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Size returns the bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	if int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].size
}

// IsFloat says whether Float32s converts from d: F64, F32, F16 or BF16.
func (d DType) IsFloat() bool { return d == F64 || d == F32 || d == F16 || d == BF16 }

// ParseDType returns the type with a name of the format ("F32", "BF16", ...).
func ParseDType(name string) (DType, error) {
	for d, t := range dtypes {
		if t.size > 0 && t.name == name {
			return DType(d), nil
		}
	}
	return Invalid, fmt.Errorf("unknown dtype %q", name)
}
