// SPDX-License-Identifier: MIT

package survey_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const modelLayers = 16

// The model's rows of hidden states take four packets.
var (
	modelFile = sync.OnceValue(func() *gguf.File {
		spec := testmodel.Default()
		spec.Layers, spec.Hidden, spec.Heads, spec.KVHeads, spec.FFN, spec.Context = modelLayers, 1024, 16, 2, 32, 256
		return must(gguf.Parse(testmodel.Bytes(spec)))
	})
	modelManifest = sync.OnceValue(func() *gguf.Manifest { return must(gguf.BuildManifest(modelFile())) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func layerRange(s string) protocol.LayerRange { return must(protocol.ParseLayerRange(s)) }

// sleep is compute in virtual and in real time.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// member is a node of a test's swarm. A row takes PerLayer for each of its layers, up to eight rows as long as one.
type member struct {
	layers   string
	perLayer time.Duration
	change   func(*node.Config)
}

// swarm runs members on loopback, or on net, each known to all by the first one's address, and a coordinator. host i of net is member i, the
// coordinator comes last. Call stop before net is closed.
func swarm(t *testing.T, net *testnet.Sim, members []member) (nodes []*node.Node, c *client.Client, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	for _, m := range members {
		r := layerRange(m.layers)
		cfg := node.Config{
			File: modelFile(), Manifest: modelManifest(), ModelName: "test", Layers: r, KVBudget: 64 << 20, NoMDNS: true, Version: "test", Sleep: sleep,
			StepCost: func(rows int) time.Duration { return stepCost(m.perLayer, r, rows) },
		}
		if net != nil {
			cfg.Listen, cfg.HostOptions = net.Endpoint()
		} else {
			cfg.Listen = []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")}
		}
		if len(nodes) > 0 {
			cfg.Bootstrap = []string{address(nodes[0])}
		}
		if m.change != nil {
			m.change(&cfg)
		}
		nodes = append(nodes, must(node.New(ctx, cfg)))
	}
	cfg := client.Config{Bootstrap: []string{address(nodes[0])}, NoMDNS: true, Version: "test"}
	if net != nil {
		_, cfg.HostOptions = net.Endpoint()
	}
	c = must(client.Dial(ctx, cfg))
	if net != nil {
		net.Start()
	}
	var running sync.WaitGroup
	for _, n := range nodes {
		running.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return nodes, c, func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		running.Wait()
	}
}

// stepCost is what a step of so many rows takes: as long as one row up to eight of them, then in proportion.
func stepCost(perLayer time.Duration, r protocol.LayerRange, rows int) time.Duration {
	return perLayer * time.Duration(r.Len()) * time.Duration(max(8, rows)) / 8
}

func address(n *node.Node) string {
	return n.Host().Addrs()[0].String() + "/p2p/" + n.Host().ID().String()
}

// patience bounds what a test waits for.
const patience = time.Minute

// generations are the times a token of some generations along a route.
func generations(t *testing.T, c *client.Client, hops []protocol.Hop, prompt, tokens, runs int) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	target, err := c.Find(ctx, client.Selector{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Model(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	target.Hops = hops
	var all []time.Duration
	for range runs {
		r, err := c.Generate(ctx, target, m, &client.Request{Tokens: make([]protocol.TokenID, prompt), MaxTokens: uint32(tokens)}, client.Observer{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Report.DecodeSteps == 0 {
			t.Fatal("no decode steps")
		}
		all = append(all, r.Report.Decode/time.Duration(r.Report.DecodeSteps))
	}
	return all
}

// median is that of an even number.
func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return (all[len(all)/2-1] + all[len(all)/2]) / 2
}

// mean also counts the losses that a median does not see.
func mean(all []time.Duration) time.Duration {
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	return sum / time.Duration(len(all))
}

// hops is a plan's route as the coordinator takes it.
func hops(nodes []*node.Node, route []solver.Hop) []protocol.Hop {
	var out []protocol.Hop
	for _, h := range route {
		st := nodes[h.Device].Status()
		out = append(out, protocol.Hop{Peer: st.Peer, Addrs: st.Addrs, Layers: h.Layers})
	}
	return out
}
