// SPDX-License-Identifier: MIT

package engine

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// simNode is a shard node: the engine's own rules (order, shape, kvKind, kept, input) around the toy model, and what package p2p does with
// streams and links.
type simNode struct {
	w      *simWorld
	peer   string
	layers protocol.LayerRange
	step   time.Duration // compute of a row
	replay int64         // budget of outputs, bytes
	slots  int           // sessions at the most

	life     *simLife // nil: down
	draining bool
}

// simLife is one run of a node's process.
type simLife struct {
	n        *simNode
	ended    bool
	sleeping bool
	sessions map[protocol.SessionID]*simSession
	ends     []*simEnd
	kept     int64 // bytes
	jobs     []*simJob
	busy     bool
}

func (l *simLife) peerID() string { return l.n.peer }
func (l *simLife) up() bool       { return !l.ended }
func (l *simLife) frozen() bool   { return l.sleeping }

// simKV is what has been computed for a session; see kv.
type simKV struct {
	kind          kvKind
	limit         uint32
	cache         toyCache
	history       []protocol.TokenID
	kept          *kept
	rows, outputs uint32
	owner         *simSession
}

func (k *simKV) truncate(n uint32) {
	k.cache.sums = k.cache.sums[:n]
	k.history = k.history[:min(int(n), len(k.history))]
	if k.kept != nil {
		k.kept.truncate(n)
	}
}

// simSession is one epoch of a session; see Session.
type simSession struct {
	shape
	id       protocol.SessionID
	epoch    protocol.Epoch
	order    order
	out      protocol.DType
	rounds   []uint32
	last     bool
	seed     uint64
	kv       *simKV
	ended    bool
	replaced bool
	deliver  func(protocol.Frame)
}

// simJob is an input of a session on its way through the step loop.
type simJob struct {
	s  *simSession
	in *input
}

// open is Engine.Open.
func (l *simLife) open(o *protocol.Open, deliver func(protocol.Frame)) (*simSession, *protocol.Opened, *protocol.Error) {
	hop := o.Route[o.Index]
	refuse := func(code protocol.Code, why string) *protocol.Error {
		err := protocol.Errorf(code, "%s", why)
		err.Session, err.Epoch, err.Peer, err.Layers = o.Session, o.Epoch, l.n.peer, hop.Layers
		return err
	}
	if !l.n.layers.Contains(hop.Layers) {
		return nil, nil, refuse(protocol.CodeWrongLayers, "not these layers")
	}
	old := l.sessions[o.Session]
	s := &simSession{
		shape: shapeOf(o, toyHidden, toyVocab, 64), id: o.Session, epoch: o.Epoch, out: o.WireAt(hop.Layers.To), rounds: o.Rounds,
		last: int(o.Index) == len(o.Route)-1, seed: o.Request.Sampling.Seed, deliver: deliver,
	}
	kind := kindOf(o)
	var rows, outputs uint32
	switch {
	case old == nil && l.n.draining:
		return nil, nil, refuse(protocol.CodeDraining, "leaving")
	case old == nil && len(l.sessions) >= l.n.slots:
		return nil, nil, refuse(protocol.CodeBusy, "no slot")
	case old != nil:
		if err := old.order.newer(o.Epoch); err != nil {
			return nil, nil, refuse(err.Code, err.Message)
		}
		if k := old.kv; k != nil && k.kind.equal(&kind) && k.limit >= o.Positions {
			s.kv, old.kv = k, nil
			k.rows, k.outputs = min(k.rows, o.Positions), min(k.outputs, o.Positions)
			rows, outputs = k.rows, k.outputs
		}
		old.replaced = true
		l.end(old)
	}
	if s.kv == nil {
		s.kv = &simKV{kind: kind, limit: o.Positions, cache: toyCache{layers: hop.Layers}}
		if !s.last {
			s.kv.kept = newKept(toyHidden * s.out.Size())
			s.kv.kept.block = 1 + l.n.w.rng.IntN(int(o.Positions)) // so that budgets of a few rows mean something
		}
		if len(o.Prefix) > 0 && l.n.w.rng.IntN(3) == 0 {
			l.remember(s.kv, o, s.out)
			rows, outputs = s.kv.rows, s.kv.outputs
		}
	}
	s.kv.owner = s
	s.order = newOrder(o, rows, outputs)
	l.sessions[o.Session] = s
	return s, &protocol.Opened{Session: s.id, Epoch: s.epoch, KVBytes: 1, CachedTo: rows, KeptTo: outputs}, nil
}

// remember gives a fresh k some rows of the session's prefix, and the outputs of some of those, as if they were known of another session.
func (l *simLife) remember(k *simKV, o *protocol.Open, out protocol.DType) {
	rng, rounds := l.n.w.rng, o.Rounds
	before := toyCache{layers: protocol.LayerRange{To: k.cache.layers.From}}
	known := o.Prefix[:rng.IntN(len(o.Prefix)+1)]
	outputs := rng.IntN(len(known) + 1)
	for i, t := range known {
		x := toyEmbed(t)
		if n := before.layers.To; n > 0 {
			x = before.forward(x, rounds)
			if slices.Contains(rounds, uint32(n)) {
				x = toyRound(x)
			}
		}
		x = k.cache.forward(x, rounds)
		if k.kept == nil {
			k.history = append(k.history, t)
		} else if i < outputs {
			k.kept.append(uint32(i), toyEncode(nil, x, out), l.freshBlock)
		}
	}
	k.rows = uint32(len(known))
	if k.kept != nil {
		k.outputs = k.kept.rows
	}
}

