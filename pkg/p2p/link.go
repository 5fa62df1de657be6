// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// attachNext opens the link to the next hop, where the path needs one, and starts to watch it. A link that cannot be made is
// reported as one that was lost.
func (ss *session) attachNext() {
	if !ss.direct() || ss.last() {
		return
	}
	hop := ss.open.Route[ss.open.Index+1]
	if err := ss.attachTo(&hop); err != nil && !ss.lost.Swap(true) && ss.ctx.Err() == nil {
		e := protocol.Errorf(protocol.CodeUnreachable, "attach to the next hop, layers %s at %s: %v", hop.Layers, hop.Peer, err)
		e.Lost = hop.Peer
		ss.report(e)
	}
}

func (ss *session) attachTo(hop *protocol.Hop) error {
	pi, err := hopInfo(hop)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ss.ctx, attachTimeout)
	defer cancel()
	link, stop, err := ss.h.open(ctx, pi, LinkProtocol, sessionLimits)
	leave := func() {}
	if err == nil {
		leave = ss.h.join(link)
		err = attach(link, &protocol.Attach{Session: ss.open.Session, Epoch: ss.open.Epoch, Index: ss.open.Index + 1})
		if !stop() {
			err = ctx.Err()
		}
		if err != nil {
			link.Reset(network.StreamNoError)
			leave()
		}
	}
	if err != nil {
		return err
	}
	ss.next = link
	unbind := ss.bind(link)
	go func() {
		defer leave()
		defer unbind()
		ss.watch(link)
	}()
	return nil
}

func attach(link *Stream, a *protocol.Attach) error {
	if err := link.WriteFrame(a); err != nil {
		return err
	}
	var ok protocol.Attached
	if err := expect(link, &ok); err != nil {
		return err
	}
	if ok.Session != a.Session || ok.Epoch != a.Epoch {
		return errors.New("the answer is for another session")
	}
	return nil
}

// bind resets a link when the session ends, and says whether the session or the whole node went: the other hop reports
// a lost node.
func (ss *session) bind(link *Stream) (stop func() bool) {
	return context.AfterFunc(ss.ctx, func() {
		code := network.StreamNoError
		if ss.h.ctx.Err() != nil {
			code = network.StreamShutdown
		}
		link.Reset(code)
	})
}

// watch notices the next hop's death at once: it never sends anything on a link.
func (ss *session) watch(link *Stream) {
	_, _, err := link.Next()
	if err == nil {
		err = errors.New("it sent a frame against the direction")
	} else if errors.Is(err, io.EOF) {
		err = errEnded
	}
	link.Reset(network.StreamNoError)
	ss.linkLost("the link to the next hop broke", err)
}

// serveLink takes a previous hop's link and reads the session's inputs from it.
func (h *Host) serveLink(s *Stream) {
	var a protocol.Attach
	s.limits.idle = frameTimeout
	err := expect(s, &a)
	s.limits.idle = 0
	if err != nil {
		hangUp(s, err)
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, attachWait)
	ss := h.sessions.wait(ctx, sessionKey{a.Session, a.Epoch, a.Index})
	cancel()
	switch {
	case ss == nil:
		err = protocol.Errorf(protocol.CodeSessionNotFound, "no session %s of epoch %d here after %s", a.Session, a.Epoch, attachWait)
	case !ss.isPrevious(s.Peer()):
		err = protocol.Errorf(protocol.CodeForbidden, "hop %d of session %s does not follow yours", a.Index, a.Session)
	case !ss.enter():
		err = protocol.Errorf(protocol.CodeSessionNotFound, "session %s has a link already or has ended", a.Session)
	}
	if err != nil {
		refusal := wireError(err)
		refusal.Session, refusal.Epoch, refusal.Peer = a.Session, a.Epoch, h.ID().String()
		if s.WriteFrame(&refusal) != nil {
			s.Reset(network.StreamNoError) // who opened it has given up
			return
		}
		s.Close()
		return
	}
	defer ss.inputs.Done()
	defer h.join(s)()
	defer ss.bind(s)()
	if err := s.WriteFrame(&protocol.Attached{Session: a.Session, Epoch: a.Epoch}); err != nil {
		s.Reset(network.StreamNoError)
		ss.linkLost("the link from the previous hop broke", err)
		return
	}
	ss.read(s, true)
}

// hopInfo reads a hop's peer and addresses. Addresses this build cannot read are left out.
func hopInfo(hop *protocol.Hop) (peer.AddrInfo, error) {
	id, err := peer.Decode(hop.Peer)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("hop for layers %s: peer ID %q: %w", hop.Layers, hop.Peer, err)
	}
	pi := peer.AddrInfo{ID: id}
	for _, s := range hop.Addrs {
		if a, err := multiaddr.NewMultiaddr(s); err == nil {
			pi.Addrs = append(pi.Addrs, a)
		}
	}
	return pi, nil
}
