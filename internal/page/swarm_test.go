// SPDX-License-Identifier: MIT

package page_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/shardnode/shardnode/internal/api"
	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/models"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// patience bounds what a test waits for.
const patience = 30 * time.Second

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// model is what nodes serve.
type model struct {
	name     string
	file     *gguf.File
	manifest *gguf.Manifest
}

var (
	// tiny says nothing of sense, always the same, and does not come to an end.
	tiny = sync.OnceValue(func() *model {
		spec := testmodel.Default()
		spec.ChatTemplate, spec.Context = true, 1<<15
		return newModel("tiny", testmodel.Bytes(spec))
	})
	// demo is the embedded one.
	demo = sync.OnceValue(func() *model { return newModel("demo-32l-q4_0", models.Demo()) })
)

func newModel(name string, raw []byte) *model {
	file := must(gguf.Parse(raw))
	return &model{name, file, must(gguf.BuildManifest(file))}
}

// member is a node of a test's swarm.
type member struct {
	*node.Node
	stop func() // it leaves the swarm and ends
}

func (m *member) address() string {
	return m.Host().Addrs()[0].String() + "/p2p/" + m.Host().ID().String()
}

// join starts a node, which runs until the test ends or it is stopped.
func join(t *testing.T, m *model, layers string, others []*member, change func(*node.Config)) *member {
	t.Helper()
	cfg := node.Config{
		File: m.file, Manifest: m.manifest, ModelName: m.name, Threads: 1, NoMDNS: true, Version: "v0.1.0",
		Layers: must(protocol.ParseLayerRange(layers)), Listen: must(p2p.ParseListen("/ip4/127.0.0.1/udp/0/quic-v1")),
	}
	for _, o := range others {
		cfg.Bootstrap = append(cfg.Bootstrap, o.address())
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
	out := &member{Node: n, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node %s: %v", layers, err)
		}
	})}
	t.Cleanup(out.stop)
	return out
}

// serve answers HTTP for a swarm on loopback until the test ends, and returns the page's address and what ends it.
func serve(t *testing.T, members []*member, change func(*api.Config)) (url string, stop func()) {
	t.Helper()
	var bootstrap []string
	for _, m := range members {
		bootstrap = append(bootstrap, m.address())
	}
	c, err := client.Dial(t.Context(), client.Config{NoMDNS: true, Version: "test", Bootstrap: bootstrap})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := api.Config{Client: c, RouteTimeout: patience, DrainTimeout: time.Second, Log: zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))}
	if change != nil {
		change(&cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // the test's ends before its tabs are closed
	done := make(chan error, 1)
	go func() { done <- api.New(cfg).Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("server: %v", err)
		}
	})
	t.Cleanup(stop)
	return "http://" + l.Addr().String() + "/", stop
}
