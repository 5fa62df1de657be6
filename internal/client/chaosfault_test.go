// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// chaosSwarm is a swarm on a simulated network that can be hurt. It lives in a bubble of virtual time.
type chaosSwarm struct {
	t       *testing.T
	plan    *chaosPlan
	net     *testnet.Sim
	log     *zap.Logger
	began   time.Time
	nodes   []*chaosNode
	clients []*chaosClient
	booting sync.WaitGroup // nodes that are to start again
	running sync.WaitGroup // processes, until they have ended

	mu    sync.Mutex // guards all following fields
	story strings.Builder
}

// chaosNode is one node, whatever its process.
type chaosNode struct {
	s     *chaosSwarm
	index int
	spec  chaosSpec
	key   crypto.PrivKey
	past  chaosPast

	mu   sync.Mutex // guards all following fields
	life *chaosLife // nil: never started
}

// chaosLife is one run of a node's process.
type chaosLife struct {
	node    *node.Node
	cancel  context.CancelFunc
	ended   chan struct{} // closed when Run has returned
	err     error         // of Run; valid when ended
	killed  bool          // guarded by chaosNode.mu
	leaving bool          // owned by who begins faults
}

// chaosClient is a coordinator's process.
type chaosClient struct {
	index int
	ctx   context.Context // ends with the process
	die   context.CancelFunc
	c     *Client
	died  time.Time // zero: it lives
}

func newChaosSwarm(t *testing.T, p *chaosPlan) *chaosSwarm {
	s := &chaosSwarm{t: t, plan: p, net: testnet.NewSim(t, p.latency, 100_000_000), log: zap.NewNop(), began: time.Now()}
	for i, spec := range p.nodes {
		var seed [ed25519.SeedSize]byte
		binary.LittleEndian.PutUint64(seed[:], p.seed)
		seed[8] = byte(i)
		n := &chaosNode{s: s, index: i, spec: spec, key: must(crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:])))}
		n.past.sessions = map[protocol.SessionID]*replayed{}
		s.nodes = append(s.nodes, n)
		s.net.Endpoint() // its place
	}
	return s
}

// start boots the nodes that are there from the beginning, and the clients.
func (s *chaosSwarm) start() error {
	s.net.Start()
	for _, n := range s.nodes[:len(s.nodes)-s.plan.late] {
		if err := n.boot(); err != nil {
			return err
		}
	}
	for i := range s.plan.clients {
		_, options := s.net.Endpoint()
		c := &chaosClient{index: len(s.nodes) + i}
		c.ctx, c.die = context.WithCancel(context.Background())
		s.clients = append(s.clients, c)
		chaosHosts.Add(1)
		var err error
		if c.c, err = Dial(c.ctx, Config{Bootstrap: s.bootstrap(), NoMDNS: true, Version: "test", HostOptions: options, Log: s.log.Named(fmt.Sprintf("host %d", c.index))}); err != nil {
			return err
		}
	}
	return nil
}

// bootstrap names two nodes: either may be down.
func (s *chaosSwarm) bootstrap() []string {
	var list []string
	for _, n := range s.nodes[:2] {
		list = append(list, fmt.Sprintf("/ip4/10.0.0.%d/udp/8000/quic-v1/p2p/%s", n.index+1, must(peer.IDFromPrivateKey(n.key))))
	}
	return list
}

