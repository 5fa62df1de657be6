// SPDX-License-Identifier: MIT

package discovery

import (
	"bytes"
	"context"
	"testing"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	dhtrecord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// gullible is the validator of a node that lies: it lets everything pass.
type gullible struct{}

func (gullible) Validate(string, []byte) error        { return nil }
func (gullible) Select(string, [][]byte) (int, error) { return 0, nil }

// TestBadRecordsAreNotStored has a member of the swarm put bad records under a node's key. Nobody may store them, and a
// coordinator that asks the liar itself must not believe them.
func TestBadRecordsAreNotStored(t *testing.T) {
	t.Parallel()
	victim := startNode(t, "0-15", nil)
	witness := startNode(t, "16-31", bootstrap(victim))
	<-victim.told
	witness.waitForPeers(1)

	h := newHost(t, newKey(t), loopback)
	defer h.Close()
	liar, err := dht.New(h, dht.ProtocolPrefix(dhtPrefix(testSwarm)), dht.Mode(dht.ModeServer), dht.Validator(dhtrecord.NamespacedValidator{recordNamespace: gullible{}}))
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	for _, m := range []*member{victim, witness} {
		if err := h.Connect(t.Context(), peer.AddrInfo{ID: m.host.ID(), Addrs: m.host.Addrs()}); err != nil {
			t.Fatal(err)
		}
	}
	for liar.RoutingTable().Size() < 2 {
		<-time.After(time.Millisecond)
	}
	lie := testRecord(t, h.Peerstore().PrivKey(h.ID()))
	lie.Peer, lie.Seq = victim.host.ID(), 1<<63
	key := recordKey(victim.host.ID())
	expired := *lie
	expired.Expiry = time.Now().Add(-time.Second)
	for name, value := range map[string][]byte{
		"forged":    seal(t, lie, h.Peerstore().PrivKey(h.ID())),
		"expired":   seal(t, &expired, victim.host.Peerstore().PrivKey(victim.host.ID())),
		"oversized": bytes.Repeat([]byte{1}, maxRecordSize+1),
	} {
		if err := liar.PutValue(t.Context(), key, value); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for who, m := range map[string]*member{"victim": victim, "witness": witness} {
			stored, err := m.dht.GetValue(t.Context(), key)
			if err != nil {
				t.Errorf("%s at %s: %v", name, who, err)
			}
			if bytes.Equal(stored, value) {
				t.Errorf("%s record is believed by %s", name, who)
			}
		}
	}
	c := startCoordinator(t, func(cfg *Config) { cfg.Bootstrap = []string{h.Addrs()[0].String() + "/p2p/" + h.ID().String()} })
	c.waitFor(t, "all layers, through the liar", complete)
}

// waitForPeers waits until n peers are in the DHT's routing table.
func (m *member) waitForPeers(n int) {
	<-m.started
	for m.dht.RoutingTable().Size() < n {
		<-time.After(time.Millisecond)
	}
}

// TestProviderWithoutARecordIsFoundToo: a node whose clock is an hour slow signs records that nobody accepts. Its
// provider record leads to it, and its status is as true as any.
func TestProviderWithoutARecordIsFoundToo(t *testing.T) {
	t.Parallel()
	first := startNode(t, "0-15", nil)
	slow := startNode(t, "16-31", func(c *Config) {
		c.Bootstrap = []string{first.addr()}
		c.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	})
	<-slow.told
	c := startCoordinator(t, bootstrap(first))
	c.waitFor(t, "all layers", complete)
	if _, err := c.dht.GetValue(t.Context(), recordKey(slow.host.ID())); err == nil {
		t.Error("the slow node's record was accepted; this test then shows nothing")
	}
}

// TestLongAddressListsAreCutToSize: a record never exceeds what others accept.
func TestLongAddressListsAreCutToSize(t *testing.T) {
	t.Parallel()
	node := startNode(t, "0-31", nil)
	<-node.told
	other := startNode(t, "0-31", bootstrap(node))
	node.waitForPeers(1)
	other.waitForPeers(1)
	long := multiaddr.StringCast("/dns/" + string(bytes.Repeat([]byte{'x'}, 200)) + "/udp/1/quic-v1")
	c := &claim{model: testModel, layers: protocol.LayerRange{From: 0, To: 32}}
	for range 2 * protocol.MaxAddrs {
		c.addrs = append(c.addrs, long)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lookupTimeout)
	defer cancel()
	a := &advertiser{f: node.Finder, seq: 1 << 62}
	if err := a.putRecord(ctx, c); err != nil {
		t.Fatal(err)
	}
	value, err := other.dht.GetValue(ctx, recordKey(node.host.ID()))
	if err != nil {
		t.Fatal(err)
	}
	r, err := openRecord(value)
	if err != nil || len(r.Addrs) == 0 || len(r.Addrs) >= protocol.MaxAddrs || r.Seq != 1<<62+1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestKeysDependOnSwarmAndModel(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{}
	for _, k := range []string{
		swarmKey("a").String(), swarmKey("b").String(), modelKey("a", testModel).String(), modelKey("b", testModel).String(),
		modelKey("a", protocol.ModelID{}).String(),
	} {
		keys[k] = true
	}
	if len(keys) != 5 {
		t.Errorf("%d different keys of 5", len(keys))
	}
	if s := mdnsService("default"); s != "_shard-"+swarmHash("default")[:8]+"._udp" || mdnsService("other") == s {
		t.Errorf("service %s", s)
	}
}
