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
	if err := h.Connect(ctx, pi); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, stop, err := h.open(ctx, pi, StatusProtocol, controlLimits)
	if err != nil {
		return nil, 0, err
	}
	defer stop()
	start := time.Now()
	var st protocol.Status
	if err = s.WriteFrame(&protocol.StatusRequest{}); err == nil {
		err = expect(s, &st)
	}
	rtt := time.Since(start)
	if err == nil && st.Peer != pi.ID.String() {
		err = errors.New("the status names another peer")
	}
	if err != nil {
		s.Reset(network.StreamNoError)
		return nil, 0, typed("ask the status of", pi.ID, err)
	}
	s.Close()
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
