// Package pixel holds the innermost loops between compressed pixels and a model's: JPEG's inverse DCT, chroma upsampling and
// colour conversion, and the two passes of a resize. There is one set of them ([Kernels]) for AVX-512, one for AVX2 and a
// portable one; [Best] chooses at start-up. The build tag noasm leaves the portable one only.
//
// All arithmetic is in integers and exact, so all sets give the same bytes: those of libjpeg-turbo and of Pillow.
//
// A call in assembly cannot be preempted; each handles some rows of an image at most.
package pixel

//go:generate go run -C gen .
