// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// takeOver brings the session the rows that the Open's sources have, and returns how many it has then, the kept ones included. A
// source that fails costs time, not the session: the coordinator feeds what is missing.
func (ss *session) takeOver(kept uint32) (uint32, error) {
	ctx, cancel := context.WithTimeout(ss.ctx, moveTimeout)
	defer cancel()
	for i := range ss.open.Sources {
		source := &ss.open.Sources[i]
		if err := ss.pull(ctx, source, kept); err != nil {
			ss.log.Info("rows not taken over", zap.Stringer("layers", source.Layers), zap.String("from", source.Peer), zap.Error(err))
			break
		}
	}
	return ss.node.Imported(ss.ctx)
}

// pull asks one source for the rows of its layers that the session does not have.
func (ss *session) pull(ctx context.Context, source *protocol.Hop, kept uint32) error {
	if kept >= ss.open.Rows {
		return nil
	}
	pi, err := hopInfo(source)
	if err != nil {
		return err
	}
	f := &protocol.Export{Session: ss.open.Session, Layers: source.Layers, Numerics: ss.open.Numerics, Position: kept, End: ss.open.Rows}
	return ss.h.ask(ctx, pi, &question{
		op: "take rows over from", id: MoveProtocol, limits: moveLimits,
		run: func(ctx context.Context, s *Stream) error {
			defer ss.h.join(s)()
			return ss.importRows(ctx, s, f)
		},
	})
}

// importRows asks for the rows of f, and takes them as they come.
func (ss *session) importRows(ctx context.Context, s *Stream, f *protocol.Export) error {
	if err := s.WriteFrame(f); err != nil {
		return err
	}
	var part protocol.KVRows
	for at := f.Position; at < f.End; at += part.Rows {
		if err := expect(s, &part); err != nil {
			return err
		}
		if part.Layers != f.Layers || part.Position != at || part.Rows > f.End-at {
			return fmt.Errorf("it sent %d rows of layers %s from %d on, row %d of layers %s was due", part.Rows, part.Layers, part.Position, at, f.Layers)
		}
		if err := ss.node.Import(ctx, &part); err != nil {
			return err
		}
	}
	return nil
}

// serveMove gives rows of this node's sessions to whoever knows a session's ID.
func (h *Host) serveMove(ctx context.Context, n Node, s *Stream) {
	defer h.join(s)()
	for {
		var f protocol.Export
		t, body, err := s.Next()
		if err == nil && t != protocol.TypeExport {
			err = errors.New("not an export")
		}
		if err == nil {
			err = s.decode(body, &f)
		}
		if err != nil {
			hangUp(s, err)
			return
		}
		err = n.Export(ctx, &f, func(part *protocol.KVRows) error { return s.WriteFrame(part) })
		if err != nil {
			refusal := wireError(err)
			refusal.Session, refusal.Peer = f.Session, h.ID().String()
			if s.WriteFrame(&refusal) != nil {
				s.Reset(network.StreamNoError)
				return
			}
		}
	}
}
