// SPDX-License-Identifier: MIT

package testnet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"

	"github.com/shardnode/shardnode/pkg/p2p"
)

// Sim is a simulated network. Create it and everything on it within one synctest bubble: make the hosts, then Start,
// then let them talk; Close ends it all. Hosts are 10.0.0.1, 10.0.0.2, … so that they count as a private network.
type Sim struct {
	tb   testing.TB
	net  simnet.Simnet
	link simnet.NodeBiDiLinkSettings
	loss atomic.Pointer[loss]

	jitter atomic.Pointer[jitter]
	shape  atomic.Pointer[shape]

	mu      sync.Mutex // guards all following fields
	hosts   []*p2p.Host
	ports   []*port         // per host
	blocked map[[2]int]bool // from host to host: packets are dropped
}

// NewSim makes a network where each packet takes latency one way and each host has a link of bitsPerSecond up and down.
func NewSim(tb testing.TB, latency time.Duration, bitsPerSecond int) *Sim {
	n := &Sim{tb: tb, blocked: map[[2]int]bool{}}
	n.link.Uplink.BitsPerSecond = bitsPerSecond
	n.link.Downlink.BitsPerSecond = bitsPerSecond
	n.net.LatencyFunc = func(p *simnet.Packet) time.Duration {
		if s := n.shape.Load(); s != nil {
			return s.draw(p)
		}
		return latency + n.jitter.Load().draw()
	}
	return n
}

// Endpoint reserves the next host's place: the address to listen on and the libp2p options that put a host there. A host
// that only dials takes the options alone.
func (n *Sim) Endpoint() ([]multiaddr.Multiaddr, []libp2p.Option) {
	n.tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports = append(n.ports, nil)
	if len(n.ports) > 250 {
		n.tb.Fatal("a simulated network has at most 250 hosts")
	}
	return n.plug(len(n.ports) - 1)
}

// Replug is [Sim.Endpoint] for a host that comes back at the place of host i: at the same address, with a new port. The one before must be
// cut off and closed, or be about to close.
func (n *Sim) Replug(i int) ([]multiaddr.Multiaddr, []libp2p.Option) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.plug(i)
}

// plug makes the port of host i. n.mu is held.
func (n *Sim) plug(i int) ([]multiaddr.Multiaddr, []libp2p.Option) {
	ip := fmt.Sprintf("10.0.0.%d", i+1)
	n.ports[i] = &port{net: n, host: i}
	listen := multiaddr.StringCast("/ip4/" + ip + "/udp/8000/quic-v1")
	return []multiaddr.Multiaddr{listen}, []libp2p.Option{
		n.quic(net.ParseIP(ip).To4(), n.ports[i]),
		// It waits for real packets: the bubble would stall.
		libp2p.DisableIdentifyAddressDiscovery(),
	}
}

// Host adds a host, which Close closes; cfg's Listen and Options are the network's.
func (n *Sim) Host(cfg p2p.Config) *p2p.Host {
	n.tb.Helper()
	cfg.Listen, cfg.Options = n.Endpoint()
	h, err := p2p.NewHost(cfg)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.mu.Lock()
	n.hosts = append(n.hosts, h)
	n.mu.Unlock()
	return h
}

// Start lets packets flow.
func (n *Sim) Start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.net.Start()
}

// Cut drops all packets from and to host i (true), as a pulled cable does, or lets them flow again.
func (n *Sim) Cut(i int, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[i].cut.Store(cut)
}

// Block drops the packets that host from sends to host to (true), as one direction of a broken link does, or lets them flow again.
func (n *Sim) Block(from, to int, block bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[[2]int{from, to}] = block
}

func (n *Sim) blocks(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.blocked[[2]int{from, to}]
}

// Freeze stops host i's network (true), as a stopped process's: nothing is sent and nothing received, and all of it, as far as it fits
// into a socket's buffers, is when it goes on (false). Nobody waits for that: who held a lock would stop the bubble's clock.
func (n *Sim) Freeze(i int, freeze bool) {
	n.mu.Lock()
	p := n.ports[i]
	n.mu.Unlock()
	p.freeze(freeze)
}

// AwaitThaw returns when host i is not frozen, or done is closed.
func (n *Sim) AwaitThaw(i int, done <-chan struct{}) {
	n.mu.Lock()
	p := n.ports[i]
	n.mu.Unlock()
	p.await(done)
}

// Jitter delays each packet by up to most more from now on, so that some overtake others; seed decides which.
func (n *Sim) Jitter(most time.Duration, seed uint64) {
	n.jitter.Store(&jitter{most: most, random: rand.New(rand.NewPCG(seed, 1))})
}

type jitter struct {
	most time.Duration

	mu     sync.Mutex // guards random
	random *rand.Rand
}

func (j *jitter) draw() time.Duration {
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Duration(j.random.Int64N(int64(j.most) + 1))
}

// Lose drops each packet with probability p from now on; seed decides which.
func (n *Sim) Lose(p float64, seed uint64) {
	n.loss.Store(&loss{p: p, random: rand.New(rand.NewPCG(seed, 0))})
}

// loss decides which packets are dropped.
type loss struct {
	p float64

	mu     sync.Mutex // guards random
	random *rand.Rand
}

func (l *loss) drops() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.Float64() < l.p
}

// Close closes the hosts, then the network.
func (n *Sim) Close() {
	n.mu.Lock()
	hosts := n.hosts
	n.mu.Unlock()
	for _, h := range hosts {
		_ = h.Close()
	}
	n.net.Close()
}

// quic gives a host's QUIC transport an endpoint of the network for a socket.
func (n *Sim) quic(ip net.IP, p *port) libp2p.Option {
	build := func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		cm, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			l.Append(fx.StopHook(cm.Close))
		}
		return cm, err
	}
	return libp2p.QUICReuse(build,
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sourceIP(ip), nil }),
		quicreuse.OverrideListenUDP(func(_ string, addr *net.UDPAddr) (net.PacketConn, error) {
			if addr.IP.IsUnspecified() {
				addr = &net.UDPAddr{IP: ip, Port: 9000} // of a host that only dials
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			return p.socket(n.net.NewEndpoint(addr, n.link)), nil
		}))
}

// sourceIP answers which of a host's addresses it sends from: its only one.
type sourceIP net.IP

func (ip sourceIP) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return net.IP(ip), nil
}
