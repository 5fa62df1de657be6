// SPDX-License-Identifier: MIT

package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// streamLimits are a protocol's bounds on one stream.
type streamLimits struct {
	frame  int           // largest frame body accepted
	buffer int           // of the buffered reader
	idle   time.Duration // bound on the pause before a frame; 0: none
	write  time.Duration // bound on a blocked write; 0: by the frame's size
}

var (
	admitLimits   = streamLimits{frame: admitFrame, buffer: admitFrame, idle: AdmitTimeout}
	controlLimits = streamLimits{frame: controlFrame, buffer: 4 << 10, idle: statusIdle}
	chunkLimits   = streamLimits{frame: protocol.MaxChunk + controlFrame, buffer: readBuffer, idle: statusIdle}
	beatLimits    = streamLimits{frame: beatFrame, buffer: beatFrame, idle: statusIdle, write: silenceMost}
	measureLimits = streamLimits{frame: measureFrame, buffer: readBuffer, idle: statusIdle}
	moveLimits    = streamLimits{frame: protocol.MaxFrame, buffer: readBuffer, idle: frameTimeout}
	sessionLimits = streamLimits{frame: protocol.MaxFrame, buffer: readBuffer, write: sessionWrite}
)

// Stream carries frames over a libp2p stream. One goroutine reads; any may write.
type Stream struct {
	ns     network.Stream
	limits streamLimits
	br     *bufio.Reader
	body   frameBuffer // of the frame last read
	held   int         // bytes reserved with the resource manager for body
	came   bool        // something was read
	watch  *watch      // of the peer, while the stream carries a session; else nil. Set by Host.join

	wmu sync.Mutex // guards w
	w   frameBuffer
}

func newStream(ns network.Stream, l streamLimits) *Stream {
	return &Stream{ns: ns, limits: l, br: bufio.NewReaderSize(ns, l.buffer)}
}

// Peer returns the other end.
func (s *Stream) Peer() peer.ID { return s.ns.Conn().RemotePeer() }

// WriteFrame sends f in a single Write and keeps no reference to it.
func (s *Stream) WriteFrame(f protocol.Frame) error {
	if s.watch != nil && s.watch.lost.Load() != nil {
		return s.fail("write", nil) // its reset may be under way
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	b, err := protocol.Append(s.w.take(), f)
	if err != nil {
		return err
	}
	defer s.w.put(b)
	wait := s.limits.write
	if wait == 0 {
		wait = transferTime(len(b))
	}
	if err := s.ns.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return s.fail("write", err)
	}
	if _, err := s.ns.Write(b); err != nil {
		return s.fail("write", err)
	}
	return nil
}

// Next returns the next frame's type and body, valid until the next call. io.EOF is a clean end between frames; every
// other error leaves the stream unusable. From a frame's first byte on the rest must follow at frameRate.
func (s *Stream) Next() (protocol.Type, []byte, error) {
	if s.limits.idle > 0 {
		if err := s.ns.SetReadDeadline(time.Now().Add(s.limits.idle)); err != nil {
			return 0, nil, s.fail("read", err)
		}
	}
	if _, err := s.br.Peek(1); err != nil {
		if err == io.EOF {
			return 0, nil, io.EOF
		}
		return 0, nil, s.fail("read", err)
	}
	s.came = true
	body, err := s.readBody()
	if err != nil {
		return 0, nil, s.fail("read", err)
	}
	t, err := protocol.Peek(body)
	if err != nil {
		return 0, nil, s.bad(err)
	}
	return t, body, nil
}

func (s *Stream) readBody() ([]byte, error) {
	if err := s.ns.SetReadDeadline(time.Now().Add(transferTime(0))); err != nil {
		return nil, err
	}
	n, err := protocol.ReadLength(s.br, s.limits.frame)
	if err != nil {
		return nil, err
	}
	if n > s.br.Buffered() {
		if err := s.ns.SetReadDeadline(time.Now().Add(transferTime(n))); err != nil {
			return nil, err
		}
	}
	b := s.body.take()
	for len(b) < n {
		// Memory follows the bytes that came, not the length that was claimed.
		have := len(b)
		step := min(n-have, max(cap(b)-have, have, readBuffer))
		if err := s.reserve(have + step); err != nil {
			return nil, err
		}
		b = slices.Grow(b, step)[:have+step]
		if _, err := io.ReadFull(s.br, b[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	s.body.put(b)
	if err := s.reserve(cap(s.body.b)); err != nil {
		return nil, err
	}
	if err := s.ns.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return s.body.b, nil
}

// reserve accounts for a body buffer of n bytes; closing the stream gives it back.
func (s *Stream) reserve(n int) error {
	switch scope := s.ns.Scope(); {
	case n > s.held:
		if err := scope.ReserveMemory(n-s.held, network.ReservationPriorityAlways); err != nil {
			return err
		}
	case n < s.held:
		scope.ReleaseMemory(s.held - n)
	}
	s.held = n
	return nil
}

// transferTime is what a frame of n bytes may take.
func transferTime(n int) time.Duration {
	return frameTimeout + time.Duration(n)*time.Second/frameRate
}

// Close ends the stream: what was written is still delivered, what the peer sends is not read. libp2p's error here only
// says that the peer was first.
func (s *Stream) Close() { _ = s.ns.Close() }

// Reset drops the stream in both directions.
func (s *Stream) Reset(code network.StreamErrorCode) { _ = s.ns.ResetWithError(code) }

// hangUp ends a stream after Next failed with err or brought what was not due (err nil): politely when the peer has
// ended it, by name otherwise.
func hangUp(s *Stream, err error) {
	if errors.Is(err, io.EOF) {
		s.Close()
		return
	}
	s.Reset(network.StreamProtocolViolation)
}

// bind resets the stream when ctx ends, which unblocks reads and writes. stop undoes it.
func (s *Stream) bind(ctx context.Context, code network.StreamErrorCode) (stop func() bool) {
	return context.AfterFunc(ctx, func() { s.Reset(code) })
}

// decode decodes a body that Next returned.
func (s *Stream) decode(body []byte, f protocol.Frame) error {
	if err := protocol.DecodeInto(body, f); err != nil {
		return s.bad(err)
	}
	return nil
}

// bad is a frame that is not well-formed.
func (s *Stream) bad(err error) error {
	return &PeerError{Peer: s.Peer(), Op: "read a frame from", Code: protocol.CodeBadFrame, Err: err}
}

// fail maps an error of the stream to a typed one.
func (s *Stream) fail(verb string, err error) error {
	if lost := s.loss(err); lost != nil {
		return fmt.Errorf("%s %s: %w", verb, s.ns.Protocol(), lost)
	}
	return typed(fmt.Sprintf("%s %s", verb, s.ns.Protocol()), s.Peer(), err)
}

// loss returns the loss of the peer behind err, nil if it is not lost or not watched.
func (s *Stream) loss(err error) *LostError {
	if s.watch == nil || s.watch.h.ctx.Err() != nil {
		return nil
	}
	if lost := s.watch.lost.Load(); lost != nil {
		return lost
	}
	lost := loss(s.ns.Conn(), err)
	if lost != nil {
		lost.Silence = s.watch.silentFor()
	}
	return lost
}
