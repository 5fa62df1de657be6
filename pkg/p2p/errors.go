// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multistream"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// PeerError is a failure of the network or of a peer's conduct, with the code that a coordinator acts on:
// errors.Is(err, &protocol.Error{Code: protocol.CodeBusy}) and errors.As to *protocol.Error both work.
type PeerError struct {
	Peer peer.ID
	Op   string // what was being done
	Code protocol.Code
	Hint string // in words; "" where Err says it all
	Err  error  // what libp2p said
}

// Error implements error.
func (e *PeerError) Error() string {
	s := e.Op + " " + shortID(e.Peer) + ": "
	if e.Hint != "" {
		s += e.Hint + ": "
	}
	return s + e.Err.Error()
}

// Unwrap returns the wire form and the cause.
func (e *PeerError) Unwrap() []error { return []error{e.Wire(), e.Err} }

// Wire returns the error as a frame.
func (e *PeerError) Wire() *protocol.Error {
	return &protocol.Error{Code: e.Code, Message: e.Op + ": " + firstOf(e.Hint, e.Err.Error()), Peer: e.Peer.String()}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// shortID is the tail of a peer ID: Ed25519 IDs all begin alike.
func shortID(p peer.ID) string {
	s := p.String()
	return "…" + s[max(0, len(s)-8):]
}

// typed maps an error of a stream or connection. Errors that carry a code already are only wrapped.
func typed(op string, p peer.ID, err error) error {
	if err == nil {
		return nil
	}
	var wire *protocol.Error
	if errors.As(err, &wire) {
		return fmt.Errorf("%s %s: %w", op, shortID(p), err)
	}
	code, hint := classify(err)
	return &PeerError{Peer: p, Op: op, Code: code, Hint: hint, Err: err}
}

// streamCodes is what a reset code of the other side means. Streams fail lazily: opening and writing succeed, and the
// refusal shows at the first read.
var streamCodes = map[network.StreamErrorCode]struct {
	code protocol.Code
	hint string
}{
	network.StreamProtocolNegotiationFailed: {protocol.CodeUnreachable, "it does not speak this protocol (not a shard node, or another version)"},
	network.StreamResourceLimitExceeded:     {protocol.CodeBusy, "it has too many streams open, try another or later"},
	network.StreamRateLimited:               {protocol.CodeBusy, "it limits our rate, try another or later"},
	network.StreamProtocolViolation:         {protocol.CodeBadFrame, "it refused a frame as malformed or too large"},
	network.StreamShutdown:                  {protocol.CodeDraining, "it is shutting down, try another"},
	network.StreamGated:                     {protocol.CodeForbidden, "it has not admitted us"},
}

var (
	errNoAnswer = errors.New("the peer ended the stream without an answer")
	errClosed   = errors.New("the host is closed")
	errEnded    = errors.New("the peer ended the session")
	errNoLink   = errors.New("there is no link to the next hop")
)

// ended reports whether the other side ended a stream on purpose: at a frame's end, or by a reset without a reason.
func ended(err error) bool {
	var se *network.StreamError
	return errors.Is(err, io.EOF) || errors.As(err, &se) && se.Remote && se.ErrorCode == network.StreamNoError
}

func classify(err error) (protocol.Code, string) {
	var se *network.StreamError
	if errors.As(err, &se) {
		if c, ok := streamCodes[se.ErrorCode]; ok && se.Remote {
			return c.code, c.hint
		}
		return protocol.CodeUnreachable, ""
	}
	var ce *network.ConnError
	if errors.As(err, &ce) && ce.Remote {
		switch ce.ErrorCode {
		case network.ConnGated:
			return protocol.CodeForbidden, "it closed the connection to a node it has not admitted"
		case network.ConnResourceLimitExceeded, network.ConnRateLimited:
			return protocol.CodeBusy, "it has too many connections, try another or later"
		}
	}
	var unsupported multistream.ErrNotSupported[libp2pproto.ID]
	switch {
	case errors.As(err, &unsupported):
		return protocol.CodeUnreachable, streamCodes[network.StreamProtocolNegotiationFailed].hint
	case errors.Is(err, protocol.ErrTooLong), errors.Is(err, protocol.ErrTruncated), errors.Is(err, protocol.ErrNotCanonical):
		return protocol.CodeBadFrame, ""
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return protocol.CodeBusy, "too many streams or connections here, close some first"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return protocol.CodeBadFrame, "the stream ended within a frame"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, swarm.ErrDialTimeout):
		return protocol.CodeUnreachable, "it does not answer in time"
	case errors.Is(err, swarm.ErrGaterDisallowedConnection):
		return protocol.CodeForbidden, "its addresses are public: pass --swarm-key FILE, or --open to reach strangers"
	}
	return protocol.CodeUnreachable, ""
}

// wireError is a copy of err as a frame; encoding cuts a message that is too long.
func wireError(err error) protocol.Error {
	e := protocol.Error{Code: protocol.CodeInternal, Message: err.Error()}
	var wire *protocol.Error
	if errors.As(err, &wire) {
		e = *wire
	}
	return e
}
