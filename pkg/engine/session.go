// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Session is one epoch of a generation at this node. A session that is opened again with a higher epoch is another
// Session, which takes the rows over; the old one then drops what it is given.
type Session struct {
	// Constant after construction.
	engine *Engine
	id     protocol.SessionID
	epoch  protocol.Epoch
	shape
	numerics string
	out      protocol.DType // of hidden states that go
	rounds   []uint32       // layer boundaries, those within layers among them, at which they are rounded
	sampling protocol.Sampling
	matcher  *grammar.Matcher // owned by the step loop; nil: no grammar
	deliver  func(protocol.Frame) error
	slots    chan struct{} // one token per input waiting; capacity Config.Queue
	ready    chan *output  // finished outputs, in order; never full
	done     chan struct{} // closed by end

	// Guarded by Engine.mu.
	order     order
	queue     []*input  // waiting, in order
	free      []*output // output slots not in use
	buffered  int64     // bytes of queue, ready and what lies between, in Engine.buffers
	kv        *kv       // nil once ended or taken over
	moving    *moving   // while rows are taken over from another node
	tenant    *tenant
	born      uint64    // rises with each session that is opened anew
	active    time.Time // last input or finished output
	wave      uint64    // the latest pass, if others decoded in it too; else 0
	scheduled bool      // in Engine.runnable
	running   bool      // a step of it is under way
	ended     bool
	replaced  bool            // by a session of a higher epoch
	cut       bool            // deliver failed: nothing is taken or computed any more, but the rows stay
	final     *protocol.Error // delivered last; nil: none
}

func newSession(e *Engine, o *protocol.Open, hop protocol.Hop, matcher *grammar.Matcher, deliver func(protocol.Frame) error) *Session {
	s := &Session{
		engine: e, id: o.Session, epoch: o.Epoch, numerics: o.Numerics, out: o.WireAt(hop.Layers.To), rounds: slices.Clone(o.Rounds),
		shape:    shapeOf(o, e.cfg.Model.Config().Hidden, e.cfg.Model.Config().Vocab, e.cfg.MaxRows),
		sampling: o.Request.Sampling, matcher: matcher, deliver: deliver,
		slots: make(chan struct{}, e.cfg.Queue), ready: make(chan *output, outputSlots), done: make(chan struct{}),
		queue: make([]*input, 0, e.cfg.Queue), free: make([]*output, 0, outputSlots), active: e.cfg.Now(),
	}
	s.sampling.Bias, s.sampling.Grammar = slices.Clone(s.sampling.Bias), nil // the frame's memory is used again
	for range outputSlots {
		s.free = append(s.free, new(output))
	}
	return s
}

// last says whether the hop has the model's last layer.
func (s *Session) last() bool { return s.layers.To == s.engine.cfg.Model.Config().NLayers }

// draws says whether the hop makes logits and tokens, and needs the rows' tokens for that.
func (s *Session) draws() bool { return s.last() && !s.localEnds }

