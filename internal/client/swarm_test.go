// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/models"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The demo model is opened once for all tests.
var (
	demoFile     = sync.OnceValue(func() *gguf.File { return must(gguf.Parse(models.Demo())) })
	demoManifest = sync.OnceValue(func() *gguf.Manifest { return must(gguf.BuildManifest(demoFile())) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// loopback is where test nodes listen.
func loopback() []multiaddr.Multiaddr {
	return []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")}
}

// startNode runs a node of the demo model until the test, or the returned function, ends it. change may adapt its configuration.
func startNode(t *testing.T, layers string, change func(*node.Config)) (*node.Node, func()) {
	t.Helper()
	cfg := node.Config{
		File: demoFile(), Manifest: demoManifest(), ModelName: "demo", Threads: 1, Listen: loopback(), NoMDNS: true, Version: "test",
	}
	var err error
	if cfg.Layers, err = protocol.ParseLayerRange(layers); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	n, err := node.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node %s: %v", layers, err)
		}
	})
	t.Cleanup(stop)
	return n, stop
}

// address is what others bootstrap from.
func address(n *node.Node) string {
	return n.Host().Addrs()[0].String() + "/p2p/" + n.Host().ID().String()
}

// startSwarm runs one node a range; all know the first one's address and find the others through the DHT.
func startSwarm(t *testing.T, layers ...string) []*node.Node {
	t.Helper()
	var nodes []*node.Node
	for _, l := range layers {
		n, _ := startNode(t, l, func(c *node.Config) {
			if len(nodes) > 0 {
				c.Bootstrap = []string{address(nodes[0])}
			}
		})
		nodes = append(nodes, n)
	}
	return nodes
}

// join makes a coordinator that knows one node's address.
func join(t *testing.T, bootstrap *node.Node, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{NoMDNS: true, Version: "test"}
	if bootstrap != nil {
		cfg.Bootstrap = []string{address(bootstrap)}
	}
	if change != nil {
		change(&cfg)
	}
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// patience bounds what a test waits for.
const patience = 30 * time.Second

// find returns a route and the model behind it.
func find(t *testing.T, c *Client, s Selector) (*Target, *Model) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	target, err := c.Find(ctx, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Model(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	return target, m
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not in %s: %s", patience, what)
		}
	}
}
