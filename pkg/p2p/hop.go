// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// HopStream is the coordinator's end of a session at one hop. One goroutine receives; any may send.
type HopStream struct {
	s      *Stream
	hop    protocol.Hop
	leave  func() // ends the watch
	opened protocol.Opened
	result protocol.IntermediateResult
	trunc  protocol.Truncate
	resume protocol.Resume
}

// OpenHop opens a session at one hop of o.Route and returns when the hop has reserved its memory. On the direct path hops
// then reach for each other: open all of them at the same time; a next hop that cannot be reached is a *protocol.Error that
// [HopStream.Recv] brings. A refusal is a *protocol.Error. From here on the peer is watched: when it is lost, Send and Recv fail
// with [ErrPeerLost]. ctx bounds the opening only; end the session with [HopStream.Close].
func (h *Host) OpenHop(ctx context.Context, hop protocol.Hop, o *protocol.Open) (*HopStream, error) {
	pi, err := hopInfo(&hop)
	if err != nil {
		return nil, err
	}
	timeout := openTimeout
	if len(o.Sources) > 0 {
		timeout += moveTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, stop, err := h.open(ctx, pi, SessionProtocol, sessionLimits)
	if err != nil {
		return nil, hopError(&hop, err)
	}
	hs := &HopStream{s: s, hop: hop, leave: h.join(s)}
	if err = s.WriteFrame(o); err == nil {
		err = expect(s, &hs.opened)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil && (hs.opened.Session != o.Session || hs.opened.Epoch != o.Epoch) {
		err = protocol.Errorf(protocol.CodeBadFrame, "the answer to Open is for another session")
	}
	if err != nil {
		hs.Close()
		return nil, hopError(&hop, typed("open a session at", pi.ID, err))
	}
	return hs, nil
}

// hopError names the shard. A refusal of the hop's own names it already.
func hopError(hop *protocol.Hop, err error) error {
	var wire *protocol.Error
	if errors.As(err, &wire) && wire.Layers.Len() > 0 {
		return err
	}
	return fmt.Errorf("shard %s: %w", hop.Layers, err)
}

// Hop returns the hop that the stream goes to.
func (hs *HopStream) Hop() protocol.Hop { return hs.hop }

// Opened returns the hop's answer to Open.
func (hs *HopStream) Opened() protocol.Opened { return hs.opened }

// Send sends *protocol.Step, *protocol.IntermediateResult, *protocol.Truncate or *protocol.Resume; the frame is free when it returns.
// It blocks while the hop is behind.
func (hs *HopStream) Send(f protocol.Frame) error {
	if err := hs.s.WriteFrame(f); err != nil {
		return hopError(&hs.hop, err)
	}
	return nil
}

// Recv returns the next *protocol.IntermediateResult, *protocol.Truncate, *protocol.Resume, *protocol.Leaving or *protocol.Error of
// the hop. The first three are valid until the next Recv. An Error does not end the stream by itself; an error returned does.
func (hs *HopStream) Recv() (protocol.Frame, error) {
	t, body, err := hs.s.Next()
	if errors.Is(err, io.EOF) {
		err = hs.s.fail("read", errEnded)
	}
	if err != nil {
		return nil, hopError(&hs.hop, err)
	}
	var f protocol.Frame
	switch t {
	case protocol.TypeIntermediateResult:
		f = &hs.result
	case protocol.TypeTruncate:
		f = &hs.trunc
	case protocol.TypeResume:
		f = &hs.resume
	case protocol.TypeLeaving:
		f = new(protocol.Leaving)
	case protocol.TypeError:
		f = new(protocol.Error)
	default:
		return nil, hopError(&hs.hop, protocol.Errorf(protocol.CodeBadFrame, "frame type %d is not an answer", t))
	}
	if err := hs.s.decode(body, f); err != nil {
		return nil, hopError(&hs.hop, err)
	}
	return f, nil
}

// Bind closes the stream when ctx ends, which unblocks Send and Recv. stop undoes it.
func (hs *HopStream) Bind(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, hs.Close)
}

// Close ends the session at the hop, which frees its KV memory. It unblocks Send and Recv and may be called twice.
func (hs *HopStream) Close() {
	hs.s.Reset(network.StreamNoError)
	hs.leave()
}
