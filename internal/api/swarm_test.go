// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// tiny is a model that says nothing of sense, but always the same, and has room for long answers.
var (
	tinyFile = sync.OnceValue(func() *gguf.File {
		spec := testmodel.Default()
		spec.ChatTemplate, spec.Context = true, 1<<15
		return must(gguf.Parse(testmodel.Bytes(spec)))
	})
	tinyManifest = sync.OnceValue(func() *gguf.Manifest { return must(gguf.BuildManifest(tinyFile())) })
)

// startNode runs a node of the tiny model until the test ends.
func startNode(t testing.TB, layers string, change func(*node.Config)) *node.Node {
	t.Helper()
	cfg := node.Config{
		File: tinyFile(), Manifest: tinyManifest(), ModelName: "tiny", Threads: 1, NoMDNS: true, Version: "test",
		Layers: must(protocol.ParseLayerRange(layers)), Listen: must(p2p.ParseListen("/ip4/127.0.0.1/udp/0/quic-v1")),
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
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node %s: %v", layers, err)
		}
	})
	return n
}

// startSwarm runs three nodes that hold the tiny model together.
func startSwarm(t testing.TB, change func(*node.Config)) []*node.Node {
	t.Helper()
	var nodes []*node.Node
	for _, layers := range []string{"0-2", "3-5", "6-7"} {
		nodes = append(nodes, startNode(t, layers, func(c *node.Config) {
			if len(nodes) > 0 {
				c.Bootstrap = []string{address(nodes[0])}
			}
			if change != nil {
				change(c)
			}
		}))
	}
	return nodes
}

func address(n *node.Node) string {
	return n.Host().Addrs()[0].String() + "/p2p/" + n.Host().ID().String()
}

// startServer serves the swarm of a node on loopback until the test ends, and returns its URL and what ends it.
func startServer(t testing.TB, bootstrap *node.Node, change func(*Config)) (s *Server, url string, stop func()) {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{NoMDNS: true, Version: "test", Bootstrap: []string{address(bootstrap)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := Config{Client: c, RouteTimeout: patience, Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))}
	if change != nil {
		change(&cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s = New(cfg)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("server: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, "http://" + l.Addr().String(), stop
}

// patience bounds what a test waits for.
const patience = 30 * time.Second

// idle reports whether no node has a session or KV memory in use.
func idle(nodes []*node.Node) bool {
	for _, n := range nodes {
		if h := n.Health(); h.Sessions != 0 || h.Memory.KVUsed != 0 {
			return false
		}
	}
	return true
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
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
