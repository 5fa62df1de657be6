// SPDX-License-Identifier: MIT

package p2p

import (
	"context"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Observed is how a peer sees a connection that was made from here. It is the peer's word.
type Observed struct {
	Peer        peer.ID
	Local, Seen multiaddr.Multiaddr // where it comes from, as known here and as the peer sees it
	Remote      multiaddr.Multiaddr // the peer's end
}

// Observe connects to peers, and returns how those that were dialled from here say they see it, until all have said so or ctx ends. Use
// a host of its own: connections that exist already say nothing.
func (h *Host) Observe(ctx context.Context, peers []peer.AddrInfo) ([]Observed, error) {
	sub, err := h.raw.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	waiting := map[peer.ID]bool{}
	for _, pi := range peers {
		if h.Connect(ctx, pi) == nil {
			waiting[pi.ID] = true
		}
	}
	var seen []Observed
	for len(waiting) > 0 {
		select {
		case e := <-sub.Out():
			id, ok := e.(event.EvtPeerIdentificationCompleted)
			if !ok || !waiting[id.Peer] || id.ObservedAddr == nil || id.Conn.Stat().Direction != network.DirOutbound {
				continue
			}
			delete(waiting, id.Peer)
			seen = append(seen, Observed{Peer: id.Peer, Local: id.Conn.LocalMultiaddr(), Seen: id.ObservedAddr, Remote: id.Conn.RemoteMultiaddr()})
		case <-ctx.Done():
			return seen, nil
		}
	}
	return seen, nil
}
