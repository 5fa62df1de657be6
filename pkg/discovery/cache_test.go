// SPDX-License-Identifier: MIT

package discovery

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestCachedPeersAreFoundAgain: the second run needs no bootstrap address.
func TestCachedPeersAreFoundAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "made", "peers.json")
	a := startNode(t, "0-15", nil)
	b := startNode(t, "16-31", bootstrap(a))
	<-b.told
	first := startCoordinator(t, func(c *Config) { c.CachePath, c.Bootstrap = path, []string{a.addr()} })
	first.waitFor(t, "all layers", complete)
	first.stop()
	second := startCoordinator(t, func(c *Config) { c.CachePath = path })
	second.waitFor(t, "all layers", complete)
}

func TestDamagedCacheIsIgnoredWithALogLine(t *testing.T) {
	t.Parallel()
	node := startNode(t, "0-31", nil)
	for name, content := range map[string]string{
		"cut off":     `{"peers": [{"peer": "12D3`,
		"not JSON":    "\x00\x01\x02",
		"not a peer":  `{"peers": [{"peer": "somebody", "addrs": []}]}`,
		"wrong types": `{"peers": 7}`,
		"huge":        strings.Repeat(" ", cacheBytes+1),
	} {
		path := filepath.Join(t.TempDir(), "peers.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		log, logs := observer.New(zap.WarnLevel)
		c := startCoordinator(t, func(c *Config) {
			c.CachePath, c.Bootstrap, c.Log = path, []string{node.addr()}, zap.New(log)
		})
		c.waitFor(t, name, complete)
		c.stop()
		if n := logs.FilterField(zap.String("file", path)).Len(); n != 1 {
			t.Errorf("%s: %d log lines", name, n)
		}
		if peers, err := readCache(path, time.Now()); err != nil || len(peers) != 1 {
			t.Errorf("%s: afterwards %v, %v", name, peers, err)
		}
	}
}

func TestCacheKeepsTheLatest(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "peers.json")
	c := &peerCache{path: path, log: zap.NewNop()}
	now := time.Now().Round(0)
	var ids []peer.ID
	for i := range 2 * cachePeers {
		id, err := peer.IDFromPrivateKey(newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		c.put(now.Add(time.Duration(i)*time.Second), id, []multiaddr.Multiaddr{addr(i)})
	}
	c.put(now.Add(time.Hour), ids[cachePeers+3], []multiaddr.Multiaddr{addr(0)}) // seen again
	c.save()
	later := now.Add(time.Hour)
	peers, err := readCache(path, later)
	if err != nil || len(peers) != cachePeers {
		t.Fatalf("%d peers, %v", len(peers), err)
	}
	if peers[0].Peer != ids[cachePeers+3].String() || fmt.Sprint(peers[0].Addrs) != fmt.Sprintf("[%s]", addr(0)) || peers[1].Peer != ids[2*cachePeers-1].String() {
		t.Errorf("first are %+v", peers[:2])
	}
	if peers, err = readCache(path, later.Add(cacheAge)); err != nil || len(peers) != 1 {
		t.Errorf("a month later %d peers, %v", len(peers), err)
	}
}
