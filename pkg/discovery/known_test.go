// SPDX-License-Identifier: MIT

package discovery

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// at is a moment of a test's own time.
func at(d time.Duration) time.Time { return time.Unix(1000, 0).Add(d) }

func addr(i int) multiaddr.Multiaddr {
	return multiaddr.StringCast(fmt.Sprintf("/ip4/192.0.2.1/udp/%d/quic-v1", i+1))
}

func info(id string, addrs ...int) peer.AddrInfo {
	i := peer.AddrInfo{ID: peer.ID(id)}
	for _, a := range addrs {
		i.Addrs = append(i.Addrs, addr(a))
	}
	return i
}

// asked returns whom the list wants asked, as a string of one-letter peers.
func asked(k *known, now time.Duration, p pace) string {
	infos, _ := k.due(at(now), p)
	s := ""
	for _, i := range infos {
		s += string(i.ID)
	}
	return s
}

func TestKnownPace(t *testing.T) {
	t.Parallel()
	k := newKnown("self")
	k.add(at(0), info("self", 1), false)
	k.add(at(0), info("b", 1), false)
	k.add(at(0), info("a", 1), false)
	if got := asked(k, 0, paceIdle); got != "ab" {
		t.Fatalf("new candidates: asked %q", got)
	}
	if got := asked(k, 0, paceWaiting); got != "" {
		t.Errorf("asked %q again while under way", got)
	}
	k.answered(at(0), "a", true, nil)
	k.answered(at(0), "b", true, nil)
	for _, c := range []struct {
		after time.Duration
		pace  pace
		want  string
	}{
		{time.Hour, paceIdle, ""}, {RefreshLooked - 1, paceLooked, ""}, {RefreshLooked, paceLooked, "ab"},
	} {
		if got := asked(k, c.after, c.pace); got != c.want {
			t.Errorf("after %s at pace %d: asked %q, want %q", c.after, c.pace, got, c.want)
		}
	}
	k.answered(at(RefreshLooked), "a", true, nil)
	for _, p := range []pace{paceWatched, paceWaiting} {
		if _, next := k.due(at(RefreshLooked), p); !next.Equal(at(RefreshLooked + RefreshWaiting)) {
			t.Errorf("pace %d: next at %s", p, next.Sub(at(0)))
		}
	}
}

func TestKnownRetriesLessAndLessOften(t *testing.T) {
	t.Parallel()
	k := newKnown("self")
	k.add(at(0), info("a", 1), true)
	now := time.Duration(0)
	for _, wait := range []time.Duration{retryFirst, 2 * retryFirst, 4 * retryFirst} {
		if asked(k, now, paceIdle) != "a" {
			t.Fatalf("not asked after %s", now)
		}
		k.answered(at(now), "a", false, nil)
		if got := asked(k, now+wait-1, paceIdle); got != "" {
			t.Fatalf("asked again within %s", wait)
		}
		now += wait
	}
	for range 100 {
		asked(k, now, paceIdle)
		k.answered(at(now), "a", false, nil)
		now += retryMost
	}
	if asked(k, now, paceIdle) != "a" {
		t.Errorf("a peer the user named is given up on after %s", now)
	}
	k.answered(at(now), "a", true, nil)
	k.lost("a")
	if _, next := k.due(at(now), paceIdle); !next.Equal(at(now + reaskLeast)) {
		t.Errorf("a lost connection is looked after in %s", next.Sub(at(now)))
	}
}

func TestKnownNewAddressCountsAtOnce(t *testing.T) {
	t.Parallel()
	k := newKnown("self")
	k.add(at(0), info("a", 1), false)
	asked(k, 0, paceIdle)
	if cut := k.add(at(1), info("a", 1), false); cut {
		t.Error("a known address cuts the question short")
	}
	if cut := k.add(at(1), info("a", 2), false); !cut {
		t.Error("a new address does not cut the question short")
	}
	if counts := k.answered(at(2), "a", false, nil); counts {
		t.Error("the cut question counts as a failure")
	}
	infos, _ := k.due(at(2), paceIdle)
	if len(infos) != 1 || len(infos[0].Addrs) != 2 || !infos[0].Addrs[0].Equal(addr(2)) {
		t.Fatalf("then asks %v, the newest address should be first", infos)
	}
	if counts := k.answered(at(2), "a", false, nil); !counts {
		t.Error("a failure at all addresses does not count")
	}
	k.add(at(3), info("a", 3), false)
	if got := asked(k, 3, paceIdle); got != "a" {
		t.Errorf("a failed peer with a new address: asked %q", got)
	}
}

func TestKnownIsBounded(t *testing.T) {
	t.Parallel()
	k := newKnown("self")
	k.add(at(0), info("user", 1), true)
	for i := range 2 * MaxKnown {
		k.add(at(time.Duration(i)), info(fmt.Sprintf("p%05d", i), 1), false)
	}
	if len(k.peers) != MaxKnown || k.peers["user"] == nil || k.peers[peer.ID(fmt.Sprintf("p%05d", 2*MaxKnown-1))] == nil {
		t.Errorf("%d candidates, the user's own: %v", len(k.peers), k.peers["user"])
	}
	for i := range 3 * maxAddrs {
		k.add(at(0), info("user", i), false)
	}
	if a := k.peers["user"].info.Addrs; len(a) != maxAddrs || !a[0].Equal(addr(3*maxAddrs-1)) {
		t.Errorf("%d addresses, first %s", len(a), a[0])
	}
	infos, _ := k.due(at(0), paceWaiting)
	if len(infos) != maxAsking {
		t.Errorf("%d questions at once", len(infos))
	}
}

func TestKnownForgetsTheSilent(t *testing.T) {
	t.Parallel()
	k := newKnown("self")
	for _, id := range []string{"a", "b", "u"} {
		k.add(at(0), info(id, 1), id == "u")
		asked(k, 0, paceIdle)
		k.answered(at(0), peer.ID(id), false, nil)
	}
	k.add(at(forgetAfter), info("b", 1), false) // still mentioned
	k.due(at(forgetAfter+1), paceIdle)
	if k.peers["a"] != nil || k.peers["b"] == nil || k.peers["u"] == nil {
		t.Errorf("left %v", k.peers)
	}
}

// TestKnownIdleNodeKeepsFewPeers: a node that nobody looks through does not dial the whole swarm.
func TestKnownIdleNodeKeepsFewPeers(t *testing.T) {
	t.Parallel()
	k := newKnown("self")
	for i := range enoughPeers {
		id := string(rune('a' + i))
		k.add(at(0), info(id, 1), false)
		asked(k, 0, paceIdle)
		k.answered(at(0), peer.ID(id), true, nil)
	}
	k.add(at(0), info("x", 1), false)
	k.add(at(0), info("u", 1), true)
	if got := asked(k, 0, paceIdle); got != "u" {
		t.Errorf("idle: asked %q, want the user's own only", got)
	}
	if got := asked(k, 0, paceLooked); got != "x" {
		t.Errorf("looked through: asked %q", got)
	}
}
