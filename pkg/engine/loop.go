// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// job is one input of one session on its way through the model. The loop has one at a time today; rows of several
// sessions in one pass are several jobs taken, computed and finished together.
type job struct {
	s   *Session
	kv  *kv
	in  *input
	out *output

	processing time.Duration
	encode     time.Duration
}

// Run computes until ctx is done, then ends all sessions and returns nil. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	defer e.stop()
	idle := time.NewTicker(max(e.cfg.Idle/4, time.Millisecond))
	defer idle.Stop()
	var j job
	for ctx.Err() == nil {
		select {
		case <-idle.C:
			e.expire()
		default:
		}
		ran := e.runTask()
		if e.take(&j) {
			err := e.compute(ctx, &j)
			e.finish(&j, err)
			continue
		}
		if ran {
			continue
		}
		select { // nothing to compute: wait for something to happen
		case <-e.wake:
		case <-idle.C:
			e.expire()
		case <-ctx.Done():
		}
	}
	return nil
}

// stop ends all sessions and waits a little for deliver calls under way.
func (e *Engine) stop() {
	e.mu.Lock()
	e.stopped = true
	for _, s := range e.sessions {
		s.end(s.refuse(protocol.CodeDraining, "the node stops: choose another"))
	}
	e.dropTasks()
	e.mu.Unlock()
	delivered := make(chan struct{})
	go func() {
		e.deliverers.Wait()
		close(delivered)
	}()
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-delivered:
	case <-grace.C:
		e.cfg.Log.Warn("outputs were still being delivered when the engine stopped")
	}
}

// take fills j with the next input of the session whose turn it is.
func (e *Engine) take(j *job) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.runnable) > 0 {
		s := e.runnable[0]
		n := copy(e.runnable, e.runnable[1:])
		e.runnable[n] = nil
		e.runnable = e.runnable[:n]
		s.scheduled = false
		if s.ended || s.cut {
			continue
		}
		*j = job{s: s, kv: s.kv, in: s.queue[0], out: s.free[len(s.free)-1], encode: j.encode}
		s.queue = s.queue[:copy(s.queue, s.queue[1:])]
		s.free = s.free[:len(s.free)-1]
		j.out.cost = j.in.cost
		s.running = true
		e.lent = j.kv
		<-s.slots
		if j.in.kind != inputRows {
			j.kv.keep(j.in.keep)
		}
		return true
	}
	return false
}

// finish hands a job's output on and lets its session run again.
func (e *Engine) finish(j *job, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, k := j.s, j.kv
	s.running = false
	s.active = e.cfg.Now()
	if k.owner == s { // else it was closed, or another took the rows over, while the step ran
		k.computed()
	}
	e.giveBack(k)
	if j.in.kind == inputRows && !j.in.pass && err == nil {
		e.stats.step(len(j.in.tokens), j.processing)
	}
	if s.ended {
		e.putInput(j.in)
		return
	}
	if err != nil {
		e.cfg.Log.Error("step", zap.Stringer("session", s.id), zap.Uint32("step", j.in.step), zap.Error(err))
		refusal := s.refuse(protocol.CodeInternal, "step %d: %v", j.in.step, err)
		if told := (*protocol.Error)(nil); errors.As(err, &told) {
			refusal = told
		}
		refusal.Step = j.in.step
		e.putInput(j.in)
		s.end(refusal)
		return
	}
	e.putInput(j.in)
	s.ready <- j.out // never blocks: as many places as outputs
	s.schedule()
}

// compute runs a job and fills its output. It holds no lock: kv, in and out are the loop's now.
func (e *Engine) compute(ctx context.Context, j *job) error {
	k, in := j.kv, j.in
	// Rows beyond are those of a step that ran when its session was replaced, or what the truncate or resume forgets.
	if k.cache.Len() > int(k.rows) {
		if err := k.truncate(k.rows); err != nil {
			return err
		}
	}
	switch {
	case in.kind == inputTruncate:
		j.out.setTruncate(j.s, in)
		return nil
	case in.kind == inputResume:
		j.out.setResume(j.s, in)
		return nil
	case in.pass:
		e.passOn(j)
		return nil
	}
	begin := e.cfg.Now()
	err := e.cfg.Model.Forward(k.cache, layers.Input{
		Layers: j.s.layers, Tokens: in.tokens, Hidden: in.hidden, Logits: e.want(in), Round: j.s.rounds,
	}, &e.forward)
	if err != nil {
		return err
	}
	j.processing = e.forward.Processing
	if e.cfg.StepCost != nil {
		cost := e.cfg.StepCost(len(in.tokens))
		e.cfg.Sleep(ctx, cost)
		j.processing += cost
	}
	return e.encode(j, max(begin.Sub(in.received)-in.decode, 0))
}

// encode turns the pass's result into the job's output frame.
func (e *Engine) encode(j *job, queue time.Duration) error {
	begin, before := e.cfg.Now(), j.encode
	s, k, in := j.s, j.kv, j.in
	j.out.setRows(s, in)
	r := &j.out.result
	if s.last() {
		k.history = append(k.history, in.tokens...)
		if err := e.appendLogits(j); err != nil {
			return err
		}
	} else {
		r.Hidden = protocol.AppendHidden(r.Hidden, e.forward.Hidden, s.out)
		k.kept.append(in.position, r.Hidden, e.reserveKept)
		if in.silent {
			r.Hidden = r.Hidden[:0]
		}
	}
	r.Digest = protocol.Digest(r)
	r.Hops = append(r.Hops, protocol.HopTiming{
		Layers: s.layers, Rows: uint32(len(in.tokens)),
		Processing: uint64(j.processing), Queue: uint64(queue), Decode: uint64(in.decode), Encode: uint64(before),
	})
	j.encode = e.cfg.Now().Sub(begin)
	return nil
}

// passOn sends rows that were computed before on: their outputs if the next hop lacks them, else only their tokens.
func (e *Engine) passOn(j *job) {
	s, in := j.s, j.in
	j.out.setRows(s, in)
	r := &j.out.result
	if !s.last() && !in.silent {
		r.Hidden = j.kv.kept.read(r.Hidden, in.position, len(in.tokens))
	}
	r.Digest = protocol.Digest(r)
	r.Hops = append(r.Hops, protocol.HopTiming{Layers: s.layers})
}

// reserveKept takes memory for outputs from their budget.
func (e *Engine) reserveKept(bytes int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if bytes > e.cfg.ReplayBudget-e.keptUsed {
		return false
	}
	e.keptUsed += bytes
	return true
}
