// SPDX-License-Identifier: MIT

package quant

import "testing"

func BenchmarkQuantize(b *testing.B) {
	src := normal(1, 4096)
	for _, typ := range allTypes {
		b.Run(typ.String(), func(b *testing.B) {
			size, _ := RowBytes(typ, len(src))
			dst := make([]byte, size)
			b.SetBytes(int64(4 * len(src)))
			for b.Loop() {
				if err := Quantize(typ, dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
