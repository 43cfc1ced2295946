package mmap

// HugePage is the size of a huge page, in bytes.
const HugePage = 2 << 20

// Anonymous returns n zero bytes that start where a huge page may; n is a multiple of HugePage. They are of no file and not of the Go heap, and
// take memory as they are touched. It returns nil where the system refuses, and on systems other than Linux.
func Anonymous(n int) []byte { return anonymous(n) }

// AskHuge asks for huge pages in the place of those that are there or will be. A hint: ordinary pages do too.
func AskHuge(mem []byte) { askHuge(mem) }

// Free gives back what Anonymous returned, whole.
func Free(mem []byte) { free(mem) }
