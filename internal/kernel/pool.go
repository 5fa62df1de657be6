// SPDX-License-Identifier: MIT

package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// spins is how often a thread looks, with a pause between, for what is about to happen: for some 30 µs, longer than the serial gaps
	// within a decode step. Then a worker without a job parks, and a thread that waits for others lets the operating system run them.
	spins = 1000
	// goYields is every how many of these times it is another goroutine that may run, where there are fewer Ps than threads. Oftener
	// would do harm: it wakes an idle P, whose thread takes the processor from the one that is waited for.
	goYields = 256
)

// Pool shares the items of a job among a fixed number of threads. Each thread claims one item at a time, the caller's too, so
// that a thread the operating system has put aside delays a job by one item at most; where that happens much, fewer threads take part
// for a while. Jobs of concurrent callers run one after the other. docs/adr/006 has the reasons.
type Pool struct {
	threads  int
	path     path
	ops      *ops                // nil where the path has none
	ahead    int                 // how many bytes before their use packed weights are fetched; 0: left to the processor
	product  func(worker, i int) // matMulPiece, bound once so that a product allocates nothing
	quantize func(worker, i int)
	workers  []*worker // [threads-1], numbered from 1
	running  sync.WaitGroup

	// A job. f and n are written while left is 0, and read only by a thread that has claimed an item by lowering left: the
	// caller returns, and may write again, when pending says that all claimed items are done.
	f       func(worker, i int)
	n       int64
	began   atomic.Int64 // when: tells jobs apart
	left    atomic.Int64 // items not yet claimed
	pending atomic.Int64 // items not yet done
	waiting atomic.Int64 // since when a thread that did its part waits for the others; 0: none does, or not for long
	closed  atomic.Bool

	mu   sync.Mutex                      // held for the length of a job
	crew crew                            // guarded by mu, but for its size
	job  matMulJob                       // guarded by mu
	out  [][tileRows * panelRows]float32 // [threads] results of a tile, each its worker's
}

// worker is a thread of a pool other than the caller's.
type worker struct {
	pool   *Pool
	number int
	wake   chan struct{} // capacity 1: a token for a worker that is parked
	parked atomic.Bool
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
	p := &Pool{threads: threads, path: which, ops: opsOf(which), ahead: fetchAhead(), out: make([][tileRows * panelRows]float32, threads)}
	p.product, p.quantize = p.matMulPiece, p.quantizePiece
	p.crew.init(threads)
	for n := 1; n < threads; n++ {
		w := &worker{pool: p, number: n, wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		p.running.Go(w.run)
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
		for _, w := range p.workers {
			w.rouse()
		}
		p.running.Wait()
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
	began := now()
	p.f, p.n = f, int64(n)
	p.began.Store(int64(began))
	p.waiting.Store(0)
	p.pending.Store(int64(n))
	p.left.Store(int64(n))
	for _, w := range p.workers[:min(p.crew.size(), n)-1] {
		w.rouse()
	}
	done := false
	for p.claim(0) != 0 {
		done = true
	}
	for spin := 1; p.pending.Load() != 0; spin++ {
		p.wait(spin, done)
	}
	p.f = nil
	p.crew.account(began, time.Duration(p.waiting.Load()), now())
}

// claim does one item of the job, if there is one left, and returns which job: when it began, 0 if there is none.
func (p *Pool) claim(worker int) (job int64) {
	for {
		left := p.left.Load()
		if left == 0 {
			return 0
		}
		if p.left.CompareAndSwap(left, left-1) {
			job = p.began.Load()
			p.f(worker, int(p.n-left))
			p.pending.Add(-1)
			return job
		}
	}
}

// wait lets a moment pass before a thread looks again whether the others are done. When that takes long it notes since when, if it did
// a part of the job itself, and lets the operating system run whoever waits for this processor: the thread waited for, with luck.
//
//go:noinline
func (p *Pool) wait(spin int, done bool) {
	if spin < spins {
		pause()
		return
	}
	if done && p.waiting.Load() == 0 && p.left.Load() == 0 {
		p.waiting.CompareAndSwap(0, int64(now()))
	}
	if spin%goYields == 0 {
		runtime.Gosched()
	} else {
		yield()
	}
}

// rouse wakes a worker that is parked. A worker calls itself parked before its last look for work: either it sees the work, or it is
// seen here.
func (w *worker) rouse() {
	if w.parked.Load() && w.parked.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// run takes part in jobs until the pool is closed.
func (w *worker) run() {
	p := w.pool
	for !p.closed.Load() {
		w.help()
		w.parked.Store(true)
		if (p.closed.Load() || w.wanted()) && w.parked.CompareAndSwap(true, false) {
			continue
		}
		<-w.wake
	}
}

// wanted reports whether there is an item for the worker.
func (w *worker) wanted() bool { return w.pool.left.Load() != 0 && w.number < w.pool.crew.size() }

// help does items until none has come for a while.
func (w *worker) help() {
	p, last := w.pool, int64(0) // the last job it took part in
	for spin := 1; spin < spins || p.pending.Load() != 0 && w.number < p.crew.size(); spin++ {
		if !w.wanted() {
			p.wait(spin, last == p.began.Load())
			continue
		}
		for w.wanted() {
			if job := p.claim(w.number); job != 0 {
				last = job
			}
		}
		spin = 0
	}
}
