// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// watches are the connections that carry session or link streams: the peer at the other end of each is watched.
type watches struct {
	mu sync.Mutex // guards all following fields, and those of watch that say so
	m  map[network.Conn]*watch
}

// watch is one of them. It has a goroutine of its own, which sends beats and judges the answers.
type watch struct {
	// Constant after construction.
	h    *Host
	conn network.Conn

	lost  atomic.Pointer[LostError]
	heard atomic.Int64 // last sign of life, ns since 1970; 0: none yet

	// Guarded by watches.mu.
	streams map[*Stream]struct{}
	empty   time.Time // when the last stream left
}

// join watches the peer of s until leave is called, and keeps the connection manager from trimming it. When the peer is lost,
// s fails with a [LostError]. Call it before s is used by several goroutines.
func (h *Host) join(s *Stream) (leave func()) {
	conn, tag := s.ns.Conn(), s.ns.ID()
	h.raw.ConnManager().Protect(conn.RemotePeer(), tag)
	h.watches.mu.Lock()
	defer h.watches.mu.Unlock()
	w := h.watches.m[conn]
	if w == nil {
		w = &watch{h: h, conn: conn, streams: make(map[*Stream]struct{})}
		if !conn.IsClosed() && h.enter() {
			h.watches.m[conn] = w
			go w.run()
		}
	}
	w.streams[s] = struct{}{}
	s.watch = w
	return func() {
		h.raw.ConnManager().Unprotect(conn.RemotePeer(), tag)
		h.watches.mu.Lock()
		defer h.watches.mu.Unlock()
		delete(w.streams, s)
		w.empty = time.Now()
	}
}

// has reports whether the peer is watched on c.
func (ws *watches) has(c network.Conn) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.m[c] != nil
}

// idle ends the watch if no stream needs it any more.
func (w *watch) idle(now time.Time) bool {
	w.h.watches.mu.Lock()
	defer w.h.watches.mu.Unlock()
	if len(w.streams) > 0 || now.Sub(w.empty) < watchLinger {
		return false
	}
	delete(w.h.watches.m, w.conn)
	return true
}

// remove takes the watch off the list and returns the streams that it had.
func (w *watch) remove() []*Stream {
	w.h.watches.mu.Lock()
	defer w.h.watches.mu.Unlock()
	delete(w.h.watches.m, w.conn)
	streams := make([]*Stream, 0, len(w.streams))
	for s := range w.streams {
		streams = append(streams, s)
	}
	return streams
}

// errSilent ends a watch: the peer gives no sign of life.
var errSilent = errors.New("silent")

// run watches until the peer is lost, the connection ends or nobody needs it.
func (w *watch) run() {
	defer w.h.exit()
	s := listenTo(w.conn)
	defer func() {
		w.h.cfg.Log.Debug("peer no longer watched", zap.Stringer("peer", w.conn.RemotePeer()), zap.Duration("mean", s.mean), zap.Duration("worst", max(s.worst, s.worstOld)))
	}()
	for {
		err := w.exchange(&s, w.idle)
		switch {
		case errors.Is(err, errSilent):
			w.lose(time.Since(s.heard))
			return
		case err == nil || w.h.ctx.Err() != nil:
			w.remove()
			return
		case w.conn.IsClosed(), broke(err) != "":
			w.gone(err)
			return
		case errors.As(err, new(multistream.ErrNotSupported[libp2pproto.ID])):
			w.h.cfg.Log.Debug("peer gives no signs of life: the transport alone tells of its loss", zap.Stringer("peer", w.conn.RemotePeer()))
			w.remove()
			return
		}
		// A peer that refuses the stream is alive, and may think better of it.
		w.h.cfg.Log.Debug("beat stream broke", zap.Stringer("peer", w.conn.RemotePeer()), zap.Error(err))
		if !w.pause(beatRetry) {
			w.gone(err)
			return
		}
		s.forget(time.Now())
		s.hear(time.Now())
	}
}

// listenTo begins to judge the silence of a connection's other end. What QUIC knows of the round trip is there from the handshake on.
func listenTo(conn network.Conn) silence {
	var s silence
	s.start(time.Now())
	if stats, ok := connStats(conn); ok {
		s.seed(stats.RTT, stats.Jitter)
	}
	return s
}

// pause waits, and reports whether to go on.
func (w *watch) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !w.conn.IsClosed()
	case <-w.h.ctx.Done():
		return false
	}
}

