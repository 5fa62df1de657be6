// SPDX-License-Identifier: MIT

// Command gen writes the assembly of internal/kernel. It is run by go generate there.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("amd64,!purego")
	for _, f := range formats {
		for _, rows := range []int{1, 2, 4} {
			tile256(f, rows)
		}
		for _, rows := range []int{1, 2, 4} {
			tile512(f, rows, 1)
		}
		if f.plain() {
			tile512(f, 4, 2)
		} else {
			tile512(f, 8, 1)
		}
	}
	quantize()
	limits()
	elementwise()
	attention()
	for _, f := range floatFormats {
		for _, rows := range []int{1, 4} {
			tileFloat("AVX2", f, rows)
			tileFloat("AVX512", f, rows)
		}
	}
	Generate()
}