// Submit hands the next input over: a *protocol.Step (a hop that embeds), *protocol.IntermediateResult (other hops),
// *protocol.Truncate or *protocol.Resume. It copies what it needs of f before it returns, and blocks while the session's queue is full.
// One goroutine at a time may call it. Frames of an older epoch and of steps already taken are dropped without an
// error. A refused frame returns a *protocol.Error and changes nothing; it is not delivered as well. A session that
// has ended returns CodeSessionNotFound or the error it ended with; one whose deliver failed, CodeUnreachable.
func (s *Session) Submit(ctx context.Context, f protocol.Frame) error {
	e := s.engine
	received := e.cfg.Now()
	select {
	case s.slots <- struct{}{}:
	case <-s.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	cost := s.cost(f)
	if err := s.charge(ctx, cost); err != nil {
		<-s.slots
		return err
	}
	in, err := s.accept(f, cost)
	if in == nil {
		return err
	}
	start := e.cfg.Now()
	if r, ok := f.(*protocol.IntermediateResult); ok {
		in.setHidden(r)
	}
	in.received, in.decode = received, e.cfg.Now().Sub(start)

	e.mu.Lock()
	defer e.mu.Unlock()
	if s.ended || s.cut {
		<-s.slots
		e.putInput(in)
		return s.overError()
	}
	s.active = e.cfg.Now()
	s.queue = append(s.queue, in)
	s.schedule()
	return nil
}

// accept checks f, for which memory was charged, and takes an input for it; no input: dropped or refused, and slot and memory are free again.
func (s *Session) accept(f protocol.Frame, cost int64) (*input, error) {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.ended {
		return nil, s.overError()
	}
	before := s.order
	v, err := s.check(&s.order, f)
	if err == nil && v == accept && s.cut {
		err = s.cutError()
	}
	if err == nil && v == accept {
		in := e.takeInput()
		in.set(f, &s.order)
		in.cost = cost
		return in, nil
	}
	s.order = before
	s.discharge(cost)
	<-s.slots
	switch {
	case err != nil:
		e.stats.refusals[err.Code]++
		return nil, s.complete(err)
	case v == stale:
		e.stats.stale++
	case v == duplicate:
		e.stats.duplicates++
	}
	return nil, nil
}

// overError is what Submit returns when nothing is taken any more. Engine.mu is held.
func (s *Session) overError() error {
	switch {
	case !s.ended:
		return s.cutError()
	case s.replaced:
		s.engine.stats.stale++
		return nil
	case s.final != nil:
		return s.final
	}
	return s.refuse(protocol.CodeSessionNotFound, "the session has ended: open a new one")
}

func (s *Session) cutError() *protocol.Error {
	return s.refuse(protocol.CodeUnreachable, "the session's output has nowhere to go: open it with a higher epoch along another route")
}

// Close ends the session and frees its KV memory, right after the step that uses it if one is under way. What was not
// delivered yet is dropped. It does not wait; closing twice, or a session that was replaced, does nothing.
func (s *Session) Close() {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.end(nil)
}

// Done is closed when the session has ended, for whatever reason.
func (s *Session) Done() <-chan struct{} { return s.done }

// end is the one way out of a session. Engine.mu is held.
func (s *Session) end(final *protocol.Error) {
	if s.ended {
		return
	}
	e := s.engine
	s.ended, s.final = true, final
	close(s.done)
	delete(e.sessions, s.id)
	e.leave(s.tenant)
	if len(e.sessions) == 0 {
		close(e.emptied)
		e.emptied = make(chan struct{})
	}
	for _, in := range s.queue {
		e.putInput(in)
	}
	s.queue = s.queue[:0]
	s.discharge(s.buffered)
	s.moving = nil
	if k := s.kv; k != nil {
		s.kv, k.owner = nil, nil
		if !k.lent { // else the step loop frees it
			e.release(k)
		}
	}
}

// schedule makes the session the last of the runnable ones if it has an input and a free output slot: the step loop
// then never waits for the network. Engine.mu is held.
func (s *Session) schedule() {
	if s.scheduled || s.running || s.ended || s.cut || len(s.queue) == 0 || len(s.free) == 0 {
		return
	}
	s.scheduled = true
	s.engine.runnable = append(s.engine.runnable, s)
	s.engine.notify()
}

// deliverLoop hands outputs over until the session ends; of a session that the engine ended, also those left, and at
// last the reason.
func (s *Session) deliverLoop() {
	for {
		select {
		case out := <-s.ready:
			if !s.deliverOne(out) {
				return
			}
			continue
		case <-s.done:
		}
		select {
		case out := <-s.ready: // finished before the end
			if !s.deliverOne(out) {
				return
			}
		default:
			if final := s.finalError(); final != nil {
				_ = s.deliver(final) // nobody is left to tell
			}
			return
		}
	}
}

// deliverOne delivers an output and frees its slot. It reports whether there is more to deliver.
func (s *Session) deliverOne(out *output) bool {
	e := s.engine
	e.mu.Lock()
	closed, cut := s.ended && s.final == nil, s.cut
	e.mu.Unlock()
	if closed || cut {
		return !closed
	}
	err := s.deliver(out.frame)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		s.cutOff(err)
	}
	s.active = e.cfg.Now()
	s.discharge(out.cost)
	out.shrink()
	s.free = append(s.free, out)
	s.schedule()
	return true
}

// cutOff stops a session whose output has nowhere to go, as when the next hop was lost. Its rows wait for a higher
// epoch, until the session is closed or expires. Engine.mu is held.
func (s *Session) cutOff(err error) {
	if s.ended {
		return
	}
	s.engine.cfg.Log.Info("session cut off: its output was not taken", zap.Stringer("session", s.id), zap.Error(err))
	s.cut = true
	for _, in := range s.queue {
		<-s.slots
		s.engine.putInput(in)
	}
	s.queue = s.queue[:0]
	s.discharge(s.buffered)
}

func (s *Session) finalError() *protocol.Error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	return s.final
}

// refuse returns an error of this session and node.
func (s *Session) refuse(code protocol.Code, format string, args ...any) *protocol.Error {
	return s.complete(protocol.Errorf(code, format, args...))
}

// complete says who speaks.
func (s *Session) complete(err *protocol.Error) *protocol.Error {
	err.Session, err.Epoch, err.Layers, err.Peer = s.id, s.epoch, s.layers, s.engine.cfg.Peer
	return err
}
