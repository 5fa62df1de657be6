// SPDX-License-Identifier: MIT

//go:build amd64 && !purego

package kernel

import (
	"fmt"
	"slices"
	"testing"
)

// BenchmarkLimit is what products are to be compared with in the same run: reading memory like weights, and integer products
// without memory.
func BenchmarkLimit(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("read/threads=%d", threads), func(b *testing.B) {
			if !slices.Contains(supported(), avx2) {
				b.Skip("no AVX2")
			}
			const size, piece = 1 << 30, pieceBytes
			var mem Memory
			defer mem.Close()
			w, err := mem.alloc(size)
			if err != nil {
				b.Fatal(err)
			}
			for i := 0; i < len(w); i += 4096 {
				w[i] = 1
			}
			p := newPool(threads, generic)
			defer p.Close()
			b.SetBytes(size)
			for b.Loop() {
				p.Run(size/piece, func(_, i int) { readAVX2(&w[i*piece], piece/64) })
			}
		})
		b.Run(fmt.Sprintf("vnni/threads=%d", threads), func(b *testing.B) {
			if !slices.Contains(supported(), avx512) {
				b.Skip("no AVX-512 VNNI")
			}
			p := newPool(threads, generic)
			defer p.Close()
			const turns = 1 << 12
			for b.Loop() {
				p.Run(64, func(int, int) { peakAVX512(turns) })
			}
			b.ReportMetric(64*turns*16*128*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
		})
	}
}
