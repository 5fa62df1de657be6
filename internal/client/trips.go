// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Trips returns the round trips of the ways that a step takes along a route: to the first hop, from each hop to the next, and back from the
// last one; 0 where it is not known. Each is measured at one end: those between hops by the hop before, which measures a link that it does not
// know when it is asked, within seconds. Ask when nothing is generated that this could disturb.
func (c *Client) Trips(ctx context.Context, path protocol.Path, route []protocol.Hop) []time.Duration {
	trips := make([]time.Duration, len(route)+1)
	if len(route) == 0 {
		return trips
	}
	own := make([]time.Duration, len(route))
	for i, h := range route {
		if id, err := peer.Decode(h.Peer); err == nil {
			own[i] = c.host.RoundTrip(id)
		}
	}
	trips[0], trips[len(route)] = own[0], own[len(route)-1]
	var asking sync.WaitGroup
	for i := 1; i < len(route); i++ {
		if path == protocol.PathRelay {
			if own[i-1] > 0 && own[i] > 0 { // half of each: from the hop before to here, from here to the next one
				trips[i] = own[i-1] + own[i]
			}
			continue
		}
		asking.Go(func() { trips[i] = c.askTrip(ctx, &route[i-1], &route[i]) })
	}
	asking.Wait()
	return trips
}

// askTrip asks a node for the round trip to another.
func (c *Client) askTrip(ctx context.Context, from, to *protocol.Hop) time.Duration {
	pi, err := addrInfo(from.Peer, from.Addrs)
	if err != nil {
		return 0
	}
	links, err := c.host.Links(ctx, pi, []protocol.Contact{{Peer: to.Peer, Addrs: to.Addrs}})
	if err != nil {
		return 0
	}
	for _, l := range links {
		if l.Peer == to.Peer {
			return time.Duration(l.RTT)
		}
	}
	return 0
}
