// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// newKey makes an identity.
func newKey(tb testing.TB) crypto.PrivKey {
	tb.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// newHost starts a real QUIC host on loopback; listen "": one that only dials. The caller closes it.
func newHost(tb testing.TB, key crypto.PrivKey, listen string, opts ...libp2p.Option) host.Host {
	tb.Helper()
	opts = append([]libp2p.Option{
		libp2p.Identity(key), libp2p.Transport(quic.NewTransport), libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.NoListenAddrs,
		libp2p.SwarmOpts(swarm.WithDialTimeoutLocal(time.Second)), // as package p2p has it
	}, opts...)
	if listen != "" {
		opts = append(opts, libp2p.ListenAddrStrings(listen))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

const (
	statusProtocol = "/shardnode-test/status/1"
	loopback       = "/ip4/127.0.0.1/udp/0/quic-v1"
	testSwarm      = "test"
)

// testModel is the model everybody serves.
var testModel = protocol.ModelID{1, 2, 3}

// serveStatus answers with what status returns, as JSON: package p2p's own framing is not ours to test.
func serveStatus(h host.Host, status func() *protocol.Status) {
	h.SetStreamHandler(statusProtocol, func(s network.Stream) {
		_ = json.NewEncoder(s).Encode(status())
		_ = s.Close()
	})
}

// askStatus asks a node of serveStatus.
func askStatus(h host.Host) func(context.Context, peer.AddrInfo) (*protocol.Status, time.Duration, error) {
	return func(ctx context.Context, pi peer.AddrInfo) (*protocol.Status, time.Duration, error) {
		start := time.Now()
		s, err := h.NewStream(ctx, pi.ID, statusProtocol)
		if err != nil {
			return nil, 0, err
		}
		defer s.Reset()
		if deadline, ok := ctx.Deadline(); ok {
			_ = s.SetReadDeadline(deadline)
		}
		var st protocol.Status
		if err := json.NewDecoder(io.LimitReader(s, 1<<16)).Decode(&st); err != nil {
			return nil, 0, fmt.Errorf("status: %w", err)
		}
		return &st, time.Since(start), nil
	}
}

// member is a node or a coordinator: a host and its finder.
type member struct {
	*Finder
	host     host.Host
	layers   atomic.Pointer[protocol.LayerRange]
	draining atomic.Bool
	told     chan struct{} // closed after the first round of advertising
	stop     func()
}

func (m *member) status() *protocol.Status {
	return &protocol.Status{
		Peer: m.host.ID().String(), Swarm: m.cfg.Swarm, Model: testModel, ModelName: "demo", NLayers: 32, Layers: *m.layers.Load(),
		Numerics: []string{"v1"}, Draining: m.draining.Load(),
	}
}

func (m *member) addr() string { return m.host.Addrs()[0].String() + "/p2p/" + m.host.ID().String() }

// start runs a member of the test swarm on a host. With layers it is a node, else a coordinator. It ends with the test or
// with stop, which closes the host too.
func start(tb testing.TB, h host.Host, layers string, change func(*Config)) *member {
	tb.Helper()
	cfg := Config{Host: h, Connect: h.Connect, Status: askStatus(h), Swarm: testSwarm, ServeDHT: layers != "", Log: testLog(tb)}
	if change != nil {
		change(&cfg)
	}
	f, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	m := &member{Finder: f, host: h, told: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			tb.Errorf("run: %v", err)
		}
	})
	if layers != "" {
		m.setLayers(tb, layers)
		serveStatus(h, m.status)
		running.Go(func() {
			if err := f.Advertise(ctx, m.status, func() { close(m.told) }); err != nil {
				tb.Errorf("advertise: %v", err)
			}
		})
	}
	m.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := h.Close(); err != nil {
			tb.Errorf("close host: %v", err)
		}
	})
	tb.Cleanup(m.stop)
	return m
}

func (m *member) setLayers(tb testing.TB, layers string) {
	tb.Helper()
	r, err := protocol.ParseLayerRange(layers)
	if err != nil {
		tb.Fatal(err)
	}
	m.layers.Store(&r)
}

// startNode and startCoordinator run on fresh loopback hosts.
func startNode(tb testing.TB, layers string, change func(*Config)) *member {
	tb.Helper()
	return start(tb, newHost(tb, newKey(tb), loopback), layers, change)
}

func startCoordinator(tb testing.TB, change func(*Config)) *member {
	tb.Helper()
	return start(tb, newHost(tb, newKey(tb), ""), "", change)
}

func bootstrap(m *member) func(*Config) {
	return func(c *Config) { c.Bootstrap = []string{m.addr()} }
}

// testLog logs to the test; not after it, which would be a data race of the test's own making.
func testLog(tb testing.TB) *zap.Logger {
	if !testing.Verbose() {
		return zap.NewNop()
	}
	return zaptest.NewLogger(tb)
}

// waitFor waits until the directory is as it should be, and fails the test after ten seconds.
func (m *member) waitFor(tb testing.TB, what string, ready func(*Directory) bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Wait(ctx, ready); err != nil {
		d := m.Directory()
		for _, n := range d.Nodes() {
			tb.Logf("have %s at %s", n.Status.Layers, n.Status.Peer)
		}
		for _, x := range d.Failures() {
			tb.Logf("failed %s: %v", x.Peer, x.Err)
		}
		tb.Fatalf("%s: %v", what, err)
	}
}

// complete reports whether all layers of the test model are served.
func complete(d *Directory) bool {
	m, ok := d.Model(testModel)
	return ok && len(m.Missing) == 0
}
