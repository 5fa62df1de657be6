// SPDX-License-Identifier: MIT

//go:build amd64 && !purego

package kernel

import (
	"fmt"
	"slices"
	"testing"
)

// BenchmarkPeak is what prefill is to be compared with in the same run: integer products without memory.
func BenchmarkPeak(b *testing.B) {
	for _, threads := range []int{1, 2} {
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
