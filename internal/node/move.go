// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// obeys reports whether the operator has named p as an administrator.
func (n *Node) obeys(p peer.ID) bool {
	for _, admin := range n.cfg.Admins {
		if admin == p {
			return true
		}
	}
	return false
}

// Move makes the node serve another range. It returns when the move is sure to begin: the node drains, loads and serves then, and its
// [Node.Status] tells how far it is. A refusal is a *protocol.Error.
func (n *Node) Move(f *protocol.Move) error {
	s := n.current.Load()
	switch {
	case f.Model != n.modelID:
		return protocol.Errorf(protocol.CodeWrongModel, "this node serves model %s, not %s", n.modelID.Short(), f.Model.Short())
	case s == nil:
		return protocol.Errorf(protocol.CodeBusy, "this node is loading layers: ask again when it serves them")
	case s.layers != f.Have:
		return protocol.Errorf(protocol.CodeWrongLayers, "this node serves layers %s, not %s: make a new plan", s.layers, f.Have)
	case !f.Take.Valid(n.modelConfig.NLayers):
		return protocol.Errorf(protocol.CodeWrongLayers, "the model has %d layers", n.modelConfig.NLayers)
	}
	if _, err := n.planRange(f.Take); err != nil {
		return protocol.Errorf(protocol.CodeWrongLayers, "%v", err)
	}
	if n.isLeaving() {
		return protocol.Errorf(protocol.CodeDraining, "this node is leaving")
	}
	if n.moving.Swap(true) {
		return protocol.Errorf(protocol.CodeBusy, "this node moves already")
	}
	n.moves <- f.Take // moving makes sure that there is room
	return nil
}

func (n *Node) isLeaving() bool {
	select {
	case <-n.leaving:
		return true
	default:
		return false
	}
}

// move drains, loads take and serves it. Where memory allows, the new range is loaded before the old one is given up, so that sessions
// which nobody else can take wait for as short as can be. The error is fatal: neither range can be served.
func (n *Node) move(ctx, asked context.Context, take protocol.LayerRange) error {
	defer n.moving.Store(false)
	old := n.current.Load()
	// Who has some of its layers too must not count on this node any more and leave them. Where nobody has, it may be asked for them as long as
	// it serves them. A node that does not choose has not looked at the others lately.
	if !n.about.Swap(true) {
		n.listen(asked, placement.LookQuiet, placement.LookMost)
		n.about.Store(n.shared(old.layers))
	}
	defer n.about.Store(false)
	n.log.Info("moving to other layers", zap.Stringer("from", old.layers), zap.Stringer("to", take))
	var next *shard
	if plan, err := n.planRange(take); err == nil && (n.available == 0 || old.plan.Total()+plan.Weights <= n.available) {
		if next, err = n.load(asked, take); err != nil {
			if asked.Err() == nil {
				n.log.Warn("cannot move: the layers stay as they are", zap.Error(err))
			}
			return nil
		}
	}
	n.drain(asked)
	if asked.Err() != nil { // it leaves instead
		if next != nil {
			next.model.Close()
		}
		return nil
	}
	n.pending.Store(&take)
	n.current.Store(nil)
	n.about.Store(false)
	if err := old.stop(); err != nil {
		return err
	}
	old.model.Close()
	n.host.Stay()
	defer n.pending.Store(nil)
	var err error
	if next == nil {
		next, err = n.load(asked, take)
	}
	if err == nil {
		if err = n.equip(next); err != nil {
			next.model.Close()
		}
	}
	if err != nil && asked.Err() == nil {
		n.log.Warn("cannot move: going back to the old layers", zap.Stringer("layers", old.layers), zap.Error(err))
		if next, err = n.load(asked, old.layers); err == nil {
			err = n.equip(next)
		}
	}
	if asked.Err() != nil {
		if err == nil {
			next.model.Close()
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("serve layers %s again: %w", old.layers, err)
	}
	n.begin(next)
	return nil
}

// begin serves a range.
func (n *Node) begin(s *shard) {
	s.start()
	n.current.Store(s)
	n.pending.Store(nil)
	if n.cfg.Placed != nil {
		n.cfg.Placed(s.plan)
	}
}
