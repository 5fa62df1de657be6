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
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

var errSelf = errors.New("connect to this very node: the address is our own")

// Connect makes sure that the peer is connected and admitted, dialing the addresses given and known. The dial is
// bounded (2 s when all addresses are local); a refusal names its reason. A connection that has been at rest has to show
// that the peer still lives; one that does not is replaced.
func (h *Host) Connect(ctx context.Context, pi peer.AddrInfo) error {
	if pi.ID == h.ID() {
		return errSelf
	}
	if err := h.proofs.demand(ctx, pi.ID); err != nil {
		return err
	}
	return h.reach(ctx, pi)
}

// reach is Connect without the sign of life.
func (h *Host) reach(ctx context.Context, pi peer.AddrInfo) error {
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

// open connects to p and opens a stream, which ctx resets when it ends, until the caller calls stop. It does so a second time where
// the connection breaks meanwhile.
func (h *Host) open(ctx context.Context, pi peer.AddrInfo, id libp2pproto.ID, l streamLimits) (s *Stream, stop func() bool, err error) {
	s, stop, again, err := h.openOnce(ctx, pi, id, l)
	if again {
		h.proofs.doubt(pi.ID)
		s, stop, _, err = h.openOnce(ctx, pi, id, l)
	}
	return s, stop, err
}

// openOnce tries to. again says that it failed since the connection broke, before anything was sent.
func (h *Host) openOnce(ctx context.Context, pi peer.AddrInfo, id libp2pproto.ID, l streamLimits) (s *Stream, stop func() bool, again bool, err error) {
	if err := h.Connect(ctx, pi); err != nil {
		return nil, nil, false, err
	}
	ns, err := h.raw.NewStream(network.WithNoDial(ctx, "admitted connections only"), pi.ID, id)
	if err != nil {
		broken := broke(err) != "" || h.raw.Network().Connectedness(pi.ID) != network.Connected
		return nil, nil, broken && ctx.Err() == nil && h.ctx.Err() == nil, typed("open "+string(id)+" to", pi.ID, err)
	}
	if err := ns.Scope().SetService(serviceName); err != nil {
		_ = ns.ResetWithError(network.StreamResourceLimitExceeded)
		return nil, nil, false, typed("open "+string(id)+" to", pi.ID, err)
	}
	s = newStream(ns, l)
	return s, s.bind(ctx, network.StreamNoError), false, nil
}

// question is an exchange that may be repeated: asking twice changes nothing at the peer.
type question struct {
	op     string // what it is, for errors; a peer's name follows
	id     libp2pproto.ID
	limits streamLimits
	within time.Duration                        // bound on stream and answer, beside the caller's; 0: none
	run    func(context.Context, *Stream) error // may be called twice
}

// ask puts a question, and puts it once more, over a new connection, where the connection broke before anything was answered: it may
// have been dead when the question was sent, or was closed by a peer that is back by now.
func (h *Host) ask(ctx context.Context, pi peer.AddrInfo, q *question) error {
	again, err := h.askOnce(ctx, pi, q)
	if again {
		h.cfg.Log.Debug("asking again over a new connection", zap.Stringer("peer", pi.ID), zap.String("protocol", string(q.id)), zap.Error(err))
		h.proofs.doubt(pi.ID)
		_, err = h.askOnce(ctx, pi, q)
	}
	return err
}

func (h *Host) askOnce(ctx context.Context, pi peer.AddrInfo, q *question) (again bool, err error) {
	if err := h.Connect(ctx, pi); err != nil {
		return false, err // a dial has its own bound
	}
	if q.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.within)
		defer cancel()
	}
	s, stop, again, err := h.openOnce(ctx, pi, q.id, q.limits)
	if err != nil {
		return again, err
	}
	defer stop()
	if err := q.run(ctx, s); err != nil {
		again := !s.came && loss(s.ns.Conn(), err) != nil && ctx.Err() == nil && h.ctx.Err() == nil
		s.Reset(network.StreamNoError)
		return again, typed(q.op, pi.ID, err)
	}
	s.Close()
	h.proofs.note(s.ns.Conn())
	return false, nil
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
