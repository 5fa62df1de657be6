// SPDX-License-Identifier: MIT

package survey_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestMovesLoseNoRequest: while nodes are moved from one tiling to another and back, generations go on; all end, with the tokens of a
// swarm that nobody moves. A node obeys only whom its operator has named.
func TestMovesLoseNoRequest(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		t.Fatal(err)
	}
	admin := must(peer.IDFromPrivateKey(key))
	obey := func(c *node.Config) { c.Admins, c.DrainTime = []peer.ID{admin}, 300*time.Millisecond }
	nodes, c, stop := swarm(t, nil, []member{{"0-3", 0, obey}, {"4-15", 0, obey}, {"0-15", 2 * time.Millisecond, nil}})
	defer stop()
	boss := must(client.Dial(t.Context(), client.Config{Bootstrap: []string{address(nodes[0])}, NoMDNS: true, Version: "test", Key: key}))
	defer boss.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	order := func(c *client.Client, n *node.Node, have, take string) error {
		st := n.Status()
		return c.Move(ctx, st.Peer, st.Addrs, &protocol.Move{Model: st.Model, Have: layerRange(have), Take: layerRange(take)})
	}
	for name, x := range map[string]struct {
		by         *client.Client
		n          *node.Node
		have, take string
		code       protocol.Code
	}{
		"a stranger":            {c, nodes[0], "0-3", "0-7", protocol.CodeForbidden},
		"a node without admins": {boss, nodes[2], "0-15", "0-7", protocol.CodeForbidden},
		"an old plan":           {boss, nodes[0], "0-4", "0-7", protocol.CodeWrongLayers},
		"no such layers":        {boss, nodes[0], "0-3", "0-16", protocol.CodeWrongLayers},
	} {
		var refused *protocol.Error
		if err := order(x.by, x.n, x.have, x.take); !errors.As(err, &refused) || refused.Code != x.code {
			t.Errorf("%s: %v, want %s", name, err, x.code)
		}
	}

	target, err := c.Find(ctx, client.Selector{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Model(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	route := []solver.Hop{{Device: 0, Layers: layerRange("0-3")}, {Device: 1, Layers: layerRange("4-15")}} // heals to what there is
	generate := func() ([]protocol.TokenID, int) {
		own := *target
		own.Hops = hops(nodes, route)
		r, err := c.Generate(ctx, &own, m, &client.Request{Tokens: []protocol.TokenID{5, 6, 7}, MaxTokens: 60}, client.Observer{})
		if err != nil {
			t.Errorf("a generation was lost: %v", err)
			return nil, 0
		}
		return r.Tokens, len(r.Report.Recoveries)
	}
	want, _ := generate()
	var running sync.WaitGroup
	var mu sync.Mutex
	moved := 0
	begun := make(chan struct{}, 3)
	for range 3 {
		running.Go(func() {
			for begun <- struct{}{}; ctx.Err() == nil; {
				got, recoveries := generate()
				if !slices.Equal(got, want) {
					t.Errorf("%d tokens, want the %d of a swarm at rest", len(got), len(want))
				}
				mu.Lock()
				moved += recoveries
				enough := moved > 0
				mu.Unlock()
				if enough || t.Failed() {
					return
				}
			}
		})
	}
	for range 3 {
		<-begun
	}
	for _, x := range []struct {
		n          *node.Node
		have, take string
	}{{nodes[1], "4-15", "2-15"}, {nodes[0], "0-3", "0-1"}} {
		if err := order(boss, x.n, x.have, x.take); err != nil {
			t.Error(err)
			break
		}
		if st := x.n.Status(); st.Layers != layerRange(x.take) || st.Draining || st.Loading {
			t.Errorf("after the move: %+v", st)
		}
	}
	running.Wait()
	t.Logf("%d recoveries", moved)
}

// roomFor is memory for so many layers of the middle.
func roomFor(t *testing.T, layers protocol.LayerRange) int64 {
	t.Helper()
	cfg := node.Config{
		File: modelFile(), Manifest: modelManifest(), ModelName: "test", Layers: layers, KVBudget: 64 << 20, NoMDNS: true, Version: "test",
		Listen: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")},
	}
	n := must(node.New(t.Context(), cfg))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return n.Plan().Total()
}
