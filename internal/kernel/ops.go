// SPDX-License-Identifier: MIT

package kernel

// ops are a path's routines for what is not a product with weights. All of them take at least one element.
type ops struct {
	quantize func(q *int8, d, s *float32, sum *int32, x *float32, blocks, height int)
}

// quantizeBlocks quantises neighbouring blocks of a row into tiles of that height.
//
//go:noinline
func (o *ops) quantizeBlocks(q []int8, d, s []float32, sum []int32, x []float32, blocks, height int) {
	o.quantize(&q[0], &d[0], &s[0], &sum[0], &x[0], blocks, height)
}
