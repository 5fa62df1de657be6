// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Connect makes sure that the peer is connected and admitted, dialing the addresses given and known. The dial is
// bounded (2 s when all addresses are local); a refusal names its reason.
func (h *Host) Connect(ctx context.Context, pi peer.AddrInfo) error {
	if pi.ID == h.ID() {
		return errors.New("connect to this very node: the address is our own")
	}
	if h.raw.Network().Connectedness(pi.ID) != network.Connected {
		// A node that was restarted a second ago is back: do not hold its last failure against it.
		h.swarm.Backoff().Clear(pi.ID)
		dial, cancel := context.WithTimeout(ctx, h.dialTimeout(pi))
		defer cancel()
		if err := h.raw.Connect(dial, pi); err != nil {
			return typed("connect to", pi.ID, err)
		}
	}
	return h.admission.ensure(ctx, pi.ID)
}

func (h *Host) dialTimeout(pi peer.AddrInfo) time.Duration {
	for _, a := range append(h.raw.Peerstore().Addrs(pi.ID), pi.Addrs...) {
		if !localAddr(a) {
			return dialTimeoutPublic
		}
	}
	return dialTimeoutLocal
}

// open connects to p and opens a stream, which ctx resets when it ends, until the caller calls stop.
func (h *Host) open(ctx context.Context, pi peer.AddrInfo, id libp2pproto.ID, l streamLimits) (s *Stream, stop func() bool, err error) {
	if err := h.Connect(ctx, pi); err != nil {
		return nil, nil, err
	}
	ns, err := h.raw.NewStream(network.WithNoDial(ctx, "admitted connections only"), pi.ID, id)
	if err != nil {
		return nil, nil, typed("open "+string(id)+" to", pi.ID, err)
	}
	if err := ns.Scope().SetService(serviceName); err != nil {
		_ = ns.ResetWithError(network.StreamResourceLimitExceeded)
		return nil, nil, typed("open "+string(id)+" to", pi.ID, err)
	}
	s = newStream(ns, l)
	return s, s.bind(ctx, network.StreamNoError), nil
}

// expect reads one frame of f's type into f; an Error frame becomes the error.
func expect(s *Stream, f protocol.Frame) error {
	t, body, err := s.Next()
	if errors.Is(err, io.EOF) {
		return s.fail("read", errNoAnswer)
	}
	if err != nil {
		return err
	}
	switch t {
	case f.FrameType():
		return s.decode(body, f)
	case protocol.TypeError:
		var e protocol.Error
		if err := s.decode(body, &e); err != nil {
			return err
		}
		return &e
	}
	return protocol.Errorf(protocol.CodeBadFrame, "frame type %d where %d was due", t, f.FrameType())
}
