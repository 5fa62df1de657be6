// SPDX-License-Identifier: MIT

package p2p

import (
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/quic-go/quic-go"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// ErrPeerLost says that a session or link stream failed because the peer at its other end is gone: errors.As finds the
// [LostError], and the *protocol.Error whose Lost names the peer.
var ErrPeerLost = errors.New("peer lost")

// LossCause says how a peer was lost.
type LossCause string

// The causes.
const (
	CauseGone   LossCause = "gone"   // its process is: the connection was closed or reset there, or a restarted process does not know it
	CauseSilent LossCause = "silent" // no sign of life: it is frozen, killed, or cut off
	CauseLink   LossCause = "link"   // the way there broke: it did not hear us, or the connection was closed here
)

// LostError is the loss of a peer. errors.Is(err, [ErrPeerLost]) is true.
type LostError struct {
	Peer    peer.ID
	Cause   LossCause
	Silence time.Duration // since it was last heard; 0 where nobody was listening
	Err     error         // what the transport said
}

// Error implements error.
func (e *LostError) Error() string {
	s := "lost peer " + shortID(e.Peer) + ": "
	switch e.Cause {
	case CauseSilent:
		s += fmt.Sprintf("no sign of life for %s", e.Silence.Round(time.Millisecond))
	case CauseGone:
		s += "its process is gone"
	case CauseLink:
		s += "the connection broke"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns [ErrPeerLost], the wire form and the cause.
func (e *LostError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrPeerLost, e.Wire()}
	}
	return []error{ErrPeerLost, e.Wire(), e.Err}
}

// Wire returns the error as a frame. Nobody speaks in it yet.
func (e *LostError) Wire() *protocol.Error {
	return &protocol.Error{Code: protocol.CodeUnreachable, Message: e.Error(), Lost: e.Peer.String()}
}

// connSilent is the code a connection is closed with when its other end is taken for lost. libp2p's own are below 0x2000.
const connSilent network.ConnErrorCode = 0x5301

// loss returns what err, of a stream on c, says about the peer: nil while the connection lives.
func loss(c network.Conn, err error) *LostError {
	cause := broke(err)
	if cause == "" && c.IsClosed() && !errors.As(err, new(*network.ConnError)) && !errors.As(err, new(*network.StreamError)) {
		cause = CauseGone
	}
	if cause == "" {
		return nil
	}
	return &LostError{Peer: c.RemotePeer(), Cause: cause, Err: err}
}

// broke returns how the connection broke of which err tells; "" if it tells of no such thing. A connection that was refused did not
// break: classify has words for that.
func broke(err error) LossCause {
	var closed *network.ConnError
	switch {
	case errors.As(err, &closed):
		switch {
		case !closed.Remote, closed.ErrorCode == connSilent, closed.ErrorCode == network.ConnGarbageCollected:
			return CauseLink
		case closed.ErrorCode == network.ConnNoError, closed.ErrorCode == network.ConnShutdown:
			return CauseGone
		}
	case errors.As(err, new(*quic.StatelessResetError)):
		return CauseGone
	case errors.As(err, new(*quic.IdleTimeoutError)):
		return CauseSilent
	}
	return ""
}
