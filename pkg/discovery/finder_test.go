// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// coldStart is what a coordinator on loopback may take to find a complete swarm.
const coldStart = time.Second

// TestBootstrapNodeLeadsToTheRest has no multicast and no common directory: a coordinator that knows one node finds the
// other three through the DHT alone. Not parallel: it takes the time.
func TestBootstrapNodeLeadsToTheRest(t *testing.T) {
	first := startNode(t, "0-7", nil)
	for _, layers := range []string{"8-15", "16-23", "24-31"} {
		n := startNode(t, layers, bootstrap(first))
		<-n.told
	}
	log, logs := observer.New(zap.DebugLevel)
	began := time.Now()
	c := startCoordinator(t, func(cfg *Config) {
		cfg.Bootstrap = []string{first.addr()}
		cfg.Log = zap.New(log)
	})
	c.waitFor(t, "all layers", complete)
	if took := time.Since(began); took > coldStart && !raceDetector {
		t.Errorf("complete after %s, want at most %s", took, coldStart)
	} else {
		t.Logf("complete after %s", took)
	}
	if n := logs.FilterMessage("no signed record of a provider").Len(); n > 0 {
		t.Errorf("%d nodes were found without their signed record", n)
	}
	for _, n := range c.Directory().Nodes() {
		if n.RTT <= 0 || n.Status.ModelName != "demo" {
			t.Errorf("node %s: round trip %s, model %q", n.Status.Peer, n.RTT, n.Status.ModelName)
		}
	}
}

// TestNodeComesBackWithAnotherRange restarts a node with the same key, elsewhere, while the DHT still has its old record.
func TestNodeComesBackWithAnotherRange(t *testing.T) {
	t.Parallel()
	first := startNode(t, "0-7", nil)
	key := newKey(t)
	mover := start(t, newHost(t, key, loopback), "8-31", bootstrap(first))
	<-mover.told
	old := startCoordinator(t, bootstrap(first))
	old.waitFor(t, "all layers", complete)

	mover.stop()
	old.waitFor(t, "the node's leave", func(d *Directory) bool { return d.Node(mover.host.ID().String()) == nil })
	mover = start(t, newHost(t, key, loopback), "16-31", bootstrap(first))
	moved := protocol.LayerRange{From: 16, To: 32}
	id := mover.host.ID().String()

	fresh := startCoordinator(t, bootstrap(first))
	for name, c := range map[string]*member{"old": old, "new": fresh} {
		c.waitFor(t, name+" coordinator sees the node", func(d *Directory) bool {
			n := d.Node(id)
			if n != nil && n.Status.Layers != moved {
				t.Errorf("%s coordinator: layers %s from before the restart", name, n.Status.Layers)
			}
			return n != nil
		})
		if m, _ := c.Directory().Model(testModel); !slices.Equal(m.Missing, []protocol.LayerRange{{From: 8, To: 16}}) {
			t.Errorf("%s coordinator: missing %v", name, m.Missing)
		}
	}
}

// TestLoneNodeAdvertisesWhenOthersCome: the first node of a swarm has nobody to store its records; it says so once, and
// is found through those who come.
func TestLoneNodeAdvertisesWhenOthersCome(t *testing.T) {
	t.Parallel()
	log, logs := observer.New(zap.InfoLevel)
	lone := startNode(t, "0-15", func(c *Config) { c.Log = zap.New(log) })
	<-lone.told
	if logs.FilterMessageSnippet("no other node known yet").Len() != 1 {
		t.Errorf("logged %v", logs.All())
	}
	second := startNode(t, "16-31", bootstrap(lone))
	c := startCoordinator(t, bootstrap(second))
	c.waitFor(t, "all layers", complete)
	if logs.FilterMessageSnippet("no other node known yet").Len() != 1 {
		t.Errorf("logged more than once: %v", logs.All())
	}
}

