// SPDX-License-Identifier: MIT

// Package kernel is the arithmetic of a forward pass: matrix products over quantised and float weights, norms, rotary
// embedding, attention over a KV cache, activation functions and arg max, and the pool of threads that shares them out. Its
// plain Go is the executable form of docs/numerics.md: any other implementation must give the same bits. It does no I/O, reads
// no clock and knows nothing of models; pkg/layers is its caller. Functions are safe for concurrent use on distinct
// slices; a [Pool] runs one job at a time; [Acts] and [KVHead] must not be written while they are in use.
package kernel
