// SPDX-License-Identifier: MIT

package engine

import (
	"strings"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// Open reserves a session for the peer from or refuses it with a *protocol.Error. An open session of the same ID and a lower epoch is
// replaced: its handle drops everything from now on, and its rows stay if the hop's layers and the wire type are the
// same and the reservation suffices ([protocol.Opened] says how many, and of how many the outputs were kept; a resume
// makes hops with different numbers of rows go on together).
//
// deliver gets every output in order (IntermediateResult, Truncate, at last an Error if the engine ends the session),
// from one goroutine of the session, never from the step loop; a frame is valid until deliver returns. It may block,
// which stops this session only, and should return soon after [Session.Done] is closed. After its first error nothing
// more is computed and only the closing Error is delivered, but the rows stay for a higher epoch.
func (e *Engine) Open(from string, o *protocol.Open, deliver func(protocol.Frame) error) (*Session, *protocol.Opened, error) {
	hop, err := e.admit(o)
	if err != nil {
		return nil, nil, e.refused(o, hop, err)
	}
	matcher, err := e.matcher(o, hop)
	if err != nil {
		return nil, nil, e.refused(o, hop, err)
	}
	s := newSession(e, o, hop, matcher, deliver)
	rows, outputs, bytes, err := e.reserve(s, from, o)
	if err != nil {
		return nil, nil, e.refused(o, hop, err)
	}
	e.cfg.Log.Info("session open", zap.Stringer("session", s.id), zap.Uint32("epoch", uint32(s.epoch)), zap.Stringer("layers", hop.Layers),
		zap.Uint32("positions", o.Positions), zap.Uint32("cached", rows), zap.Uint32("kept", outputs))
	return s, &protocol.Opened{Session: s.id, Epoch: s.epoch, KVBytes: uint64(bytes), CachedTo: rows, KeptTo: outputs}, nil
}

// admit checks what does not depend on other sessions.
func (e *Engine) admit(o *protocol.Open) (hop protocol.Hop, err *protocol.Error) {
	model := e.cfg.Model
	cfg := model.Config()
	if int64(o.Index) >= int64(len(o.Route)) {
		return hop, protocol.Errorf(protocol.CodeBadFrame, "hop %d of a route with %d hops", o.Index, len(o.Route))
	}
	hop = o.Route[o.Index]
	if o.Model != e.cfg.ModelID {
		return hop, protocol.Errorf(protocol.CodeWrongModel, "this node serves model %s, not %s: choose nodes of one model", e.cfg.ModelID.Short(), o.Model.Short())
	}
	if o.Wire.Size() == 0 {
		return hop, protocol.Errorf(protocol.CodeBadFrame, "wire type %s: want f32 or f16", o.Wire)
	}
	if want := model.Numerics(o.Wire); strings.TrimSuffix(o.Numerics, protocol.LocalEnds) != want {
		return hop, protocol.Errorf(protocol.CodeWrongNumerics, "this node computes with %s, not %q: start all nodes with the same --kv and numerics", want, o.Numerics)
	}
	at := 0
	for _, h := range o.Route {
		if h.Layers.From != at || !h.Layers.Valid(cfg.NLayers) {
			return hop, protocol.Errorf(protocol.CodeBadFrame, "the route's hops do not tile layers 0-%d in order: layers %s come after layer %d", cfg.NLayers-1, h.Layers, at-1)
		}
		at = h.Layers.To
	}
	if at != cfg.NLayers {
		return hop, protocol.Errorf(protocol.CodeBadFrame, "the route ends at layer %d, the model at layer %d", at-1, cfg.NLayers-1)
	}
	if !model.Range().Contains(hop.Layers) {
		return hop, protocol.Errorf(protocol.CodeWrongLayers, "this node holds layers %s, not %s: ask its status again", model.Range(), hop.Layers)
	}
	if o.Positions == 0 || int64(o.Positions) > int64(cfg.Context) {
		return hop, protocol.Errorf(protocol.CodeTooLong, "%d positions: the model's context is %d, reserve 1 to %d", o.Positions, cfg.Context, cfg.Context)
	}
	if bad := sampler.Validate(o.Request.Sampling); bad != nil {
		return hop, protocol.Errorf(protocol.CodeBadFrame, "sampling parameters: %v", bad)
	}
	return hop, nil
}

// reserve takes a session slot and KV memory to begin with for s, or the rows of the session it replaces, and starts s.
func (e *Engine) reserve(s *Session, from string, o *protocol.Open) (rows, outputs uint32, bytes int64, err *protocol.Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.sessions[s.id]
	if e.stopped || e.draining && old == nil {
		return 0, 0, 0, protocol.Errorf(protocol.CodeDraining, "this node is leaving: choose another")
	}
	if old == nil {
		e.opened++
		s.born = e.opened
		if len(e.sessions) >= e.cfg.MaxSessions {
			return 0, 0, 0, protocol.Errorf(protocol.CodeBusy, "all %d session slots are in use: choose another node or try later", e.cfg.MaxSessions)
		}
		if s.kv, err = e.newKV(s, from, o, len(e.sessions), 0); err != nil {
			return 0, 0, 0, err
		}
		rows, outputs = s.kv.rows, s.kv.outputs
	} else {
		if err = old.order.newer(s.epoch); err != nil {
			return 0, 0, 0, err
		}
		if kind := kindOf(o); old.kv.serves(&kind, o.Positions) && (s.matcher == nil || old.kv.extra > 0) {
			s.kv, old.kv = old.kv, nil
			s.kv.keep(o.Positions)
			s.kv.private = s.kv.private || s.kv.key != prefixKeyOf(from, o)
			rows, outputs = s.kv.rows, s.kv.outputs
		} else {
			var freed int64
			if !old.kv.lent {
				freed = int64(len(old.kv.pages))*e.pageBytes + old.kv.extra
			}
			if s.kv, err = e.newKV(s, from, o, len(e.sessions)-1, freed); err != nil {
				return 0, 0, 0, err
			}
			rows, outputs = s.kv.rows, s.kv.outputs
		}
		old.replaced = true
		s.born = old.born
		old.end(nil)
	}
	s.order = newOrder(o, rows, outputs)
	s.kv.owner = s
	s.tenant = e.enter(from)
	e.sessions[s.id] = s
	e.deliverers.Go(s.deliverLoop)
	return rows, outputs, int64(len(s.kv.pages)) * e.pageBytes, nil
}

// newKV returns the KV memory that a session begins with, a page, if there is room for it and for a page more of each of the others that are
// open: they would not get far otherwise. freed bytes are about to be returned by a session that s replaces. e.mu is held.
func (e *Engine) newKV(s *Session, from string, o *protocol.Open, others int, freed int64) (*kv, *protocol.Error) {
	need, extra := 1+others, int64(0)
	if s.matcher != nil {
		extra = grammar.MatcherBytes
	}
	for !e.fits(need, freed-extra) && e.evict() {
	}
	if !e.fits(need, freed-extra) {
		return nil, protocol.Errorf(protocol.CodeBusy, "%d KiB of KV memory are needed to begin with, %d of %d KiB are free: choose another node or try later",
			(int64(need)*e.pageBytes+extra)/1024, (e.cfg.KVBudget-e.kvUsed+freed)/1024, e.cfg.KVBudget/1024)
	}
	k := &kv{kind: kindOf(o), limit: o.Positions, key: prefixKeyOf(from, o), cache: e.cfg.Model.EmptyCache(int(o.Positions))}
	k.extra = extra
	e.kvUsed += extra
	k.private = k.kind.local // rows whose tokens nobody here knows
	if !s.last() {
		k.kept = newKept(e.cfg.Model.Config().Hidden * s.out.Size())
	}
	e.find(k, o)
	e.promise(k, 1)
	return k, nil
}

// refused counts a refusal and completes its error.
func (e *Engine) refused(o *protocol.Open, hop protocol.Hop, err *protocol.Error) error {
	err.Session, err.Epoch, err.Peer, err.Layers = o.Session, o.Epoch, e.cfg.Peer, hop.Layers
	e.mu.Lock()
	e.stats.refusals[err.Code]++
	e.mu.Unlock()
	e.cfg.Log.Info("session refused", zap.Stringer("session", o.Session), zap.Stringer("code", err.Code), zap.String("reason", err.Message))
	return err
}
