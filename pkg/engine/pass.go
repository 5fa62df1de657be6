// SPDX-License-Identifier: MIT

package engine

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// decodeRows is how many rows an input may have to count as decoding: a token, or one with a few guesses behind it. More is a chunk
// of a prompt.
const decodeRows = 8

// job is one input of one session on its way through the model.
type job struct {
	s   *Session
	kv  *kv
	in  *input
	out *output

	wanted  []uint32      // rows of in whose logits the model gives
	forward layers.Output // valid until the next pass
	err     error
}

// pass is what one pass through the model computes: an input of each session that has one, as far as they go together. It belongs to
// the step loop.
type pass struct {
	jobs   []*job              // under way
	spare  []*job              // of earlier passes, to be used again
	layers protocol.LayerRange // that the rows computed go through
	rows   int                 // computed
	chunks int                 // of prompts
	logits int                 // rows of logits

	steps []layers.Step // what the model is given
	whose []*job        // [steps]

	begun      time.Time
	computed   time.Time
	processing time.Duration // of all jobs: each waits for the whole pass
}

// reset makes p empty.
func (p *pass) reset() {
	for _, j := range p.jobs {
		*j = job{wanted: j.wanted[:0]}
	}
	p.spare = append(p.spare, p.jobs...)
	p.jobs = p.jobs[:0]
	p.rows, p.chunks, p.logits = 0, 0, 0
}

// add makes a job of s.
func (p *pass) add(s *Session) *job {
	var j *job
	if n := len(p.spare); n > 0 {
		j, p.spare = p.spare[n-1], p.spare[:n-1]
	} else {
		j = new(job)
	}
	p.jobs = append(p.jobs, j)
	j.s = s
	return j
}

// fits reports whether an input of s goes along in p: its rows pass the same layers as the others', there is room for them, and there is
// one chunk of a prompt at the most, so that decoding never waits longer than for that.
func (p *pass) fits(s *Session, in *input) bool {
	if !in.computes() || p.rows == 0 {
		return true
	}
	cfg := &s.engine.cfg
	switch logits := in.logitRows(); {
	case p.layers != s.layers, p.rows+len(in.tokens) > cfg.MaxRows:
		return false
	case in.chunk() && p.chunks > 0:
		return false
	default:
		return logits == 0 || int64(p.logits+logits)*int64(cfg.Model.Config().Vocab)*4 <= protocol.MaxTensor
	}
}

// count notes a job that fits.
func (p *pass) count(j *job) {
	if !j.in.computes() {
		return
	}
	p.layers = j.s.layers
	p.rows += len(j.in.tokens)
	p.logits += j.in.logitRows()
	if j.in.chunk() {
		p.chunks++
	}
}

// computes reports whether the model is needed.
func (in *input) computes() bool { return in.kind == inputRows && !in.pass }

// chunk reports whether the input is a part of a prompt.
func (in *input) chunk() bool { return len(in.tokens) > decodeRows }

// logitRows is how many rows of logits the model is asked for, at the most.
func (in *input) logitRows() int {
	if in.sample {
		return len(in.logits) + 1
	}
	return len(in.logits)
}

// take fills p with the next inputs of the sessions that are runnable, in turn. Those that do not fit stay, before those that come.
func (e *Engine) take(p *pass) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.reset()
	chunk := e.nextChunk()
	left := e.runnable[:0]
	for _, s := range e.runnable {
		if s.ended || s.cut {
			s.scheduled = false
			continue
		}
		in := s.queue[0]
		if in.computes() && in.chunk() && s != chunk || !p.fits(s, in) || in.computes() && !e.hold(s.kv, int(in.position), int(in.position)+len(in.tokens)) {
			if s.scheduled = !s.ended; s.scheduled {
				left = append(left, s)
			}
			continue
		}
		s.scheduled, s.running = false, true
		j := p.add(s)
		j.kv, j.in, j.out = s.kv, in, s.free[len(s.free)-1]
		s.queue = slices.Delete(s.queue, 0, 1)
		s.free = s.free[:len(s.free)-1]
		j.out.cost = in.cost
		j.kv.lent = true
		<-s.slots
		if in.kind != inputRows {
			j.kv.keep(in.keep)
		}
		p.count(j)
	}
	clear(e.runnable[len(left):])
	e.runnable = left
	e.ride(p)
	return len(p.jobs) > 0
}

// drop leaves a job out that cannot be computed.
func (p *pass) drop(step int, err error) {
	p.whose[step].err = err
	p.rows -= len(p.whose[step].in.tokens)
	p.whose = slices.Delete(p.whose, step, step+1)
	p.steps = slices.Delete(p.steps, step, step+1)
}

// nextChunk returns the session whose chunk of a prompt is the next to be computed: of whoever had the last one longest ago, the first.
// Who opens many sessions gets no more of a node than who opens one. e.mu is held.
func (e *Engine) nextChunk() *Session {
	var next *Session
	for _, s := range e.runnable {
		if s.ended || s.cut || !s.queue[0].computes() || !s.queue[0].chunk() {
			continue
		}
		if next == nil || s.tenant.turn < next.tenant.turn {
			next = s
		}
	}
	if next != nil {
		e.turns++
		next.tenant.turn = e.turns
	}
	return next
}