// exchange runs one beat stream. It returns nil when enough says so, errSilent, or why the stream broke.
func (w *watch) exchange(s *silence, enough func(now time.Time) bool) error {
	ctx, cancel := context.WithCancel(w.h.ctx)
	defer cancel()
	stream, err := w.openBeats(ctx)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer func() {
		cancel()
		stream.Reset(network.StreamNoError)
		running.Wait()
	}()

	beats, answers, broken := make(chan uint64, 1), make(chan uint64), make(chan error, 2)
	negotiated := make(chan struct{})
	running.Go(func() {
		err := multistream.SelectProtoOrFail(BeatProtocol, stream.ns)
		if err == nil {
			close(negotiated)
			running.Go(func() { broken <- sendBeats(ctx, stream, beats) })
			err = receiveBeats(ctx, stream, answers)
		}
		broken <- err
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for seen := w.packets(); ; {
		select {
		case <-timer.C:
		case <-negotiated:
			negotiated = nil // once
			s.hear(time.Now())
		case n := <-answers:
			s.answer(time.Now(), n)
		case err := <-broken:
			return err
		}
		now := time.Now()
		if n := w.packets(); n != seen {
			seen = n
			s.hear(now)
		}
		w.heard.Store(s.heard.UnixNano())
		beat, silent := s.tick(now)
		switch {
		case silent:
			return errSilent
		case enough(now):
			return nil
		case beat > 0:
			select {
			case beats <- beat:
			default: // the one before is not written yet: its answer, or its absence, tells as much
			}
		}
		timer.Reset(time.Until(s.wake()))
	}
}

// openBeats opens the beat stream on the very connection that is watched.
func (w *watch) openBeats(ctx context.Context) (*Stream, error) {
	ns, err := w.conn.NewStream(ctx)
	if err == nil {
		err = ns.SetProtocol(BeatProtocol)
	}
	if err == nil {
		err = ns.Scope().SetService(serviceName)
	}
	if err != nil {
		if ns != nil {
			_ = ns.ResetWithError(network.StreamResourceLimitExceeded)
		}
		return nil, err
	}
	return newStream(ns, beatLimits), nil
}

// sendBeats writes the beats that come.
func sendBeats(ctx context.Context, s *Stream, beats <-chan uint64) error {
	f := new(protocol.Beat)
	for {
		select {
		case f.Number = <-beats:
			if err := s.WriteFrame(f); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// receiveBeats passes the answers on.
func receiveBeats(ctx context.Context, s *Stream, answers chan<- uint64) error {
	f := new(protocol.Beat)
	for {
		if err := expect(s, f); err != nil {
			return err
		}
		select {
		case answers <- f.Number:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// packets counts what came from the peer on the connection, where the transport says so: QUIC runs in the peer's own
// process, so each packet is a sign of life.
func (w *watch) packets() uint64 {
	var c *quic.Conn
	if !w.conn.As(&c) {
		return 0
	}
	return c.ConnectionStats().PacketsReceived
}

// silentFor is how long nothing was heard of the peer; 0: nothing ever was.
func (w *watch) silentFor() time.Duration {
	if at := w.heard.Load(); at != 0 {
		return time.Since(time.Unix(0, at))
	}
	return 0
}

// gone ends the watch of a connection that has ended, which its streams notice by themselves. One that the peer closed is no news: it
// leaves.
func (w *watch) gone(err error) {
	lost := loss(w.conn, err)
	left := errors.Is(err, &network.ConnError{Remote: true, ErrorCode: network.ConnNoError})
	if streams := w.remove(); len(streams) == 0 || lost == nil || left || w.h.ctx.Err() != nil {
		return
	}
	lost.Silence = w.silentFor()
	w.log(lost)
}

func (w *watch) log(e *LostError) {
	w.h.peersLost.Add(1)
	w.h.cfg.Log.Info("peer lost", zap.Stringer("peer", e.Peer), zap.String("cause", string(e.Cause)), zap.Duration("silence", e.Silence))
}

// lose gives the peer up: its connection is closed, and the streams on it fail.
func (w *watch) lose(quiet time.Duration) {
	e := &LostError{Peer: w.conn.RemotePeer(), Cause: CauseSilent, Silence: quiet}
	w.lost.Store(e)
	w.log(e)
	streams := w.remove()
	var ending sync.WaitGroup
	for _, s := range streams {
		// Yamux may wait for a full socket; the readers are unblocked before.
		ending.Go(func() { s.Reset(network.StreamNoError) })
	}
	ending.Go(func() { _ = w.conn.CloseWithError(connSilent) })
	ending.Wait()
}

// answerBeats returns each beat of a stream. It does nothing else, so that nothing keeps it waiting.
func answerBeats(s *Stream) {
	f := new(protocol.Beat)
	for {
		if err := expect(s, f); err != nil {
			hangUp(s, err)
			return
		}
		if err := s.WriteFrame(f); err != nil {
			s.Reset(network.StreamNoError)
			return
		}
	}
}
