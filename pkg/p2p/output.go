// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// deliver sends the node's output on: to the next hop, or to the coordinator. It is the deliver of [Node].
func (ss *session) deliver(f protocol.Frame) error {
	if e, ok := f.(*protocol.Error); ok {
		ss.report(e)
		return nil
	}
	if !ss.direct() || ss.last() {
		return ss.coord.WriteFrame(f)
	}
	select {
	case <-ss.attached:
	case <-ss.ctx.Done():
		return context.Cause(ss.ctx)
	}
	if ss.next == nil {
		return errNoLink
	}
	if err := ss.next.WriteFrame(f); err != nil {
		ss.linkLost("the link to the next hop broke", err)
		return err
	}
	return nil
}

// report tells the coordinator about a failure, in this hop's name.
func (ss *session) report(err error) {
	e := wireError(err)
	e.Session, e.Epoch = ss.open.Session, ss.open.Epoch
	if e.Layers.Len() == 0 {
		e.Layers = ss.hop().Layers
	}
	e.Peer = ss.h.ID().String()
	if err := ss.coord.WriteFrame(&e); err != nil {
		ss.log.Debug("error not delivered", zap.Stringer("code", e.Code), zap.Error(err))
	}
}

// linkLost reports a broken link, once, and not when the session is ending anyway. The session stays: its KV cache is
// worth keeping for the next epoch.
func (ss *session) linkLost(what string, err error) {
	if ss.ctx.Err() != nil || ss.lost.Swap(true) {
		return
	}
	e := protocol.Errorf(protocol.CodeUnreachable, "%s: %v", what, err)
	lost, left := new(LostError), new(PeerError)
	switch {
	case errors.As(err, &lost):
		e.Lost = lost.Peer.String()
	case errors.As(err, &left) && left.Code == protocol.CodeDraining: // it is shutting down
		e.Lost = left.Peer.String()
	}
	ss.report(e)
}
