// SPDX-License-Identifier: MIT

package discovery

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/marcopolo/simnet"
)

// tally counts the DHT's requests of all hosts, by type, and the bytes of the answers.
type tally struct {
	counting atomic.Bool

	mu       sync.Mutex // guards requests
	requests map[pb.Message_MessageType]int
	answers  int64
}

// countedHost is a host whose incoming DHT streams are counted.
type countedHost struct {
	host.Host
	tally *tally
}

func (h countedHost) SetStreamHandler(id libp2pproto.ID, handle network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(s network.Stream) { handle(&countedStream{Stream: s, tally: h.tally}) })
}

type countedStream struct {
	network.Stream
	tally *tally
	in    []byte // of a request that is not complete
}

func (s *countedStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.in = append(s.in, p[:n]...)
	for {
		size, k := binary.Uvarint(s.in)
		if k <= 0 || uint64(len(s.in)-k) < size {
			return n, err
		}
		// A message begins with field 1, its type, unless that is 0.
		kind := pb.Message_PUT_VALUE
		if body := s.in[k : k+int(size)]; len(body) > 1 && body[0] == 1<<3 {
			kind = pb.Message_MessageType(body[1])
		}
		if s.tally.counting.Load() {
			s.tally.mu.Lock()
			s.tally.requests[kind]++
			s.tally.mu.Unlock()
		}
		s.in = bytes.Clone(s.in[k+int(size):])
	}
}

func (s *countedStream) Write(p []byte) (int, error) {
	if s.tally.counting.Load() {
		s.tally.mu.Lock()
		s.tally.answers += int64(len(p))
		s.tally.mu.Unlock()
	}
	return s.Stream.Write(p)
}

// TestLoad counts what the DHTs of real nodes answer on a simulated network, in virtual time, and compares it with the model. It has swarms
// of up to eight nodes; `make scale` has up to 64.
func TestLoad(t *testing.T) {
	t.Parallel()
	sizes := []int{4, 8}
	if os.Getenv("SHARDNODE_EXHAUSTIVE") != "" {
		sizes = []int{4, 8, 16, 32, 64}
	}
	for _, n := range sizes {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { compareLoad(t, n) })
		})
	}
}

// TestLoadGrows: more nodes, lookers or churn never make less work, but for those who know as many as they keep.
func TestLoadGrows(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 10, 100, MaxKnown - 10} {
		a, more, churn, idle := LoadOf(n, n, 0.1), LoadOf(n+5, n+5, 0.1), LoadOf(n, n, 0.5), LoadOf(n, 0, 0.1)
		if more.Requests() <= a.Requests() || more.HotAnswers <= a.HotAnswers || more.Questions <= a.Questions || churn.Requests() <= a.Requests() {
			t.Errorf("%d nodes: %+v, then %+v, with churn %+v", n, a, more, churn)
		}
		if idle.Requests() != a.FindNode+a.Puts {
			t.Errorf("%d nodes of which nobody looks: %+v", n, idle)
		}
	}
	if full := LoadOf(5*MaxKnown, 5*MaxKnown, 0); full.GetProviders != 0 || full.Questions*RefreshLooked.Seconds() != MaxKnown {
		t.Errorf("those who know enough look for more: %+v", full)
	}
	if (LoadOf(1, 1, 1) != Load{}) {
		t.Error("a node alone has work")
	}
}

// loadWindow is how long requests are counted.
const loadWindow = time.Minute

func compareLoad(t *testing.T, n int) {
	c := &tally{requests: map[pb.Message_MessageType]int{}}
	countLoad(t, c, n)
	per := func(kinds ...pb.Message_MessageType) float64 {
		sum := 0
		for _, k := range kinds {
			sum += c.requests[k]
		}
		return float64(sum) / loadWindow.Seconds() / float64(n)
	}
	want := LoadOf(n, n, 0)
	for _, x := range []struct {
		what      string
		got, want float64
	}{
		{"FIND_NODE", per(pb.Message_FIND_NODE), want.FindNode},
		{"puts", per(pb.Message_PUT_VALUE, pb.Message_ADD_PROVIDER), want.Puts},
		{"GET_PROVIDERS", per(pb.Message_GET_PROVIDERS), want.GetProviders},
		{"all requests", per(pb.Message_FIND_NODE, pb.Message_PUT_VALUE, pb.Message_ADD_PROVIDER, pb.Message_GET_PROVIDERS, pb.Message_GET_VALUE, pb.Message_PING), want.Requests()},
		{"bytes of answers", float64(c.answers) / loadWindow.Seconds() / float64(n), want.Answers},
	} {
		t.Logf("%d nodes: %s: %.3g a node and second, the model says %.3g", n, x.what, x.got, x.want)
		if off := x.got/x.want - 1; math.Abs(off) > 0.15 {
			t.Errorf("%d nodes: %s: off by %.0f %%", n, x.what, 100*off)
		}
	}
}

