// Package runtime defines what a device computes: a small closed set of fused operations, the Plans they are recorded
// in, and the interfaces a device implements. Models are written once, over this package; no package above it knows on
// which device it runs.
//
// # Plans
//
// A model records its operations once into a [Plan] for a capacity (so many sequences, so many rows). A [Device]
// compiles the Plan into a [Program]: it chooses variants, lays temporaries out in one arena by their lifetimes, and may
// capture a graph. What varies from run to run (live counts, offsets, positions, end-of-text rows, pseudo-word rows,
// prefixes, the step, the random counter, the learning rate) is data in buffers of the Plan, never an argument of a
// launch: an operation has the capacity of its [Dim] and reads how much of it is live. Nothing is read back between
// operations, so one compiled Program serves every raggedness.
//
// # Ragged batches
//
// Activations are matrices of packed rows: all rows of sequence 0, then of sequence 1, and so on, without padding.
// An I32 table of starts (one entry more than sequences) says where each begins.
//
// # Batch invariance
//
// On one device and instruction set the bits of an output depend on the operation, its reduction length and its dtype
// only: never on the number of rows, the capacity, the other sequences or the number of threads. The conformance table
// (package conform) checks it.
package runtime
