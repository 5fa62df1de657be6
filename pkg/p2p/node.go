// SPDX-License-Identifier: MIT

package p2p

import (
	"context"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Node is what a shard node serves; package engine has one, and cmd joins the two. All methods may be called
// concurrently.
type Node interface {
	// Status says what the node serves and how busy it is. The host fills in Peer, Swarm, Version and Addrs.
	Status() *protocol.Status

	// Manifest returns the model's manifest, whose SHA-256 is Status().Model. The caller does not change it.
	Manifest() []byte

	// OpenSession reserves what o asks for, on behalf of the peer from, or refuses with a *protocol.Error. The session's output goes to deliver,
	// in order, from one goroutine at a time: *protocol.IntermediateResult, *protocol.Truncate and *protocol.Resume to the next
	// hop or the coordinator as the path says, *protocol.Error to the coordinator. deliver blocks while the receiver is
	// slow, has encoded the frame when it returns, and keeps no reference to it. It must not be called from within
	// OpenSession. After its first error the output has nowhere to go.
	OpenSession(from string, o *protocol.Open, deliver func(protocol.Frame) error) (Session, *protocol.Opened, error)

	// Export sends the rows that f asks for, in order, in one part or several; it has no use for a part when send returns. A
	// *protocol.Error refuses.
	Export(ctx context.Context, f *protocol.Export, send func(*protocol.KVRows) error) error
}

// Session is one session of a node.
type Session interface {
	// Submit queues *protocol.Step, *protocol.IntermediateResult, *protocol.Truncate or *protocol.Resume; calls come in order, one at a
	// time. The frame and everything it points to belong to the caller again when Submit returns: it copies what it
	// keeps. It blocks while the queue is full, until ctx ends. A *protocol.Error refuses the frame and leaves the
	// session as it was; any other error ends the session.
	Submit(ctx context.Context, f protocol.Frame) error

	// Import takes over rows that another node computed, before the first Submit: the next ones of f.Layers. The frame belongs to
	// the caller again when it returns. A *protocol.Error refuses the part.
	Import(ctx context.Context, f *protocol.KVRows) error

	// Imported ends the taking over, and returns how many rows the session has in all its layers now.
	Imported(ctx context.Context) (uint32, error)

	// Close frees the session. No Submit runs or follows; deliver may still be running and then fails.
	Close()
}

// Serve answers status, model and session requests with n. Call it once.
func (h *Host) Serve(n Node) {
	h.handle(StatusProtocol, controlLimits, func(_ context.Context, s *Stream) { h.serveStatus(n, s) })
	h.handle(ModelProtocol, controlLimits, func(_ context.Context, s *Stream) { serveModel(n, s) })
	h.handle(SessionProtocol, sessionLimits, func(ctx context.Context, s *Stream) { h.serveSession(ctx, n, s) })
	h.handle(LinkProtocol, sessionLimits, func(ctx context.Context, s *Stream) { h.serveLink(s) })
	h.handle(MoveProtocol, controlLimits, func(ctx context.Context, s *Stream) { h.serveMove(ctx, n, s) })
}
