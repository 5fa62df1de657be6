// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Link is one direction between two members of a swarm, as its sender has measured it.
type Link struct {
	From, To  string // peer IDs; "": this coordinator
	RTT       time.Duration
	Jitter    time.Duration // standard deviation of one direction's delay
	Loss      float64       // share of packets
	Bandwidth float64       // bytes a second; 0: not known
}

// LinkMap is what is known of the links of a swarm.
type LinkMap struct {
	Links    []Link           // by sender, in the order of the nodes, the coordinator last
	Failures map[string]error // peers that did not answer, or could not be reached from here
}

// maxAsks bounds how often a node is asked for links that it did not tell: it measures those that it does not know, some at a time.
const maxAsks = 3

// Links asks the nodes for the links between them and to this coordinator, one after the other, so that no two measure at a time, and
// measures its own to them. What a node says of others than those asked for is left out.
func (c *Client) Links(ctx context.Context, nodes []*discovery.Node) (*LinkMap, error) {
	m := &LinkMap{Failures: map[string]error{}}
	me := c.host.ID().String()
	var contacts []protocol.Contact
	for _, n := range nodes {
		contacts = append(contacts, protocol.Contact{Peer: n.Status.Peer, Addrs: n.Status.Addrs})
	}
	contacts = append(contacts, protocol.Contact{Peer: me})
	for _, n := range nodes {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		pi, err := addrInfo(n.Status.Peer, n.Status.Addrs)
		if err == nil {
			// Before it is asked, so that there is a connection by which it can measure the way here.
			err = c.host.MeasureLink(ctx, pi)
		}
		if err == nil {
			err = c.askLinks(ctx, pi, contacts, m)
		}
		if err != nil {
			m.Failures[n.Status.Peer] = err
		}
	}
	for _, n := range nodes {
		id, err := peer.Decode(n.Status.Peer)
		if err != nil {
			continue
		}
		if l, at := c.host.Link(id); !at.IsZero() {
			m.add("", n.Status.Peer, &l)
		}
	}
	return m, ctx.Err()
}

// askLinks asks one node for its links to the others, until it has told all or tells no more.
func (c *Client) askLinks(ctx context.Context, pi peer.AddrInfo, contacts []protocol.Contact, m *LinkMap) error {
	from, me := pi.ID.String(), c.host.ID().String()
	missing := map[string]protocol.Contact{}
	for _, p := range contacts {
		if p.Peer != from {
			missing[p.Peer] = p
		}
	}
	for range maxAsks {
		var want []protocol.Contact
		for _, p := range contacts {
			if _, ok := missing[p.Peer]; ok && len(want) < protocol.MaxLinks {
				want = append(want, p)
			}
		}
		links, err := c.host.Links(ctx, pi, want)
		if err != nil {
			return err
		}
		before := len(missing)
		for i := range links {
			to := links[i].Peer
			if _, ok := missing[to]; !ok {
				continue
			}
			delete(missing, to)
			if to == me {
				to = ""
			}
			m.add(from, to, &links[i])
		}
		if len(missing) == 0 || len(missing) == before {
			break
		}
	}
	return nil
}

func (m *LinkMap) add(from, to string, l *protocol.LinkEstimate) {
	m.Links = append(m.Links, Link{
		From: from, To: to, RTT: time.Duration(l.RTT), Jitter: time.Duration(l.Jitter), Loss: float64(l.Loss) / protocol.MaxLoss, Bandwidth: float64(l.Bandwidth),
	})
}

// Get returns the link from one peer to another, and whether it is known.
func (m *LinkMap) Get(from, to string) (Link, bool) {
	for _, l := range m.Links {
		if l.From == from && l.To == to {
			return l, true
		}
	}
	return Link{}, false
}

// addrInfo is how a node is reached.
func addrInfo(id string, addrs []string) (peer.AddrInfo, error) {
	p, err := peer.Decode(id)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	pi := peer.AddrInfo{ID: p}
	for _, s := range addrs {
		if a, err := multiaddr.NewMultiaddr(s); err == nil {
			pi.Addrs = append(pi.Addrs, a)
		}
	}
	return pi, nil
}
