// SPDX-License-Identifier: MIT

package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// An idle worker looks for work tightSpins times in a row, then yields between looks, and parks after spins looks. A yield takes
// about 0.2 µs, so a worker waits some 20 µs: longer than the serial gaps within a decode step, short enough to be no load.
const (
	tightSpins = 300
	spins      = tightSpins + 100
)

// Pool shares the items of a job among a fixed number of threads. Each thread claims one item at a time, the caller's too, so
// that a thread the operating system has put aside delays a job by one item at most. Jobs of concurrent callers
// run one after the other.
type Pool struct {
	threads  int
	path     path
	ops      *ops                // nil where the path has none
	product  func(worker, i int) // matMulPiece, bound once so that a product allocates nothing
	quantize func(worker, i int)
	wake     chan struct{} // a token wakes one parked worker; closed by Close
	workers  sync.WaitGroup

	// A job. f and n are written while left is 0, and read only by a thread that has claimed an item by lowering left: the
	// caller returns, and may write again, when pending says that all claimed items are done.
	f       func(worker, i int)
	n       int64
	left    atomic.Int64 // items not yet claimed
	pending atomic.Int64 // items not yet done
	parked  atomic.Int64 // workers that wait for a token, or are about to
	closed  atomic.Bool

	mu  sync.Mutex                      // held for the length of a job
	job matMulJob                       // guarded by mu
	out [][tileRows * panelRows]float32 // [threads] results of a tile, each its worker's
}

// NewPool returns a pool of that many threads, at least one. The caller of a job is one of them, the others are started here.
func NewPool(threads int) *Pool {
	if errPath != nil {
		panic(errPath)
	}
	return newPool(threads, active)
}

func newPool(threads int, which path) *Pool {
	threads = max(threads, 1)
	p := &Pool{threads: threads, path: which, ops: opsOf(which), out: make([][tileRows * panelRows]float32, threads), wake: make(chan struct{}, threads)}
	p.product, p.quantize = p.matMulPiece, p.quantizePiece
	for w := 1; w < threads; w++ {
		p.workers.Go(func() { p.work(w) })
	}
	return p
}

// Threads returns the number of threads; worker numbers are below it.
func (p *Pool) Threads() int { return p.threads }

// Run calls f(worker, i) once for each i from 0 to n-1, in no certain order, and returns when all calls have. Calls with the same
// worker do not overlap. f must not use the pool. Run itself allocates nothing.
func (p *Pool) Run(n int, f func(worker, i int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run(n, f)
}

// Close ends the workers. A pool that is used after Close computes on its caller's thread alone.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed.Swap(true) {
		close(p.wake)
		p.workers.Wait()
	}
}

// run is Run with mu held.
func (p *Pool) run(n int, f func(worker, i int)) {
	if p.threads == 1 || n <= 1 || p.closed.Load() {
		for i := range n {
			f(0, i)
		}
		return
	}
	p.f, p.n = f, int64(n)
	p.pending.Store(int64(n))
	p.left.Store(int64(n))
	// A worker counts itself parked before its last look at left: either it sees the items, or it is seen here.
	for range min(p.parked.Load(), int64(n-1)) {
		select {
		case p.wake <- struct{}{}:
		default: // there are tokens for all workers already
		}
	}
	for p.claim(0) {
	}
	for spin := 0; p.pending.Load() != 0; spin++ {
		if spin >= tightSpins {
			runtime.Gosched()
		}
	}
	p.f = nil
}

// claim does one item of the job, if there is one left.
func (p *Pool) claim(worker int) bool {
	for {
		left := p.left.Load()
		if left == 0 {
			return false
		}
		if p.left.CompareAndSwap(left, left-1) {
			p.f(worker, int(p.n-left))
			p.pending.Add(-1)
			return true
		}
	}
}

func (p *Pool) work(worker int) {
	for !p.closed.Load() {
		for spin := 0; spin < spins; spin++ {
			if p.claim(worker) {
				spin = 0
			} else if spin >= tightSpins {
				runtime.Gosched()
			}
		}
		p.parked.Add(1)
		if p.left.Load() == 0 {
			<-p.wake
		}
		p.parked.Add(-1)
	}
}