// TestChangeIsAdvertisedAtOnce: a status that changes is in the signed record long before the next round.
func TestChangeIsAdvertisedAtOnce(t *testing.T) {
	t.Parallel()
	a := startNode(t, "0-15", nil)
	b := startNode(t, "16-31", bootstrap(a))
	<-b.told
	a.waitFor(t, "b", func(d *Directory) bool { return d.Node(b.host.ID().String()) != nil })
	b.setLayers(t, "20-31")
	deadline := time.After(advertiseEvery / 2)
	for {
		if value, err := a.dht.GetValue(t.Context(), recordKey(b.host.ID())); err == nil {
			if r, err := openRecord(value); err == nil && r.Layers == *b.layers.Load() {
				return
			}
		}
		select {
		case <-deadline:
			t.Fatal("the signed record still has the old range")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestDrainingNodeIsSeenDraining: it still answers, and takes no part in routes.
func TestDrainingNodeIsSeenDraining(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	node := startNode(t, "0-31", func(c *Config) { c.LocalDir = dir })
	<-node.told
	c := startCoordinator(t, bootstrap(node))
	c.waitFor(t, "the node", complete)
	node.draining.Store(true)
	c.waitFor(t, "draining", func(d *Directory) bool {
		cands := d.Candidates(testModel, "v1")
		return len(cands) == 1 && cands[0].Draining
	})
	late := startCoordinator(t, func(c *Config) { c.LocalDir = dir })
	for len(late.readLocal()) > 0 { // within a second
		<-time.After(10 * time.Millisecond)
	}
}

func TestNodeThatLeavesIsForgottenAtOnce(t *testing.T) {
	t.Parallel()
	a := startNode(t, "0-15", nil)
	b := startNode(t, "16-31", bootstrap(a))
	c := startCoordinator(t, func(cfg *Config) { cfg.Bootstrap = []string{a.addr(), b.addr()} })
	c.waitFor(t, "all layers", complete)
	b.stop()
	left := time.Now()
	c.waitFor(t, "the leave", func(d *Directory) bool { return !complete(d) })
	if took := time.Since(left); took > AskTimeout/2 {
		t.Errorf("noticed after %s", took)
	}
}

// TestWatch: who watches sees a node come, change and leave, without asking for it.
func TestWatch(t *testing.T) {
	t.Parallel()
	a := startNode(t, "0-15", nil)
	c := startCoordinator(t, bootstrap(a))
	views := make(chan *Directory)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Watch(ctx, func(d *Directory) {
			select {
			case views <- d:
			case <-ctx.Done():
			}
		})
	}()
	until := func(what string, ok func(*Directory) bool) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case d := <-views:
				if ok(d) {
					return
				}
			case <-deadline:
				t.Fatalf("not seen: %s", what)
			}
		}
	}
	until("a node", func(d *Directory) bool { return d.Node(a.host.ID().String()) != nil })
	b := startNode(t, "16-31", bootstrap(a))
	until("another node", complete)
	a.draining.Store(true)
	until("draining", func(d *Directory) bool { n := d.Node(a.host.ID().String()); return n != nil && n.Status.Draining })
	b.stop()
	until("the leave", func(d *Directory) bool { return d.Node(b.host.ID().String()) == nil })
	cancel()
	<-done
	if got := c.pace(); got != paceLooked {
		t.Errorf("pace %d once nobody watches, want %d", got, paceLooked)
	}
}

// TestSwarmsDoNotMix: a bootstrap address of another swarm's node is an error one can read.
func TestSwarmsDoNotMix(t *testing.T) {
	t.Parallel()
	other := startNode(t, "0-31", func(c *Config) { c.Swarm = "other" })
	c := startCoordinator(t, bootstrap(other))
	c.waitFor(t, "the refusal", func(d *Directory) bool { return len(d.Failures()) > 0 })
	d := c.Directory()
	if f := d.Failures()[0]; f.Peer != other.host.ID().String() || !strings.Contains(f.Err.Error(), `swarm "other"`) {
		t.Errorf("failure %s: %v", f.Peer, f.Err)
	}
	if len(d.Nodes()) > 0 {
		t.Error("the node is in the directory")
	}
	if c.dht.RoutingTable().Size() > 0 {
		t.Error("the node is in the DHT's routing table")
	}
}

// TestBootstrapNodeStartsLater: the address is tried until it answers.
func TestBootstrapNodeStartsLater(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	h := newHost(t, key, loopback)
	listen := h.Addrs()[0].String()
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	c := startCoordinator(t, func(cfg *Config) { cfg.Bootstrap = []string{listen + "/p2p/" + id.String()} })
	c.waitFor(t, "the first failure", func(d *Directory) bool { return len(d.Failures()) > 0 })
	start(t, newHost(t, key, listen), "0-31", nil)
	c.waitFor(t, "the node", complete)
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	h := newHost(t, newKey(t), "")
	defer h.Close()
	good := Config{Host: h, Connect: h.Connect, Status: askStatus(h), Swarm: testSwarm}
	for name, change := range map[string]func(*Config){
		"host": func(c *Config) { c.Host = nil }, "connect": func(c *Config) { c.Connect = nil }, "status": func(c *Config) { c.Status = nil },
		"no swarm": func(c *Config) { c.Swarm = "" }, "long swarm": func(c *Config) { c.Swarm = strings.Repeat("x", protocol.MaxSwarm+1) },
		"bootstrap": func(c *Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/udp/4001/quic-v1"} },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
