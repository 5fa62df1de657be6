// SPDX-License-Identifier: MIT

// Package engine is the node side of a generation: it admits sessions, takes their inputs in order, and runs the one
// step loop that owns every KV cache and calls the model. It does no network I/O and knows no libp2p: inputs come
// through [Session.Submit], outputs leave through the function given to [Engine.Open]. Package p2p's streams are joined
// to it by internal/node. All exported methods are safe for concurrent use; compute happens only in [Engine.Run].
package engine

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// Engine holds the sessions of one loaded model.
type Engine struct {
	// Constant after construction.
	cfg  Config
	wake chan struct{} // capacity 1; a token means: look at runnable

	pageBytes int64 // of a page

	// Owned by Run.
	sampler *sampler.Sampler

	deliverers sync.WaitGroup // one per session that has not ended

	mu       sync.Mutex // guards everything below, and the fields of sessions that say so
	sessions map[protocol.SessionID]*Session
	runnable []*Session // in the order in which they joined; see [Session.schedule]
	inputs   []*input   // free list, so that a step allocates nothing
	tasks    []*task    // waiting for the step loop, in order
	tenants  map[string]*tenant
	turns    uint64 // counts chunks of prompts
	waves    uint64 // counts passes
	kvUsed   int64  // bytes of pages. Invariant: 0 ≤ kvUsed ≤ cfg.KVBudget
	opened   uint64 // counts sessions
	prefixes prefixes
	buffers  buffers
	keptUsed int64 // bytes of outputs kept. Invariant: 0 ≤ keptUsed ≤ cfg.ReplayBudget
	draining bool
	emptied  chan struct{} // closed and replaced when the last session ends
	stopped  bool          // Run has returned or is about to
	stats    counters
}

// New returns an engine without sessions. Call Run to make it work.
func New(cfg Config) (*Engine, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.populate()
	return &Engine{
		cfg:       cfg,
		wake:      make(chan struct{}, 1),
		pageBytes: cfg.Model.PageBytes(),
		prefixes:  newPrefixes(),
		sessions:  make(map[protocol.SessionID]*Session),
		tenants:   make(map[string]*tenant),
		emptied:   make(chan struct{}),
		sampler:   sampler.New(cfg.Model.Config().Vocab),
		stats:     counters{refusals: make(map[protocol.Code]uint64)},
	}, nil
}

// Drain makes the engine refuse new sessions; those that are open go on, and may be opened again with a higher epoch. It cannot
// be undone.
func (e *Engine) Drain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.draining = true
}

// Drained returns when no session is open, or with ctx's error.
func (e *Engine) Drained(ctx context.Context) error {
	for {
		e.mu.Lock()
		open, emptied := len(e.sessions), e.emptied
		e.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-emptied:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// notify tells Run that a session may be runnable.
func (e *Engine) notify() {
	select {
	case e.wake <- struct{}{}:
	default: // Run already has a reason to look
	}
}

// takeInput returns an input from the free list or a new one. e.mu is held.
func (e *Engine) takeInput() *input {
	if n := len(e.inputs); n > 0 {
		in := e.inputs[n-1]
		e.inputs = e.inputs[:n-1]
		return in
	}
	return new(input)
}

// putInput returns an input to the free list. e.mu is held.
func (e *Engine) putInput(in *input) {
	if len(e.inputs) < maxFreeInputs && cap(in.hidden) <= maxFreeHidden {
		e.inputs = append(e.inputs, in)
	}
}

// expire ends sessions that nothing was heard of for too long. A session whose output the network does not take is
// idle too: its input waits for ever.
func (e *Engine) expire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.cfg.Now()
	for _, s := range e.sessions {
		if s.running || s.scheduled || now.Sub(s.active) < e.cfg.Idle {
			continue
		}
		e.stats.expired++
		e.cfg.Log.Info("session expired", zap.Stringer("session", s.id), zap.Duration("idle", now.Sub(s.active)))
		s.end(s.refuse(protocol.CodeSessionNotFound, "nothing was heard of the session for %s, its KV memory is freed: open it again", e.cfg.Idle.Round(time.Second)))
	}
}
