// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// session is one hop's part of a session: the coordinator's stream, and on the direct path a link from the previous
// hop and a link to the next.
type session struct {
	// Constant after construction.
	h      *Host
	log    *zap.Logger
	open   *protocol.Open
	coord  *Stream
	node   Session
	ctx    context.Context //nolint:containedctx // ends with the coordinator's stream
	cancel context.CancelFunc

	attached chan struct{} // closed when next is set, or never will be
	next     *Stream       // link to the next hop; nil: there is none, or it could not be made

	opened  atomic.Bool // Opened is sent
	told    atomic.Bool // so is the notice of leaving
	linked  atomic.Bool // the previous hop is attached
	rejects atomic.Int32
	lost    atomic.Bool // the loss of a link is reported

	mu     sync.Mutex // guards all following fields
	ended  bool
	inputs sync.WaitGroup // the link's reader; Add only under mu while not ended
}

// serveSession owns a coordinator's stream from Open to its end.
func (h *Host) serveSession(ctx context.Context, n Node, s *Stream) {
	var o protocol.Open
	if err := h.readOpen(s, &o); err != nil {
		refuse(s, &o, err)
		return
	}
	defer h.join(s)()
	ss := &session{h: h, open: &o, coord: s, attached: make(chan struct{}), log: h.cfg.Log.With(zap.Stringer("session", o.Session), zap.Uint32("epoch", uint32(o.Epoch)))}
	ss.ctx, ss.cancel = context.WithCancel(ctx)
	defer ss.cancel()
	node, opened, err := n.OpenSession(s.ns.Conn().RemotePeer().String(), &o, ss.deliver)
	if err != nil {
		refuse(s, &o, err)
		return
	}
	ss.node = node
	defer node.Close()
	key := sessionKey{o.Session, o.Epoch, o.Index}
	if !h.sessions.add(key, ss) {
		refuse(s, &o, protocol.Errorf(protocol.CodeBadFrame, "session %s is open already: use a new ID or a higher epoch", o.Session))
		return
	}
	defer ss.wait()
	defer h.sessions.remove(key)

	// Attaching takes up to attachTimeout. The first output waits for it, not the coordinator; and where it fails the rows stay, for a
	// higher epoch along another route. Taking over takes as long as the rows take, and the coordinator waits for that; it may give up,
	// which the reader below sees.
	var attaching sync.WaitGroup
	attaching.Go(func() {
		defer close(ss.attached)
		if err := ss.answer(opened); err != nil {
			ss.report(err)
			ss.end()
			return
		}
		ss.attachNext()
	})
	ss.log.Debug("session open", zap.Stringer("layers", ss.hop().Layers))
	ss.read(s, ss.fromCoordinator())
	ss.cancel()
	attaching.Wait()
	ss.log.Debug("session ended")
}

// answer sends Opened, when the session has the rows that it is to begin with.
func (ss *session) answer(opened *protocol.Opened) error {
	if len(ss.open.Sources) > 0 {
		var err error
		if opened.CachedTo, err = ss.takeOver(opened.CachedTo); err != nil {
			return err
		}
	}
	if err := ss.coord.WriteFrame(opened); err != nil {
		return err
	}
	ss.opened.Store(true)
	ss.tellLeaving()
	return nil
}

// readOpen reads and checks the first frame of a session's stream.
func (h *Host) readOpen(s *Stream, o *protocol.Open) error {
	s.limits.idle = frameTimeout
	err := expect(s, o)
	s.limits.idle = 0
	if err != nil {
		*o = protocol.Open{}
		return err
	}
	if hop := o.Route[o.Index]; hop.Peer != h.ID().String() {
		return protocol.Errorf(protocol.CodeBadFrame, "hop %d of the route is %s, not this node", o.Index, hop.Peer)
	}
	return nil
}

// refuse answers an Open that cannot be served and ends the stream.
func refuse(s *Stream, o *protocol.Open, err error) {
	e := wireError(err)
	e.Session, e.Epoch = o.Session, o.Epoch
	if e.Layers.Len() == 0 && len(o.Route) > 0 {
		e.Layers = o.Route[o.Index].Layers
	}
	e.Peer = s.ns.Conn().LocalPeer().String()
	if err := s.WriteFrame(&e); err != nil {
		s.Reset(network.StreamProtocolViolation)
		return
	}
	s.Close()
}

func (ss *session) hop() *protocol.Hop { return &ss.open.Route[ss.open.Index] }

func (ss *session) direct() bool { return ss.open.Path == protocol.PathDirect }

func (ss *session) last() bool { return int(ss.open.Index) == len(ss.open.Route)-1 }

// fromCoordinator reports whether inputs come on the coordinator's stream.
func (ss *session) fromCoordinator() bool { return !ss.direct() || ss.open.Index == 0 }

// isPrevious reports whether p is the hop before this one.
func (ss *session) isPrevious(p peer.ID) bool {
	return ss.direct() && ss.open.Index > 0 && ss.open.Route[ss.open.Index-1].Peer == p.String()
}

// end unblocks the reader of the coordinator's stream; what was written is still delivered.
func (ss *session) end() {
	ss.cancel()
	ss.coord.Close()
}

// wait stops the link's reader and waits for it, so that no Submit follows.
func (ss *session) wait() {
	ss.cancel()
	ss.mu.Lock()
	ss.ended = true
	ss.mu.Unlock()
	ss.inputs.Wait()
}

// enter registers a link's reader; the caller defers inputs.Done when it returns true.
func (ss *session) enter() bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.ended || !ss.linked.CompareAndSwap(false, true) {
		return false
	}
	ss.inputs.Add(1)
	return true
}
