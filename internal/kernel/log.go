// SPDX-License-Identifier: MIT

package kernel

// Log returns ln x for x > 0, the same on every target; its error is about 1e-16 absolute.
func Log(x float64) float64 {
	hi, lo := logPair(x)
	return hi + lo
}