// countLoad runs n nodes that all look at the swarm, from their starts, spread over a round of advertising, until loadWindow has been counted.
func countLoad(t *testing.T, c *tally, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(n)))
	delays := make([]time.Duration, (n+1)*(n+1))
	for i := range delays {
		delays[i] = 5*time.Millisecond + time.Duration(r.Int64N(int64(50*time.Millisecond)))
	}
	at := func(a net.Addr) int { return int(a.(*net.UDPAddr).IP.To4()[3]) }
	sim := &simnet.Simnet{LatencyFunc: func(p *simnet.Packet) time.Duration { return delays[at(p.From)*(n+1)+at(p.To)] }}
	hosts := make([]host.Host, n)
	for i := range hosts {
		hosts[i] = countedHost{simHost(t, sim, i+1), c}
	}
	sim.Start()
	members := make([]*member, n)
	for i, h := range hosts {
		change := func(*Config) {}
		if i > 0 {
			change = bootstrap(members[0])
		}
		members[i] = start(t, h, "0-31", change)
		time.Sleep(advertiseEvery / time.Duration(n))
	}
	look := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(lookedLately / 4) {
			for _, m := range members {
				m.Directory()
			}
		}
	}
	look(30 * time.Second) // new peers are told at once
	c.counting.Store(true)
	look(loadWindow)
	c.counting.Store(false)
	for _, m := range members {
		m.stop()
	}
	sim.Close()
}

// TestLookups repeats lookups of kad-dht among so many nodes whose tables are full, without a network, and compares their requests with the
// table of the model.
func TestLookups(t *testing.T) {
	t.Parallel()
	for _, p := range lookups[1:] {
		n := int(p.others)
		if n > 1000 && os.Getenv("SHARDNODE_EXHAUSTIVE") == "" {
			continue
		}
		k := newKademlia(n + 1)
		sum := 0
		const trials = 200
		for range trials {
			sum += k.lookup()
		}
		if got := float64(sum) / trials; math.Abs(got/p.requests-1) > 0.06 {
			t.Errorf("a lookup among %d others takes %.1f requests, the model says %.1f", n, got, p.requests)
		}
	}
	for _, n := range []int{1, 2, 5, 12, 50, 2000, 50_000} {
		if got := lookupRequests(n); got < float64(min(n, closest)) || got > 40 || got < lookupRequests(n-1) && n > 1 {
			t.Errorf("%d others: %g requests", n, got)
		}
	}
}

// kademlia is nodes by their places in the space of keys.
type kademlia struct {
	ids    []uint64 // sorted
	random *rand.Rand
	tables map[int][]int
}

func newKademlia(n int) *kademlia {
	k := &kademlia{random: rand.New(rand.NewPCG(2, uint64(n))), tables: map[int][]int{}}
	for range n {
		k.ids = append(k.ids, k.random.Uint64())
	}
	slices.Sort(k.ids)
	return k
}

// table is a node's routing table: of each half, quarter and so on of the space that it is not in, twenty nodes.
func (k *kademlia) table(i int) []int {
	if t, ok := k.tables[i]; ok {
		return t
	}
	var t []int
	for bit := 63; bit >= 0; bit-- {
		low := (k.ids[i]>>bit ^ 1) << bit
		from, _ := slices.BinarySearch(k.ids, low)
		to := len(k.ids)
		if high := low + 1<<bit; high > low {
			to, _ = slices.BinarySearch(k.ids, high)
		}
		bucket := make([]int, 0, to-from)
		for j := from; j < to; j++ {
			bucket = append(bucket, j)
		}
		k.random.Shuffle(len(bucket), func(a, b int) { bucket[a], bucket[b] = bucket[b], bucket[a] })
		t = append(t, bucket[:min(closest, len(bucket))]...)
	}
	k.tables[i] = t
	return t
}

// nearest are the n of list that are nearest to key.
func (k *kademlia) nearest(list []int, key uint64, n int) []int {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b int) int { return cmp.Compare(k.ids[a]^key, k.ids[b]^key) })
	return sorted[:min(n, len(sorted))]
}

// lookup counts the requests of one lookup of a random key by a random node.
func (k *kademlia) lookup() int {
	const alpha, beta = 10, 3
	me, key := k.random.IntN(len(k.ids)), k.random.Uint64()
	heard := k.nearest(k.table(me), key, closest) // and asked
	back := map[int]float64{}                     // when answers come, of those that were asked
	answered := map[int]bool{}
	now := 0.0
	for {
		waiting := len(back) - len(answered)
		for _, i := range k.nearest(heard, key, len(heard)) {
			if _, asked := back[i]; !asked && waiting < alpha {
				back[i] = now + 10 + 100*k.random.Float64()
				waiting++
			}
		}
		next := -1
		for i, at := range back {
			if !answered[i] && (next < 0 || at < back[next]) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		now, answered[next] = back[next], true
		for _, j := range k.nearest(k.table(next), key, closest) {
			if j != me && !slices.Contains(heard, j) {
				heard = append(heard, j)
			}
		}
		if !slices.ContainsFunc(k.nearest(heard, key, beta), func(i int) bool { return !answered[i] }) {
			break
		}
	}
	requests := len(back)
	for _, i := range k.nearest(heard, key, closest) {
		if !answered[i] {
			requests++
		}
	}
	return requests
}

// TestWorthLookup: an idle node looks for a few peers, one that looks for all that it keeps and no more.
func TestWorthLookup(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		p    pace
		up   int
		want bool
	}{
		{paceIdle, enoughPeers - 1, true}, {paceIdle, enoughPeers, false}, {paceLooked, enoughPeers, true}, {paceWaiting, MaxKnown - 1, true},
		{paceWaiting, MaxKnown, false}, {paceLooked, MaxKnown, false},
	} {
		if got := worthLookup(tt.p, tt.up); got != tt.want {
			t.Errorf("pace %d, %d up: %v", tt.p, tt.up, got)
		}
	}
}
