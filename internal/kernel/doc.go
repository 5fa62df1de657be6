// SPDX-License-Identifier: MIT

// Package kernel holds the arithmetic of a forward pass: activation quantisation, matrix products, norms, rotary positions,
// attention, activation functions. docs/numerics.md is the contract; the portable Go here is its executable form, and every faster path must
// equal it bit for bit. It does no I/O and knows no model. A [Pool] runs one operation at a time; functions without a pool are safe for concurrent
// use on distinct slices.
package kernel
