// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// ServeAdmin lets the peers that may say so move the node to other layers. move returns when it is sure to begin, or a *protocol.Error.
// Call it once.
func (h *Host) ServeAdmin(may func(peer.ID) bool, move func(*protocol.Move) error) {
	h.handle(AdminProtocol, controlLimits, func(_ context.Context, s *Stream) {
		var f protocol.Move
		for {
			t, body, err := s.Next()
			if err == nil && t != protocol.TypeMove {
				err = errors.New("not a move")
			}
			if err == nil {
				err = s.decode(body, &f)
			}
			if err != nil {
				hangUp(s, err)
				return
			}
			var answer protocol.Frame = &protocol.Moving{Take: f.Take}
			if !may(s.Peer()) {
				err = protocol.Errorf(protocol.CodeForbidden, "peer %s is no administrator of this node: start it with --admin %s", s.Peer(), s.Peer())
			} else {
				err = move(&f)
			}
			if err != nil {
				refusal := wireError(err)
				refusal.Peer = h.ID().String()
				answer = &refusal
			}
			h.cfg.Log.Info("asked to move", zap.Stringer("by", s.Peer()), zap.Stringer("from", f.Have), zap.Stringer("to", f.Take), zap.NamedError("refused", err))
			if s.WriteFrame(answer) != nil {
				s.Reset(network.StreamNoError)
				return
			}
		}
	})
}

// Move asks a node to serve other layers. It returns when the node has taken the order, not when it has moved: ask its status for that. A
// refusal is a *protocol.Error.
func (h *Host) Move(ctx context.Context, pi peer.AddrInfo, f *protocol.Move) error {
	// Asked twice the second order is refused: the first made it move. So it is not repeated as other questions are.
	ctx, cancel := context.WithTimeout(ctx, requestTimeout+dialTimeoutPublic)
	defer cancel()
	s, stop, err := h.open(ctx, pi, AdminProtocol, controlLimits)
	if err != nil {
		return err
	}
	defer stop()
	if err = s.WriteFrame(f); err == nil {
		var answer protocol.Moving
		if err = expect(s, &answer); err == nil && answer.Take != f.Take {
			err = protocol.Errorf(protocol.CodeBadFrame, "it moves to layers %s, not %s", answer.Take, f.Take)
		}
	}
	if err != nil {
		s.Reset(network.StreamNoError)
		return typed("move", pi.ID, err)
	}
	s.Close()
	return nil
}
