// SPDX-License-Identifier: MIT

// Package kernel is the arithmetic of a forward pass: matrix products over quantised and float weights, norms, rotary
// embedding, attention over a KV cache, activation functions and arg max, and the pool of threads that shares them out. Its
// plain Go is the executable form of docs/numerics.md: any other implementation must give the same bits. Two others are here, in
// assembly that _gen writes (go generate): AVX2, and AVX-512 with VNNI. [Path] names the one in use. The package does no I/O, reads
// no clock and knows nothing of models; pkg/layers is its caller. Functions are safe for concurrent use on distinct
// slices; a [Pool] runs one job at a time; [Acts] and [KVHead] must not be written while they are in use.
package kernel
