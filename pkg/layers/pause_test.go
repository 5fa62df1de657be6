// SPDX-License-Identifier: MIT

package layers_test

import (
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// longestPause is for how long a collection of garbage may stop the program while it computes: the time in which no message is answered.
const longestPause = 2 * time.Millisecond

// TestPausesAreShort: collections of garbage during decode and prefill wait for the calls of assembly under way, and for no more. The
// bound is ten times what BenchmarkPauses is to show. A busy machine puts threads aside that are waited for, so it is for nine pauses of
// ten, and not for each of three tries. Not parallel: it changes GOMAXPROCS, and others would be measured too.
func TestPausesAreShort(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time, and the race detector's would be in it")
	}
	m := pauseModel(t, 1024, 2816)
	for _, rows := range []int{1, 64} {
		most := time.Hour
		for try := 0; try < 3 && most > 10*longestPause; try++ {
			p := collectWhile(t, m, rows, 25)
			most = min(most, p.quantile(0.9))
			t.Logf("steps of %d rows: %d pauses, median %v, nine of ten %v, the longest %v", rows, p.total, p.quantile(0.5), p.quantile(0.9), p.quantile(1))
		}
		if most > 10*longestPause {
			t.Errorf("steps of %d rows: collections stop the program for %v, want %v", rows, most, longestPause)
		}
	}
}

// BenchmarkPauses reports how long collections of garbage stop a program that decodes, back to back, layers of the 1.5b shape.
func BenchmarkPauses(b *testing.B) {
	m := pauseModel(b, 2048, 5632)
	for _, rows := range []int{1, 64} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			p := collectWhile(b, m, rows, max(50, b.N))
			b.ReportMetric(0, "ns/op") // means nothing here
			b.ReportMetric(float64(p.quantile(1))/float64(time.Microsecond), "µs-max")
			b.ReportMetric(float64(p.quantile(0.99))/float64(time.Microsecond), "µs-p99")
			b.ReportMetric(float64(p.quantile(0.5))/float64(time.Microsecond), "µs-median")
		})
	}
}

// pauseThreads is one for each processor, as in the programs, as far as the small matrices here have work for.
func pauseThreads() int { return min(runtime.NumCPU(), 8) }

// pauseModel has two wide layers.
func pauseModel(tb testing.TB, hidden, ffn int) *layers.Model {
	tb.Helper()
	spec := testmodel.Default()
	spec.Layers, spec.Hidden, spec.FFN, spec.Heads, spec.KVHeads = 2, hidden, ffn, hidden/64, hidden/256
	f, err := gguf.Parse(testmodel.Bytes(spec))
	if err != nil {
		tb.Fatal(err)
	}
	m, err := layers.Load(f, parse(tb, f), protocol.LayerRange{From: 0, To: spec.Layers}, layers.Options{Threads: pauseThreads()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

// collectWhile computes steps of so many rows while garbage is collected so many times, and returns the pauses of that.
func collectWhile(tb testing.TB, m *layers.Model, rows, collections int) pauses {
	tb.Helper()
	threads := pauseThreads()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), threads+1))) // as internal/cmdline.SpareP does
	cache := m.NewCache(m.Config().Context)
	var out layers.Output
	in := layers.Input{Tokens: make([]protocol.TokenID, rows), Logits: []uint32{0}}
	step := func() {
		if cache.Len()+rows > cache.Positions() {
			cache.Reset()
		}
		if err := m.Forward(cache, in, &out); err != nil {
			tb.Fatal(err)
		}
	}
	step() // memory is there, threads are awake
	runtime.GC()

	before := readPauses()
	var done atomic.Bool
	go func() {
		defer done.Store(true)
		for range collections {
			runtime.GC()
		}
	}()
	steps := 0
	for ; !done.Load(); steps++ {
		step()
	}
	p := readPauses().since(before)
	if p.total < uint64(collections) || steps == 0 {
		tb.Fatalf("%d pauses of %d collections in %d steps", p.total, collections, steps)
	}
	return p
}

// pauses is a histogram of how long the collector stopped the program.
type pauses struct {
	counts []uint64
	upTo   []float64 // [len(counts)] seconds
	total  uint64
}

func readPauses() (p pauses) {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	h := sample[0].Value.Float64Histogram()
	p.counts, p.upTo = h.Counts, h.Buckets[1:]
	for _, n := range p.counts {
		p.total += n
	}
	return p
}

// since returns what came after before.
func (p pauses) since(before pauses) pauses {
	for i, n := range before.counts {
		p.counts[i] -= n
	}
	p.total -= before.total
	return p
}

// quantile returns a pause that part q of all are no longer than: the upper end of its bucket.
func (p pauses) quantile(q float64) time.Duration {
	left := uint64(math.Ceil(q * float64(p.total)))
	for i, n := range p.counts {
		if n >= left {
			return time.Duration(min(p.upTo[i], time.Hour.Seconds()) * float64(time.Second))
		}
		left -= n
	}
	return 0
}
