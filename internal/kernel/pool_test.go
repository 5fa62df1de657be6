// SPDX-License-Identifier: MIT

package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestPoolRunsEachItemOnce runs many jobs of all sizes back to back: a worker that is late from one job must not touch the next.
func TestPoolRunsEachItemOnce(t *testing.T) {
	t.Parallel()
	for threads := 1; threads <= 5; threads++ {
		p := NewPool(threads)
		busy, counts := make([]atomic.Bool, threads), make([]int, 40)
		for job := range 3000 {
			n := job % len(counts)
			f := func(worker, i int) {
				if busy[worker].Swap(true) {
					t.Errorf("two calls of worker %d at a time", worker)
				}
				counts[i]++ // plain: the race detector sees an item that runs twice
				if i%7 == 0 {
					runtime.Gosched()
				}
				busy[worker].Store(false)
			}
			clear(counts)
			p.Run(n, f)
			for i, c := range counts {
				if want := min(1, max(0, n-i)); c != want {
					t.Fatalf("%d threads, job %d of %d items: item %d ran %d times", threads, job, n, i, c)
				}
			}
			if job%100 == 0 { // let the workers park
				for range 2 * spins {
					runtime.Gosched()
				}
			}
		}
		p.Close()
	}
}

// TestPoolUsesItsThreads: two items that wait for each other finish only if they run at the same time, also when the worker is parked.
func TestPoolUsesItsThreads(t *testing.T) {
	t.Parallel()
	p := NewPool(2)
	defer p.Close()
	for range 200 {
		var meet sync.WaitGroup
		meet.Add(2)
		p.Run(2, func(int, int) {
			meet.Done()
			meet.Wait()
		})
		for !p.workers[0].parked.Load() {
			runtime.Gosched()
		}
		p.crew.init(2) // a busy machine may have made it one
	}
}

// TestPoolOnCrowdedMachine: a thread that is put aside again and again is left out, and gets another chance later. Not parallel: beside other
// tests both threads seldom meet, and it takes half a minute of both processors.
func TestPoolOnCrowdedMachine(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	meet := func(aside bool) { // both threads take part, then the worker is put aside for longer than that took
		var meet sync.WaitGroup
		meet.Add(2)
		p.Run(2, func(worker, _ int) {
			meet.Done()
			meet.Wait()
			took := now() - time.Duration(p.began.Load())
			for start := now(); aside && worker == 1 && now()-start < longHoldUp+2*took; {
			}
		})
	}
	for p.crew.size() == 2 {
		meet(true)
	}
	for range 100 {
		p.Run(9, func(worker, _ int) {
			if worker != 0 {
				t.Error("a worker that is left out takes part")
			}
		})
		p.crew.until = now() + rest // however slow this test is
	}
	p.crew.until = 0
	p.Run(9, func(int, int) {})
	if p.crew.size() != 2 {
		t.Error("the worker does not get its chance")
	}
	meet(false)
}

func TestCrew(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	var c crew
	c.init(3)
	at := time.Second
	run := func(took, held time.Duration) {
		waiting := time.Duration(0)
		if held > 0 {
			waiting = at + took - held
		}
		c.account(at, waiting, at+took)
		at += took
	}
	want := func(size int, when string) {
		t.Helper()
		if c.size() != size {
			t.Fatalf("%d threads %s, want %d", c.size(), when, size)
		}
	}
	for range 1000 {
		run(ms, 0)
		run(50*time.Microsecond, 40*time.Microsecond) // too short to tell
		run(9*ms, 4*ms)                               // an item that takes long, as others did
	}
	want(3, "after jobs that were not held up")
	for range 1000 {
		run(20*ms, 0)
		run(3*ms, 2*ms)
	}
	run(2000*ms, 1999*ms)
	want(3, "when a job is held up now and then")
	for range 5 {
		run(3*ms, 29*ms/10)
	}
	want(2, "when each job is held up")
	for range 5 {
		run(3*ms, 29*ms/10)
	}
	want(1, "when each job is held up still")
	for range 9 {
		run(3*ms, 29*ms/10)
	}
	want(1, "at the least")
	run(rest, 0)
	want(2, "after a rest")
	run(3*ms, 29*ms/10)
	want(2, "with one job held up")
	run(3*ms, 29*ms/10)
	want(1, "with more held up: it had one chance more")
	for range 2 * int(rest/ms) {
		run(ms, 0)
	}
	want(3, "when the machine is quiet again")
}

func TestPoolConcurrentCallers(t *testing.T) {
	t.Parallel()
	p := NewPool(3)
	defer p.Close()
	var sum atomic.Int64
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 200 {
				p.Run(10, func(_, i int) { sum.Add(int64(i)) })
			}
		})
	}
	callers.Wait()
	if got := sum.Load(); got != 4*200*45 {
		t.Errorf("sum %d, want %d", got, 4*200*45)
	}
}

func TestPoolAfterClose(t *testing.T) {
	t.Parallel()
	for _, threads := range []int{0, 1, 3} {
		p := NewPool(threads)
		p.Close()
		p.Close()
		ran := 0
		p.Run(5, func(worker, _ int) {
			if worker != 0 {
				t.Errorf("worker %d of a closed pool", worker)
			}
			ran++
		})
		if ran != 5 {
			t.Errorf("%d of 5 items", ran)
		}
	}
}

func TestPoolAllocatesNothing(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	f := func(int, int) {}
	if allocs := testing.AllocsPerRun(100, func() { p.Run(9, f) }); allocs != 0 {
		t.Errorf("%v allocations a job", allocs)
	}
}
