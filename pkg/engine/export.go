// SPDX-License-Identifier: MIT

package engine

import (
	"context"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// partBytes is the size that a part of an exported KV cache has at the most, or one row: a millisecond of the step loop.
const partBytes = 1 << 20

// Export sends rows of an open session's KV cache, in order and part by part; the session goes on meanwhile, and must not forget
// any of the rows. A part is valid until send returns. A refusal is a *protocol.Error; other errors are send's and ctx's.
func (e *Engine) Export(ctx context.Context, f *protocol.Export, send func(*protocol.KVRows) error) error {
	part := protocol.KVRows{Session: f.Session, Layers: f.Layers, Position: f.Position}
	for first := true; first || part.Position < f.End; first = false {
		var refusal *protocol.Error
		if err := e.do(ctx, func() { refusal = e.read(f, &part) }); err != nil {
			return err
		}
		if refusal != nil {
			return refusal
		}
		part.Digest = protocol.KVDigest(&part)
		if err := send(&part); err != nil {
			return err
		}
		part.Position += part.Rows
	}
	e.cfg.Log.Info("session's rows given away", zap.Stringer("session", f.Session), zap.Stringer("layers", f.Layers), zap.Uint32("from", f.Position), zap.Uint32("to", f.End))
	return nil
}

// read fills part with the rows from its position on, as many as it takes. It runs in the step loop.
func (e *Engine) read(f *protocol.Export, part *protocol.KVRows) *protocol.Error {
	k, refusal := e.exported(f)
	if refusal != nil {
		return refusal
	}
	size := k.cache.RowBytes(f.Layers.Len())
	n := min(f.End-part.Position, uint32(max(1, partBytes/size)), protocol.MaxRows)
	part.Rows = n
	part.KV = k.cache.AppendRows(part.KV[:0], f.Layers, int(part.Position), int(n))
	if !k.kind.local && f.Layers.To == e.cfg.Model.Config().NLayers {
		part.Tokens = append(part.Tokens[:0], k.history[part.Position:part.Position+n]...)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.giveBack(k)
	return nil
}

// exported lends what f asks for. The session may end at any time, but only the step loop changes what it holds.
func (e *Engine) exported(f *protocol.Export) (*kv, *protocol.Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[f.Session]
	if s == nil {
		return nil, protocol.Errorf(protocol.CodeSessionNotFound, "session %s is not open here", f.Session)
	}
	if refusal := s.exportable(f); refusal != nil {
		return nil, refusal
	}
	s.active = e.cfg.Now()
	s.kv.lent = true
	return s.kv, nil
}

// exportable says why f cannot be served. Engine.mu is held.
func (s *Session) exportable(f *protocol.Export) *protocol.Error {
	switch {
	case f.Numerics != s.numerics:
		return s.refuse(protocol.CodeWrongNumerics, "the session's numerics are %s, not %q", s.numerics, f.Numerics)
	case f.Layers.Len() < 1 || !s.layers.Contains(f.Layers):
		return s.refuse(protocol.CodeWrongLayers, "rows of layers %s are wanted: the session has layers %s here", f.Layers, s.layers)
	case f.Position >= f.End || f.End > s.kv.rows:
		return s.refuse(protocol.CodeOutOfOrder, "rows %d to %d are wanted: the session has %d here", f.Position, f.End, s.kv.rows)
	case s.kv.cache.RowBytes(f.Layers.Len()) > protocol.MaxTensor:
		return s.refuse(protocol.CodeTooLong, "a row of layers %s is more than %d bytes: ask for fewer layers", f.Layers, protocol.MaxTensor)
	}
	return nil
}