// logf adds a line to the story.
func (s *chaosSwarm) logf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.story, "%9.3f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// Write takes log lines into the story.
func (s *chaosSwarm) Write(b []byte) (int, error) {
	s.logf("    %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// told returns the story so far.
func (s *chaosSwarm) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.story.String()
}

// boot starts the node's process.
func (n *chaosNode) boot() error {
	s := n.s
	cfg := node.Config{
		File: chaosFile(), Manifest: chaosManifest(), ModelName: "tiny", Layers: n.spec.layers, Memory: 1 << 40, KVBudget: 16 << 20,
		ReplayBudget: n.spec.replay, MaxSessions: 8, DrainTime: 3 * time.Second, Key: n.key, NoMDNS: true, Version: "test", Bootstrap: s.bootstrap(),
		Log:   s.log.Named(fmt.Sprintf("host %d", n.index)),
		Serve: func(served p2p.Node) p2p.Node { return replayer{served, &n.past} },
		StepCost: func(rows int) time.Duration {
			return n.spec.step * time.Duration(rows+3) / 4
		},
		Sleep: func(ctx context.Context, d time.Duration) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			s.net.AwaitThaw(n.index, ctx.Done())
		},
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	cfg.Listen, cfg.HostOptions = s.net.Replug(n.index)
	chaosHosts.Add(1)
	made, err := node.New(context.Background(), cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &chaosLife{node: made, cancel: cancel, ended: make(chan struct{})}
	n.life = l
	s.running.Go(func() {
		defer close(l.ended)
		l.err = made.Run(ctx)
	})
	return nil
}

// kill ends the process without a word.
func (n *chaosNode) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.life
	if l == nil || l.killed {
		return
	}
	l.killed = true
	n.s.net.Cut(n.index, true)
	n.s.net.Freeze(n.index, false) // it must not wait for its own end
	l.cancel()
	n.s.running.Go(func() { _ = l.node.Host().Close() })
}

// restart boots the node once its last process has ended.
func (n *chaosNode) restart() {
	if n.s.plan.isDoomed(n.index) {
		return
	}
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	n.s.booting.Go(func() {
		if l != nil {
			<-l.ended
		}
		n.s.logf("host %d is up", n.index)
		if err := n.boot(); err != nil {
			n.s.t.Errorf("seed %d: host %d does not start again: %v", n.s.plan.seed, n.index, err)
		}
	})
}

// process returns the node's process; nil: there is none.
func (n *chaosNode) process() *chaosLife {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.life
	if l == nil || l.killed {
		return nil
	}
	select {
	case <-l.ended:
		return nil
	default:
		return l
	}
}

// begin makes a fault happen, and returns what ends it; nil: nothing does, or it found nothing to hurt.
func (s *chaosSwarm) begin(f chaosFault) (end func()) {
	if f.a >= len(s.nodes) {
		return s.beginClient(f, s.clients[f.a-len(s.nodes)])
	}
	n := s.nodes[f.a]
	l := n.process()
	switch f.kind {
	case chaosJoin:
		n.restart()
	case chaosReplay:
		n.past.on.Store(true)
	case chaosPart, chaosHalf, chaosLoss, chaosJitter:
		return s.beginNetwork(f)
	case chaosKill, chaosDrain, chaosFreeze, chaosCut, chaosDie:
		if l != nil {
			return n.begin(f.kind, l)
		}
	}
	return nil
}

// begin hurts a process.
func (n *chaosNode) begin(kind chaosKind, l *chaosLife) (end func()) {
	net := n.s.net
	switch kind {
	case chaosKill:
		n.kill()
		if !l.leaving {
			return n.restart
		}
	case chaosDrain:
		if !l.leaving {
			l.leaving = true
			l.node.Leave()
			return n.restart
		}
	case chaosFreeze:
		net.Freeze(n.index, true)
		return func() { net.Freeze(n.index, false) }
	case chaosCut:
		net.Cut(n.index, true)
		return func() {
			if n.process() == l { // else it was killed, or is another
				net.Cut(n.index, false)
			}
		}
	}
	return nil
}

func (s *chaosSwarm) beginNetwork(f chaosFault) (end func()) {
	switch f.kind {
	case chaosLoss:
		s.net.Lose(f.often, s.plan.seed)
		return func() { s.net.Lose(0, 0) }
	case chaosJitter:
		s.net.Jitter(f.most, s.plan.seed)
		return func() { s.net.Jitter(0, 0) }
	case chaosPart:
		s.net.Block(f.b, f.a, true)
	}
	s.net.Block(f.a, f.b, true)
	return func() {
		s.net.Block(f.a, f.b, false)
		s.net.Block(f.b, f.a, false)
	}
}

func (s *chaosSwarm) beginClient(f chaosFault, c *chaosClient) (end func()) {
	switch {
	case f.kind == chaosPart || f.kind == chaosHalf:
		return s.beginNetwork(f)
	case !c.died.IsZero():
	case f.kind == chaosDie:
		s.net.Cut(c.index, true)
		s.net.Freeze(c.index, false)
		c.died = time.Now()
		c.die()
		s.running.Go(func() { _ = c.c.Close() })
	case f.kind == chaosFreeze:
		s.net.Freeze(c.index, true)
		return func() { s.net.Freeze(c.index, false) }
	case f.kind == chaosCut:
		s.net.Cut(c.index, true)
		return func() {
			if c.died.IsZero() {
				s.net.Cut(c.index, false)
			}
		}
	}
	return nil
}
