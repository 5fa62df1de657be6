// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardnode/shardnode/pkg/discovery"
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
		own[i] = c.RoundTrip(h.Peer)
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
		asking.Go(func() {
			links, _ := c.AskLinks(ctx, route[i-1], []protocol.Contact{{Peer: route[i].Peer, Addrs: route[i].Addrs}})
			for _, l := range links {
				if l.Peer == route[i].Peer {
					trips[i] = time.Duration(l.RTT)
				}
			}
		})
	}
	asking.Wait()
	return trips
}

// RoundTrip returns the round trip to a peer, as far as it is known here; else 0.
func (c *Client) RoundTrip(id string) time.Duration {
	p, err := peer.Decode(id)
	if err != nil {
		return 0
	}
	return c.host.RoundTrip(p)
}

// AskLinks asks a node for the links that it knows. It measures those to want that it does not know, within seconds; they come first.
func (c *Client) AskLinks(ctx context.Context, h protocol.Hop, want []protocol.Contact) ([]protocol.LinkEstimate, error) {
	pi, err := addrInfo(h.Peer, h.Addrs)
	if err != nil {
		return nil, err
	}
	return c.host.Links(ctx, pi, want)
}

// Measure measures the way to a node.
func (c *Client) Measure(ctx context.Context, n *discovery.Node) (Link, error) {
	pi, err := addrInfo(n.Status.Peer, n.Status.Addrs)
	if err != nil {
		return Link{}, err
	}
	if err := c.host.MeasureLink(ctx, pi); err != nil {
		return Link{}, err
	}
	l, _ := c.host.Link(pi.ID)
	var m LinkMap
	m.add("", n.Status.Peer, &l)
	return m.Links[0], nil
}

// Collector returns what Prometheus may know of the coordinator's connections; names begin with namespace.
func (c *Client) Collector(namespace string) prometheus.Collector {
	return c.host.Collector(namespace, func() func(peer.ID) bool {
		d := c.finder.Peek()
		return func(p peer.ID) bool { return d.Node(p.String()) != nil }
	})
}
