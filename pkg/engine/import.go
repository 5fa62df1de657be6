// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// moving is what a session has taken over before its first input, beyond the rows it kept.
type moving struct {
	filled []uint32           // [layers] rows there, the kept ones included
	tokens []protocol.TokenID // of the rows in the last layer, where the session draws after it, the kept ones not included
}

// Import takes over rows that another node computed for the session: the next ones of f.Layers, which are a part of the session's. It
// copies what it needs of f. Call it from one goroutine, before the first Submit, and then [Session.Imported]. A part that is not the
// next, not of the model's shape or damaged is refused with a *protocol.Error and changes nothing.
func (s *Session) Import(ctx context.Context, f *protocol.KVRows) error {
	if f.Digest != protocol.KVDigest(f) {
		return s.refuse(protocol.CodeBadFrame, "rows %d to %d of layers %s were damaged on the way", f.Position, f.Position+f.Rows-1, f.Layers)
	}
	var refusal *protocol.Error
	if err := s.engine.do(ctx, func() { refusal = s.write(f) }); err != nil {
		return err
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

// write stores a part. It runs in the step loop.
func (s *Session) write(f *protocol.KVRows) *protocol.Error {
	k, refusal := s.next(f)
	if refusal != nil {
		return refusal
	}
	err := k.cache.SetRows(f.Layers, int(f.Position), f.KV)
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.engine.giveBack(k)
	if err != nil {
		return s.refuse(protocol.CodeBadFrame, "%v", err)
	}
	if m := s.moving; m != nil { // else the session has just ended
		for i := range m.part(s, f) {
			m.part(s, f)[i] += f.Rows
		}
		m.tokens = append(m.tokens, f.Tokens...)
	}
	s.active = s.engine.cfg.Now()
	return nil
}

// part returns the counts of the layers that f is of.
func (m *moving) part(s *Session, f *protocol.KVRows) []uint32 {
	return m.filled[f.Layers.From-s.layers.From : f.Layers.To-s.layers.From]
}

// next lends what f is the next part for. It may change hands at any time, but whoever has it then counts on the rows before f only.
func (s *Session) next(f *protocol.KVRows) (*kv, *protocol.Error) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if refusal := s.importable(f); refusal != nil {
		return nil, refusal
	}
	k := s.kv
	if s.moving == nil {
		// Rows beyond are those of a step that ran when its session was replaced.
		if k.cache.Len() > int(k.rows) {
			if err := k.truncate(k.rows); err != nil {
				return nil, s.refuse(protocol.CodeInternal, "%v", err)
			}
		}
		s.moving = &moving{filled: slices.Repeat([]uint32{k.rows}, s.layers.Len())}
	}
	for _, n := range s.moving.part(s, f) {
		if n != f.Position {
			return nil, s.refuse(protocol.CodeOutOfOrder, "rows from %d on of layers %s: the next is row %d", f.Position, f.Layers, n)
		}
	}
	if !s.engine.hold(k, int(f.Position), int(f.Position+f.Rows)) {
		return nil, s.refuse(protocol.CodeBusy, "the node's KV memory is full: open the session at another node, or again later")
	}
	k.lent, k.private = true, true
	return k, nil
}

// importable says why f cannot be taken. Engine.mu is held.
func (s *Session) importable(f *protocol.KVRows) *protocol.Error {
	switch {
	case s.kv == nil || s.order.step > 0:
		return s.refuse(protocol.CodeSessionNotFound, "the session has ended or has begun: rows can be taken over before its first input only")
	case f.Session != s.id || f.Layers.Len() < 1 || !s.layers.Contains(f.Layers):
		return s.refuse(protocol.CodeBadFrame, "rows of layers %s of session %s: want layers %s of %s", f.Layers, f.Session, s.layers, s.id)
	case f.Rows == 0 || uint64(f.Position)+uint64(f.Rows) > uint64(s.order.limit):
		return s.refuse(protocol.CodeTooLong, "%d rows from position %d on: the session reserved %d", f.Rows, f.Position, s.order.limit)
	case int64(len(f.KV)) != int64(f.Rows)*int64(s.kv.cache.RowBytes(f.Layers.Len())):
		return s.refuse(protocol.CodeBadFrame, "%d bytes for %d rows of layers %s: want %d a row", len(f.KV), f.Rows, f.Layers, s.kv.cache.RowBytes(f.Layers.Len()))
	}
	want := 0
	if s.draws() && f.Layers.To == s.layers.To {
		want = int(f.Rows)
	}
	if len(f.Tokens) != want {
		return s.refuse(protocol.CodeBadFrame, "%d tokens with %d rows of layers %s, want %d", len(f.Tokens), f.Rows, f.Layers, want)
	}
	vocab := s.engine.cfg.Model.Config().Vocab
	for _, t := range f.Tokens {
		if int64(t) >= int64(vocab) {
			return s.refuse(protocol.CodeBadFrame, "token %d is outside the vocabulary of %d", t, vocab)
		}
	}
	return nil
}

// Imported ends the taking over: the rows that all layers have are the session's now. It returns how many that are, the kept ones
// included, and what [protocol.Opened].CachedTo is to say.
func (s *Session) Imported(ctx context.Context) (uint32, error) {
	var rows uint32
	var failed error
	if err := s.engine.do(ctx, func() { rows, failed = s.adopt() }); err != nil {
		return 0, err
	}
	return rows, failed
}

// adopt makes the imported rows the session's. It runs in the step loop.
func (s *Session) adopt() (uint32, error) {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	m, k := s.moving, s.kv
	s.moving = nil
	if k == nil {
		return 0, s.overError()
	}
	if m == nil {
		return k.rows, nil
	}
	rows := slices.Min(m.filled)
	if rows == k.rows {
		return rows, nil
	}
	if err := k.cache.Adopt(s.layers, int(rows)); err != nil {
		return 0, s.refuse(protocol.CodeInternal, "%v", err)
	}
	if s.draws() {
		k.history = append(k.history, m.tokens[:rows-k.rows]...)
	}
	e.cfg.Log.Info("session's rows taken over", zap.Stringer("session", s.id), zap.Stringer("layers", s.layers), zap.Uint32("from", k.rows), zap.Uint32("to", rows))
	k.rows, s.order.next = rows, rows
	return rows, nil
}