// freshBlock is Engine.freshBlock.
func (l *simLife) freshBlock(n int, _ *block) *block {
	if l.kept+int64(n) > l.n.replay {
		return nil
	}
	l.kept += int64(n)
	return &block{bytes: make([]byte, n), refs: 1}
}

// end is Session.end.
func (l *simLife) end(s *simSession) {
	if s.ended {
		return
	}
	s.ended = true
	delete(l.sessions, s.id)
	l.jobs = slices.DeleteFunc(l.jobs, func(j *simJob) bool { return j.s == s })
	if k := s.kv; k != nil {
		s.kv, k.owner = nil, nil
		if k.kept != nil {
			l.kept -= int64(len(k.kept.blocks) * k.kept.block * k.kept.width)
			k.kept = nil
		}
	}
}

// submit is Session.Submit, without the back pressure.
func (l *simLife) submit(s *simSession, f protocol.Frame) *protocol.Error {
	if s.ended {
		return nil
	}
	before := s.order
	v, err := s.check(&s.order, f)
	if err != nil || v != accept {
		s.order = before
		if err != nil && l.n.w.chaos == (simChaos{}) {
			l.n.w.wrong("%s refuses a %T though frames come as they were sent: %v", l.n.peer, f, err)
		}
		switch v {
		case stale:
			l.n.w.stale++
		case duplicate:
			l.n.w.duplicates++
		}
		return err
	}
	in := new(input)
	in.set(f, &s.order)
	if r, ok := f.(*protocol.IntermediateResult); ok {
		size := toyHidden * r.DType.Size()
		for i := 0; i < len(r.Hidden); i += size {
			// Where the real input has float32s, this has the bits of a row in two of them.
			x := toyDecode(r.Hidden[i:], r.DType)
			in.hidden = append(in.hidden, bitsOf(uint32(x)), bitsOf(uint32(x>>32)))
		}
	}
	l.jobs = append(l.jobs, &simJob{s, in})
	l.next()
	return nil
}

// next is the step loop: one job at a time.
func (l *simLife) next() {
	if l.busy || len(l.jobs) == 0 {
		return
	}
	j := l.jobs[0]
	l.jobs = l.jobs[1:]
	l.busy = true
	k := j.s.kv
	if j.in.kind != inputRows {
		k.rows, k.outputs = min(k.rows, j.in.keep), min(k.outputs, j.in.keep)
	}
	if len(k.cache.sums) > int(k.rows) {
		k.truncate(k.rows)
	}
	frame := l.compute(j, k)
	cost := 50 * time.Microsecond
	if j.in.kind == inputRows && !j.in.pass {
		cost += l.n.w.between(l.n.step/2, 2*l.n.step) * time.Duration(len(j.in.tokens))
	}
	l.finishAfter(cost, j, k, frame)
}

func (l *simLife) finishAfter(d time.Duration, j *simJob, k *simKV, frame protocol.Frame) {
	l.n.w.after(d, func() {
		if l.ended {
			return
		}
		if l.sleeping {
			l.finishAfter(20*time.Millisecond, j, k, frame)
			return
		}
		l.busy = false
		if k.owner == j.s { // else the session was replaced meanwhile: these rows do not count
			k.rows = uint32(len(k.cache.sums))
			if k.kept != nil {
				k.outputs = k.kept.rows
			}
		}
		if !j.s.ended {
			j.s.deliver(frame)
		}
		l.next()
	})
}

// compute is Engine.compute and Engine.encode.
func (l *simLife) compute(j *simJob, k *simKV) protocol.Frame {
	s, in := j.s, j.in
	var out output
	switch in.kind {
	case inputTruncate:
		return &protocol.Truncate{Session: s.id, Epoch: s.epoch, Step: in.step, Position: in.position}
	case inputResume:
		return &protocol.Resume{Session: s.id, Epoch: s.epoch, Step: in.step, Rows: in.counts}
	}
	out.setRows(&Session{id: s.id, epoch: s.epoch, out: s.out}, in)
	r := &out.result
	r.Hops = append(r.Hops, protocol.HopTiming{Layers: s.layers, Rows: uint32(len(in.tokens))})
	if in.pass {
		if !s.last && !in.silent {
			r.Hidden = k.kept.read(r.Hidden, in.position, len(in.tokens))
		}
		return r
	}
	if int(in.position) != len(k.cache.sums) {
		panic("a row is computed out of place")
	}
	var x uint64
	for i, t := range in.tokens {
		x = toyEmbed(t)
		if !s.embeds() {
			x = uint64(ofBits(in.hidden[2*i])) | uint64(ofBits(in.hidden[2*i+1]))<<32
		}
		x = k.cache.forward(x, s.rounds)
		if s.last {
			if !slices.Contains(in.logits, uint32(i)) {
				continue
			}
			if s.localEnds {
				r.LogitRows = toyEncode(r.LogitRows, x, protocol.F32)
			} else {
				r.LogitRows = toyLogits(r.LogitRows, x)
			}
			continue
		}
		r.Hidden = toyEncode(r.Hidden, x, s.out)
	}
	if s.last && s.localEnds {
		return r
	}
	if s.last {
		k.history = append(k.history, in.tokens...)
		if in.sample {
			r.Generated = append(r.Generated, toyDraw(x, k.history, s.seed))
		}
		return r
	}
	k.kept.append(in.position, r.Hidden, l.freshBlock)
	if in.silent {
		r.Hidden = r.Hidden[:0]
	}
	return r
}
