// SPDX-License-Identifier: MIT

// Command gen writes the assembly of internal/kernel. It is run by go generate there, once for each of its files.
package main

import (
	"flag"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	ops := flag.Bool("ops", false, "write all but the products with weights")
	flag.Parse()
	ConstraintExpr("amd64,!purego")
	if *ops {
		quantize()
		remainder()
		elementwise()
		rope()
		put()
		softmax()
		for _, v := range []vectors{avx2, avx512} {
			gated(v)
			clamped(v)
			softCap(v)
			weights(v)
		}
		attention()
		choose()
	} else {
		tiles()
	}
	Generate()
}

// tiles writes the products with weights, and what they are measured against.
func tiles() {
	for _, f := range formats {
		for _, rows := range []int{1, 2, 4} {
			tile256(f, rows)
		}
		for _, rows := range []int{1, 2, 4} {
			tile512(f, rows, 1)
		}
		if f.plain() {
			tile512(f, 4, 2)
		}
		if !f.lows { // which would need more registers than there are
			tile512(f, 8, 1)
			tileAMX(f)
		}
	}
	for _, f := range floatFormats {
		for _, rows := range []int{1, 4} {
			tileFloat("AVX2", f, rows)
			tileFloat("AVX512", f, rows)
		}
	}
	limits()
}
