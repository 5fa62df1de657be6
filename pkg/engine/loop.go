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

// Run computes until ctx is done, then ends all sessions and returns nil. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	defer e.stop()
	idle := time.NewTicker(max(e.cfg.Idle/4, time.Millisecond))
	defer idle.Stop()
	wave := time.NewTimer(time.Hour)
	defer wave.Stop()
	var p pass
	for ctx.Err() == nil {
		select {
		case <-idle.C:
			e.expire()
		default:
		}
		ran := e.runTask()
		e.gather(ctx, wave)
		if e.take(&p) {
			e.compute(ctx, &p)
			e.finish(&p)
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
	e.forgetAll()
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

// compute runs a pass: what each job asks for, short of its output. It holds no lock: kv, in and out are the loop's now.
func (e *Engine) compute(ctx context.Context, p *pass) {
	p.steps, p.whose = p.steps[:0], p.whose[:0]
	for _, j := range p.jobs {
		k := j.kv
		// Rows beyond are those of a step that ran when its session was replaced, or what the truncate or resume forgets.
		if k.cache.Len() > int(k.rows) {
			if j.err = k.truncate(k.rows); j.err != nil {
				continue
			}
		}
		if !j.in.computes() {
			continue
		}
		in := layers.Input{Layers: j.s.layers, Tokens: j.in.tokens, Hidden: j.in.hidden, Logits: j.want(), Round: j.s.rounds, LocalEnds: j.s.localEnds}
		p.steps, p.whose = append(p.steps, layers.Step{Cache: k.cache, Input: in, Output: &j.forward}), append(p.whose, j)
	}
	p.begun, p.processing = e.cfg.Now(), 0
	for len(p.steps) > 0 {
		err := e.cfg.Model.ForwardBatch(p.steps)
		if err == nil {
			p.processing = p.whose[0].forward.Processing
			break
		}
		var bad *layers.StepError
		if !errors.As(err, &bad) {
			bad = &layers.StepError{Err: err}
		}
		p.drop(bad.Step, bad.Err)
	}
	if len(p.steps) == 0 {
		return
	}
	if e.cfg.StepCost != nil {
		cost := e.cfg.StepCost(p.rows)
		e.cfg.Sleep(ctx, cost)
		p.processing += cost
	}
	if e.cfg.Observer.Pass != nil {
		e.cfg.Observer.Pass(p.rows, p.processing)
	}
}

// finish gives each job its output, hands it on and lets the session run again. The first output is on its way while the next is made.
func (e *Engine) finish(p *pass) {
	p.computed = e.cfg.Now()
	e.mu.Lock()
	e.stats.pass(p)
	e.mu.Unlock()
	for _, j := range p.jobs {
		if j.err == nil {
			j.err = e.fill(p, j)
		}
		e.handOn(p, j)
	}
}

// fill makes a job's output.
func (e *Engine) fill(p *pass, j *job) error {
	switch {
	case j.in.kind == inputTruncate:
		j.out.setTruncate(j.s, j.in)
	case j.in.kind == inputResume:
		j.out.setResume(j.s, j.in)
	case j.in.pass:
		e.passOn(j)
	default:
		return e.encode(p, j)
	}
	return nil
}

// handOn delivers a job's output and lets its session run again.
func (e *Engine) handOn(p *pass, j *job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, k := j.s, j.kv
	s.running = false
	s.active = e.cfg.Now()
	if k.owner == s { // else it was closed, or another took the rows over, while the step ran
		k.computed()
		e.publish(k, false)
	}
	e.giveBack(k)
	step := j.in.step
	e.putInput(j.in)
	if s.ended {
		return
	}
	if j.err != nil {
		e.cfg.Log.Error("step", zap.Stringer("session", s.id), zap.Uint32("step", step), zap.Error(j.err))
		refusal := s.refuse(protocol.CodeInternal, "step %d: %v", step, j.err)
		if told := (*protocol.Error)(nil); errors.As(j.err, &told) {
			refusal = told
		}
		refusal.Step = step
		s.end(refusal)
		return
	}
	s.ready <- j.out // never blocks: as many places as outputs
	s.schedule()
}

// encode turns the pass's result into the job's output frame.
func (e *Engine) encode(p *pass, j *job) error {
	s, k, in := j.s, j.kv, j.in
	j.out.setRows(s, in)
	r := &j.out.result
	if !s.localEnds && len(k.history) == int(in.position) {
		k.history = append(k.history, in.tokens...)
	}
	switch {
	case s.draws():
		if err := e.appendLogits(j); err != nil {
			return err
		}
	case s.last():
		e.appendWanted(j)
	default:
		r.Hidden = protocol.AppendHidden(r.Hidden, j.forward.Hidden, s.out)
		k.kept.append(in.position, r.Hidden, e.freshBlock)
		if in.silent {
			r.Hidden = r.Hidden[:0]
		}
	}
	r.Digest = protocol.Digest(r)
	r.Hops = append(r.Hops, protocol.HopTiming{
		Layers: s.layers, Rows: uint32(len(in.tokens)),
		Processing: uint64(p.processing), Queue: uint64(max(p.begun.Sub(in.received)-in.decode, 0)), Decode: uint64(in.decode),
		Encode: uint64(e.cfg.Now().Sub(p.computed)), // that of the pass's jobs before included: their frames went first
	})
	if e.cfg.Observer.Step != nil {
		e.cfg.Observer.Step(&r.Hops[len(r.Hops)-1])
	}
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
