// SPDX-License-Identifier: MIT

package doctor

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

const (
	maxPeers = 5                // nodes that are asked and measured
	askLimit = 20 * time.Second // for all answers to one question
)

// examineNetwork looks who is there, whether they reach a node here, how they see it, and what the ways to them are like.
func examineNetwork(ctx context.Context, cfg *Config, r *Report) {
	n := &cfg.Node
	listener, err := p2p.NewHost(p2p.Config{
		Listen: n.Listen, Swarm: n.Swarm, SwarmKey: n.SwarmKey, Open: n.Open, Version: n.Version, Log: n.Log,
	})
	if err != nil {
		r.add(Check{Name: "listening", State: Fail, Found: err.Error(), Advice: "a node that runs on this address already is stopped first, or --listen takes another port"})
		return
	}
	defer listener.Close()
	r.add(Check{Name: "listening", State: OK, Found: "on " + strings.Join(texts(listener.Addrs()), " "), Values: map[string]any{"addrs": texts(listener.Addrs())}})

	c, err := client.Dial(ctx, client.Config{
		Swarm: n.Swarm, SwarmKey: n.SwarmKey, Open: n.Open, Bootstrap: n.Bootstrap, NoMDNS: n.NoMDNS, RunDir: n.RunDir, StateRoot: cfg.StateRoot,
		Version: n.Version, Log: n.Log,
	})
	if err != nil {
		r.add(Check{Name: "peers", State: Fail, Found: err.Error()})
		return
	}
	defer c.Close()
	nodes := r.peers(ctx, c, cfg.Wait)
	if len(nodes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*askLimit)
	defer cancel()
	r.add(reached(ctx, c, listener, nodes))
	r.add(seen(ctx, cfg, nodes))
	r.links(ctx, c, nodes)
}

// peers says who is there, and returns some of them.
func (r *Report) peers(ctx context.Context, c *client.Client, wait time.Duration) []*discovery.Node {
	looking, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	view, err := c.Look(looking)
	if err != nil {
		view = c.View()
	}
	check := Check{Name: "peers", State: OK, Found: fmt.Sprintf("%d nodes of swarm %q", len(view.Nodes), view.Swarm), Values: map[string]any{"nodes": len(view.Nodes)}}
	if len(view.Nodes) == 0 {
		check.State, check.Found = Warn, fmt.Sprintf("nobody of swarm %q was found in %s", view.Swarm, wait)
		check.Advice = "the first node of a swarm finds nobody; else name one with --bootstrap, and look at --swarm and --swarm-key"
	}
	for _, m := range view.Models {
		if len(m.Missing) > 0 {
			check.State = Warn
			check.Advice = fmt.Sprintf("nobody serves layers %s of %s", m.Missing[0], m.Name)
		}
	}
	r.add(check)
	return view.Nodes[:min(len(view.Nodes), maxPeers)]
}

// reached has nodes dial a listener here that they do not know.
func reached(ctx context.Context, c *client.Client, listener *p2p.Host, nodes []*discovery.Node) Check {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	me := listener.ID().String()
	var by, not []string
	for _, n := range nodes {
		links, err := c.AskLinks(ctx, protocol.Hop{Peer: n.Status.Peer, Addrs: n.Status.Addrs}, []protocol.Contact{{Peer: me, Addrs: texts(listener.Addrs())}})
		switch {
		case err != nil:
			continue // it does not answer; others may
		case len(links) > 0 && links[0].Peer == me:
			by = append(by, n.Status.Peer)
		default:
			not = append(not, n.Status.Peer)
		}
	}
	check := Check{Name: "reachability", State: OK, Values: map[string]any{"reached_by": nonNil(by), "not_reached_by": nonNil(not)}}
	check.Found = fmt.Sprintf("%d of %d nodes asked reach a port of this machine", len(by), len(by)+len(not))
	if len(by)+len(not) == 0 {
		check.State, check.Found = Skip, "no node answered the question whether it reaches this machine"
	}
	if len(not) > 0 {
		check.State = Fail
		if len(by) > 0 {
			check.State = Warn
		}
		check.Advice = "open the UDP port in the firewall, or forward one at the router and start with --listen PORT --announce MULTIADDR; a VPN works too"
	}
	return check
}

// seen asks nodes how they see connections from here: that tells of the address translation in between.
func seen(ctx context.Context, cfg *Config, nodes []*discovery.Node) Check {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	n := &cfg.Node
	check := Check{Name: "nat", State: Skip}
	h, err := p2p.NewHost(p2p.Config{DialOnly: true, Swarm: n.Swarm, SwarmKey: n.SwarmKey, Open: n.Open, Version: n.Version, Log: n.Log})
	if err != nil {
		check.Found = err.Error()
		return check
	}
	defer h.Close()
	var peers []peer.AddrInfo
	for _, node := range nodes {
		id, err := peer.Decode(node.Status.Peer)
		if err != nil {
			continue
		}
		pi := peer.AddrInfo{ID: id}
		for _, s := range node.Status.Addrs {
			if a, err := multiaddr.NewMultiaddr(s); err == nil {
				pi.Addrs = append(pi.Addrs, a)
			}
		}
		peers = append(peers, pi)
	}
	observed, err := h.Observe(ctx, peers)
	if err != nil {
		check.Found = err.Error()
		return check
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		check.Found = err.Error()
		return check
	}
	return judgeNAT(observed, own)
}

// links measures the ways to nodes.
func (r *Report) links(ctx context.Context, c *client.Client, nodes []*discovery.Node) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	for _, n := range nodes {
		check := Check{Name: "link", State: OK, Values: map[string]any{"peer": n.Status.Peer}}
		l, err := c.Measure(ctx, n)
		if err != nil {
			check.State, check.Found = Warn, fmt.Sprintf("to %s (layers %s): %v", n.Status.Peer, n.Status.Layers, err)
			r.add(check)
			continue
		}
		bandwidth := "not known"
		if l.Bandwidth > 0 {
			bandwidth = cmdline.FormatBytes(int64(l.Bandwidth)) + "/s"
		}
		check.Found = fmt.Sprintf("to %s (layers %s): round trip %.2f ms, jitter %.2f ms, loss %.2f %%, bandwidth %s", n.Status.Peer, n.Status.Layers,
			millis(l.RTT), millis(l.Jitter), 100*l.Loss, bandwidth)
		check.Values["rtt_ms"], check.Values["jitter_ms"], check.Values["loss"], check.Values["bandwidth_bytes_per_second"] = millis(l.RTT), millis(l.Jitter), l.Loss, l.Bandwidth
		if l.Loss > 0.01 {
			check.State, check.Advice = Warn, "more than one packet of a hundred is lost: a cable in place of Wi-Fi, or larger UDP buffers"
		}
		r.add(check)
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func texts(addrs []multiaddr.Multiaddr) []string {
	out := []string{}
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
