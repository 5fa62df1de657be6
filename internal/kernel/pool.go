// SPDX-License-Identifier: MIT

package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Pool computes on a fixed number of threads. Work is claimed piece by piece from one counter: the caller takes whatever no one else has claimed
// and waits only for pieces under way, so that a descheduled worker costs its piece, not the whole operation.
type Pool struct {
	// Constant after construction.
	workers []*worker
	job     matMulJob // of MatMul; here so that a product allocates nothing
	runProd func(worker, i int)
	runActs func(worker, i int)

	// Written by Run while no piece is claimed, read after a claim.
	task func(worker, i int)

	state  atomic.Uint64 // epoch<<32 | next piece
	size   atomic.Uint32 // pieces of the epoch
	done   atomic.Uint32 // pieces finished
	closed atomic.Bool
	exited sync.WaitGroup
}

// worker is one goroutine beside the caller's.
type worker struct {
	wake chan struct{} // capacity 1; a token may be stale
}

// idleSpin is how long a worker looks for work before it parks: longer than the gaps within a step, shorter than those between steps.
const idleSpin = 30 * time.Microsecond

// NewPool returns a pool of threads, the caller's included. Close it to end its goroutines.
func NewPool(threads int) *Pool {
	p := &Pool{}
	p.runProd = p.matMulChunk
	p.runActs = p.quantizeChunk
	for i := 1; i < threads; i++ {
		w := &worker{wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		p.exited.Go(func() { p.serve(w, i) })
	}
	return p
}

// Threads returns the number of threads, the caller's included.
func (p *Pool) Threads() int { return len(p.workers) + 1 }

// Close ends the workers. Run must not be called any more.
func (p *Pool) Close() {
	p.closed.Store(true)
	for _, w := range p.workers {
		w.signal()
	}
	p.exited.Wait()
}

// Run calls f(worker, i) for each i in 0…n-1, on all threads, and returns when all calls have. worker is below Threads. One Run at a
// time.
func (p *Pool) Run(n int, f func(worker, i int)) {
	if len(p.workers) == 0 || n <= 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	p.task = f
	p.done.Store(0)
	p.size.Store(uint32(n))
	epoch := uint32(p.state.Load()>>32) + 1
	p.state.Store(uint64(epoch) << 32)
	for _, w := range p.workers {
		w.signal()
	}
	p.work(0, epoch)
	for p.done.Load() != uint32(n) {
		runtime.Gosched()
	}
}

// work claims and runs pieces of the epoch until none is left.
func (p *Pool) work(worker int, epoch uint32) {
	for {
		s := p.state.Load()
		if uint32(s>>32) != epoch || uint32(s) >= p.size.Load() {
			return
		}
		if !p.state.CompareAndSwap(s, s+1) {
			continue
		}
		// The epoch cannot end before this piece is done, so task is this epoch's.
		p.task(worker, int(uint32(s)))
		p.done.Add(1)
	}
}

func (p *Pool) serve(w *worker, id int) {
	seen := uint32(0)
	for !p.closed.Load() {
		epoch := uint32(p.state.Load() >> 32)
		if epoch != seen {
			seen = epoch
			p.work(id, epoch)
			continue
		}
		if !p.spin(seen) {
			<-w.wake
		}
	}
}

// spin waits a short while for a new epoch.
func (p *Pool) spin(seen uint32) bool {
	for begin := time.Now(); time.Since(begin) < idleSpin; {
		for range 64 {
			if uint32(p.state.Load()>>32) != seen || p.closed.Load() {
				return true
			}
		}
	}
	return false
}

func (w *worker) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
