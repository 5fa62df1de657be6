// SPDX-License-Identifier: MIT

package testnet

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/marcopolo/simnet"
)

// port is a host's place on the network.
type port struct {
	net  *Sim
	host int
	cut  atomic.Bool

	mu      sync.Mutex    // guards all following fields, and those of sockets that say so
	thaw    chan struct{} // closed when the host goes on; nil: it is not frozen
	sockets []*socket
}

// socket makes a socket of an endpoint.
func (p *port) socket(c *simnet.SimConn) *socket {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &socket{SimConn: c, port: p}
	p.sockets = append(p.sockets, s)
	return s
}

func (p *port) freeze(freeze bool) {
	p.mu.Lock()
	if freeze == (p.thaw != nil) {
		p.mu.Unlock()
		return
	}
	if freeze {
		p.thaw = make(chan struct{})
		p.mu.Unlock()
		return
	}
	close(p.thaw)
	p.thaw = nil
	sockets := slices.Clone(p.sockets)
	p.mu.Unlock()
	for _, s := range sockets {
		s.goOn()
	}
}

// await waits while the host is frozen.
func (p *port) await(done <-chan struct{}) {
	p.mu.Lock()
	thaw := p.thaw
	p.mu.Unlock()
	if thaw == nil {
		return
	}
	select {
	case <-thaw:
	case <-done:
	}
}

// socket is an endpoint that can be cut off or frozen, and loses packets.
type socket struct {
	*simnet.SimConn
	port *port

	// Guarded by port.mu.
	out, in  []packet  // while the host is frozen, and until they are read
	woken    bool      // the read deadline was set to end a read
	deadline time.Time // the read deadline that the owner has set
}

type packet struct {
	body []byte
	addr net.Addr
}

// maxHeld is how many packets a frozen host holds in each direction, as the buffers of a socket do.
const maxHeld = 256

// hold keeps a packet if the host is frozen, and reports whether it is.
func (s *socket) hold(list *[]packet, body []byte, addr net.Addr) bool {
	s.port.mu.Lock()
	defer s.port.mu.Unlock()
	if s.port.thaw == nil {
		return false
	}
	if len(*list) < maxHeld {
		*list = append(*list, packet{slices.Clone(body), addr})
	}
	return true
}

// goOn sends what was held, and lets the reader have what came.
func (s *socket) goOn() {
	s.port.mu.Lock()
	out := s.out
	s.out = nil
	if len(s.in) > 0 {
		s.woken = true
		_ = s.SimConn.SetReadDeadline(time.Now())
	}
	s.port.mu.Unlock()
	for _, p := range out {
		_, _ = s.send(p.body, p.addr) // it may be closed by now
	}
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(p []byte, addr net.Addr) (int, error) {
	if s.hold(&s.out, p, addr) {
		return len(p), nil
	}
	return s.send(p, addr)
}

func (s *socket) send(p []byte, addr net.Addr) (int, error) {
	n := s.port.net
	if s.port.cut.Load() || n.loss.Load().drops() {
		return len(p), nil
	}
	if to := hostAt(addr); to >= 0 && (n.blocks(s.port.host, to) || n.shape.Load().drops(s.port.host, to)) {
		return len(p), nil
	}
	return s.SimConn.WriteTo(p, addr)
}

// ReadFrom implements net.PacketConn. It reads on while the host is frozen: else the network would wait for it.
func (s *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if held, ok := s.held(); ok {
			return copy(p, held.body), held.addr, nil
		}
		n, addr, err := s.SimConn.ReadFrom(p)
		switch {
		case err != nil && s.rested():
		case err != nil:
			return n, addr, err
		case s.port.cut.Load() || s.hold(&s.in, p[:n], addr):
		default:
			return n, addr, nil
		}
	}
}

// held returns the next packet that came while the host was frozen.
func (s *socket) held() (packet, bool) {
	s.port.mu.Lock()
	defer s.port.mu.Unlock()
	if s.port.thaw != nil || len(s.in) == 0 {
		return packet{}, false
	}
	first := s.in[0]
	s.in = s.in[1:]
	return first, true
}

// rested reports whether a read was ended by goOn, and lets reads wait again.
func (s *socket) rested() bool {
	s.port.mu.Lock()
	defer s.port.mu.Unlock()
	if !s.woken {
		return false
	}
	s.woken = false
	_ = s.SimConn.SetReadDeadline(s.deadline)
	return true
}

// SetReadDeadline implements net.PacketConn.
func (s *socket) SetReadDeadline(t time.Time) error {
	s.port.mu.Lock()
	defer s.port.mu.Unlock()
	s.deadline = t
	if s.woken {
		return nil // see rested
	}
	return s.SimConn.SetReadDeadline(t)
}

// SetDeadline implements net.PacketConn.
func (s *socket) SetDeadline(t time.Time) error {
	if err := s.SimConn.SetWriteDeadline(t); err != nil {
		return err
	}
	return s.SetReadDeadline(t)
}
