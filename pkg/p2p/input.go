// SPDX-License-Identifier: MIT

package p2p

import (
	"errors"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// inputFrames are decoded into again and again, so that a decode step allocates nothing here.
type inputFrames struct {
	step     protocol.Step
	result   protocol.IntermediateResult
	truncate protocol.Truncate
	resume   protocol.Resume
	close    protocol.Close
}

// frame returns the frame to decode type t into, nil if t is no input.
func (in *inputFrames) frame(t protocol.Type) protocol.Frame {
	switch t {
	case protocol.TypeStep:
		return &in.step
	case protocol.TypeIntermediateResult:
		return &in.result
	case protocol.TypeTruncate:
		return &in.truncate
	case protocol.TypeResume:
		return &in.resume
	case protocol.TypeClose:
		return &in.close
	}
	return nil
}

// identity returns the session and epoch that an input frame claims.
func identity(f protocol.Frame) (protocol.SessionID, protocol.Epoch) {
	switch f := f.(type) {
	case *protocol.Step:
		return f.Session, f.Epoch
	case *protocol.IntermediateResult:
		return f.Session, f.Epoch
	case *protocol.Truncate:
		return f.Session, f.Epoch
	case *protocol.Resume:
		return f.Session, f.Epoch
	case *protocol.Close:
		return f.Session, f.Epoch
	}
	return protocol.SessionID{}, 0
}

// read submits the frames of s until it ends. inputs says whether s carries them; the coordinator's stream of a later
// hop on the direct path carries only Close. A frame that is refused is reported and dropped; a frame that breaks the
// protocol ends the stream.
func (ss *session) read(s *Stream, inputs bool) {
	var in inputFrames
	for {
		t, body, err := s.Next()
		if err != nil {
			ss.readFailed(s, err)
			return
		}
		f := in.frame(t)
		if f == nil || !inputs && t != protocol.TypeClose {
			ss.fatal(s, protocol.Errorf(protocol.CodeBadFrame, "frame type %d is not for this stream", t))
			return
		}
		if err := s.decode(body, f); err != nil {
			ss.fatal(s, err)
			return
		}
		if err := ss.accept(f); err != nil {
			if ss.rejects.Add(1) >= maxRejects {
				ss.fatal(s, protocol.Errorf(protocol.CodeBadFrame, "%d frames refused, the last: %v", maxRejects, err))
				return
			}
			ss.report(err)
			continue
		}
		if t == protocol.TypeClose {
			s.Close()
			return
		}
		if err := ss.node.Submit(ss.ctx, f); err != nil {
			var refusal *protocol.Error
			if !errors.As(err, &refusal) || ss.rejects.Add(1) >= maxRejects {
				ss.fatal(s, err)
				return
			}
			ss.report(refusal)
		}
	}
}

// accept checks what the network layer knows: the session and its epoch.
func (ss *session) accept(f protocol.Frame) *protocol.Error {
	id, epoch := identity(f)
	switch {
	case id != ss.open.Session:
		return protocol.Errorf(protocol.CodeSessionNotFound, "session %s is not the one of this stream", id)
	case epoch < ss.open.Epoch:
		return protocol.Errorf(protocol.CodeStaleEpoch, "epoch %d is over, this is %d", epoch, ss.open.Epoch)
	case epoch > ss.open.Epoch:
		return protocol.Errorf(protocol.CodeOutOfOrder, "epoch %d has not begun, this is %d", epoch, ss.open.Epoch)
	}
	return nil
}

// readFailed handles the end of a stream. The coordinator's ends the session in silence; the loss of a link is news.
func (ss *session) readFailed(s *Stream, err error) {
	if ss.ctx.Err() != nil || ended(err) {
		s.Close()
		return
	}
	hangUp(s, err)
	if s != ss.coord {
		ss.linkLost("the link from the previous hop broke", err)
	}
}

// fatal reports err and ends s.
func (ss *session) fatal(s *Stream, err error) {
	ss.report(err)
	if s == ss.coord {
		s.Close()
		return
	}
	s.Reset(network.StreamProtocolViolation)
}
