// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkRun is the cost of sharing out a job: each of two threads has so much work, in one item or in four. Beside the time a
// job takes stands what is lost to that of its work.
func BenchmarkRun(b *testing.B) {
	turns := spinTurns()
	for _, items := range []int{2, 8} {
		for _, work := range []time.Duration{0, 11 * time.Microsecond, 111 * time.Microsecond, 1100 * time.Microsecond} {
			b.Run(fmt.Sprintf("items=%d/work=%v", items, work), func(b *testing.B) {
				p := NewPool(2)
				defer p.Close()
				n := int(float64(work) * turns * 2 / float64(items))
				f := func(int, int) { spun.Store(spin(n)) }
				for b.Loop() {
					p.Run(items, f)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)-float64(work), "ns-lost/op")
			})
		}
	}
}

// spun is where results of spin go, so that they are wanted.
var spun atomic.Uint64

// spin computes for a while without memory.
//
//go:noinline
func spin(turns int) uint64 {
	x := uint64(1)
	for range turns {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

// spinTurns returns how many turns of spin a nanosecond has, when nobody disturbs it.
func spinTurns() float64 {
	const turns = 1 << 14
	best := time.Hour
	for range 100 {
		start := time.Now()
		spun.Store(spin(turns))
		best = min(best, time.Since(start))
	}
	return turns / float64(best)
}

func BenchmarkPause(b *testing.B) {
	for b.Loop() {
		pause()
	}
}

func BenchmarkYield(b *testing.B) {
	for b.Loop() {
		yield()
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		now()
	}
}
