// Package search owns galleries: the files that hold a gallery's features and ids, and the exact cosine search over them.
//
// A [Gallery] is an open .isx file, which is a safetensors file that numpy, torch and Rust read with what they have:
//
//	features  F32, F16 or BF16 [n, d]  one row per image, at a multiple of 64 bytes from the start of the file
//	ids       U8 [bytes]               the ids one after the other
//	id_ends   I64 [n]                  where each id ends in ids
//	digests   U8 [n, 16]               optional: of the content each row was made from, see [Digest]
//	codes     I8 [n, d]                optional, with the next three: the coarse copy of runtime.Coarse
//	scale     F32 [n]
//	loss      F32 [n]
//	mean      F32 [d]
//
// and whose __metadata__ holds a [Meta]. A tensor named padding may stand in front of features.
//
// A [Writer] makes galleries, and the same features as .npy or JSONL, so that a run that was killed goes on where it
// stopped. An [Index] answers queries. A [Table] reads any of the three formats.
package search
