// SPDX-License-Identifier: MIT

package solver

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkSolve takes seed after seed of the generated swarms in docs/placement.md: with -benchtime 100x seeds 1 to 100. The medians
// are what counts. The effort is the time that is allowed at a million search nodes a second.
func BenchmarkSolve(b *testing.B) {
	for _, c := range []struct {
		name            string
		devices, layers int
		nodes           int64
	}{
		{"16x80", 16, 80, 4_000_000},
		{"24x80", 24, 80, 1_000_000},
		{"64x126", 64, 126, 2_000_000},
		{"1000x126", 1000, 126, 3_000_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			var gaps, times []float64
			proven := 0
			for seed := uint64(1); b.Loop(); seed++ {
				in := Generate(c.devices, c.layers, seed)
				from := time.Now()
				plan, err := Solve(b.Context(), in, Options{Nodes: c.nodes})
				if err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(from).Seconds())
				if gaps = append(gaps, 100*plan.Gap); plan.Optimal {
					proven++
				}
			}
			slices.Sort(gaps)
			slices.Sort(times)
			b.ReportMetric(1000*times[len(times)/2], "median-ms")
			b.ReportMetric(1000*times[len(times)*9/10], "p90-ms")
			b.ReportMetric(gaps[len(gaps)/2], "median-gap-%")
			b.ReportMetric(100*float64(proven)/float64(len(gaps)), "proven-%")
		})
	}
}
