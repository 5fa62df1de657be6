// SPDX-License-Identifier: MIT

package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
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
		for p.parked.Load() == 0 {
			runtime.Gosched()
		}
	}
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
