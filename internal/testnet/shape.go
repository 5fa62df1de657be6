// SPDX-License-Identifier: MIT

package testnet

import (
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/marcopolo/simnet"
)

// Path is what packets from one host to another suffer.
type Path struct {
	Latency time.Duration // mean delay
	Jitter  time.Duration // standard deviation of it: delays are spread evenly, so Latency must be 1.74 times as long
	Loss    float64       // share of packets dropped
}

// Shape gives each pair of hosts, in each direction, a path of its own from now on, in place of latency and jitter of the whole network;
// seed decides what is late and what is lost. Bandwidths stay those of the hosts.
func (n *Sim) Shape(seed uint64, path func(from, to int) Path) {
	n.shape.Store(&shape{path: path, random: rand.New(rand.NewPCG(seed, 2))})
}

type shape struct {
	path func(from, to int) Path

	mu     sync.Mutex // guards random
	random *rand.Rand
}

// draw is the delay of a packet.
func (s *shape) draw(p *simnet.Packet) time.Duration {
	path := s.path(hostAt(p.From), hostAt(p.To))
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, path.Latency+time.Duration((2*s.random.Float64()-1)*math.Sqrt(3)*float64(path.Jitter)))
}

// drops decides whether a packet is lost.
func (s *shape) drops(from, to int) bool {
	if s == nil {
		return false
	}
	loss := s.path(from, to).Loss
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64() < loss
}

// hostAt is the number of the host with an address, -1 if it is none of the network's.
func hostAt(addr net.Addr) int {
	if a, ok := addr.(*net.UDPAddr); ok && len(a.IP.To4()) == net.IPv4len {
		return int(a.IP.To4()[3]) - 1
	}
	return -1
}
