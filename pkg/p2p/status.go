// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Status asks a node what it serves, and returns the round-trip time of the question.
func (h *Host) Status(ctx context.Context, pi peer.AddrInfo) (*protocol.Status, time.Duration, error) {
	var st protocol.Status
	var rtt time.Duration
	err := h.ask(ctx, pi, &question{
		op: "ask the status of", id: StatusProtocol, limits: controlLimits, within: requestTimeout,
		run: func(_ context.Context, s *Stream) error {
			start := time.Now()
			if err := s.WriteFrame(&protocol.StatusRequest{}); err != nil {
				return err
			}
			if err := expect(s, &st); err != nil {
				return err
			}
			rtt = time.Since(start)
			if st.Peer != pi.ID.String() {
				return errors.New("the status names another peer")
			}
			return nil
		},
	})
	if err != nil {
		return nil, 0, err
	}
	return &st, rtt, nil
}

// serveStatus answers any number of requests on one stream.
func (h *Host) serveStatus(n Node, s *Stream) {
	for {
		t, _, err := s.Next()
		if err != nil || t != protocol.TypeStatusRequest {
			hangUp(s, err)
			return
		}
		st := *n.Status()
		st.Peer, st.Swarm, st.Version = h.ID().String(), h.cfg.Swarm, h.cfg.Version
		st.Addrs = make([]string, 0, len(h.Addrs()))
		for _, a := range h.Addrs() {
			if len(st.Addrs) < protocol.MaxAddrs {
				st.Addrs = append(st.Addrs, a.String())
			}
		}
		if err := s.WriteFrame(&st); err != nil {
			h.cfg.Log.Warn("status not sent", zap.Error(err))
			s.Reset(network.StreamNoError)
			return
		}
	}
}
