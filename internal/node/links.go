// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/discovery"
)

const (
	// linkEvery is the pause between two measurements of links, of one link each.
	linkEvery = 5 * time.Second
	// linkAge is how old an estimate may become while there are others to renew.
	linkAge = time.Minute
)

// measureLinks keeps the estimates of the links to the nodes of the model that are known, until ctx ends: one after the other, the oldest
// first.
func (n *Node) measureLinks(ctx context.Context) {
	ticker := time.NewTicker(linkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if pi, ok := n.oldestLink(); ok {
			if err := n.host.MeasureLink(ctx, pi); err != nil && ctx.Err() == nil {
				n.log.Debug("link not measured", zap.Stringer("peer", pi.ID), zap.Error(err))
			}
		}
	}
}

// oldestLink is the peer whose link was measured longest ago, if that is long.
func (n *Node) oldestLink() (peer.AddrInfo, bool) {
	oldest := time.Now().Add(-linkAge)
	var found peer.AddrInfo
	for _, other := range n.finder.Peek().Nodes() {
		pi, ok := contact(other)
		if !ok || other.Status.Model != n.modelID || pi.ID == n.host.ID() {
			continue
		}
		if _, at := n.host.Link(pi.ID); at.Before(oldest) {
			oldest, found = at, pi
		}
	}
	return found, found.ID != ""
}

// contact is how a node is reached.
func contact(other *discovery.Node) (peer.AddrInfo, bool) {
	id, err := peer.Decode(other.Status.Peer)
	pi := peer.AddrInfo{ID: id}
	for _, s := range other.Status.Addrs {
		if a, err := multiaddr.NewMultiaddr(s); err == nil {
			pi.Addrs = append(pi.Addrs, a)
		}
	}
	return pi, err == nil
}
