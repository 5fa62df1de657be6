// SPDX-License-Identifier: MIT

package p2p

import (
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// deliver sends the node's output on: to the next hop, or to the coordinator. It is the deliver of [Node].
func (ss *session) deliver(f protocol.Frame) error {
	if e, ok := f.(*protocol.Error); ok {
		ss.report(e)
		return nil
	}
	next := ss.next.Load()
	if next == nil {
		return ss.coord.WriteFrame(f)
	}
	if err := next.WriteFrame(f); err != nil {
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
	ss.report(protocol.Errorf(protocol.CodeUnreachable, "%s: %v", what, err))
}
