// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"
)

// proofs are of connections at rest. QUIC believes in one for 30 s and more after the other end is gone: a stream on it opens, takes
// what is written, and fails at the first read. So before a new exchange the connection has to give a sign of life.
type proofs struct {
	network.NoopNotifiee
	h *Host

	mu sync.Mutex // guards all following fields; taken before watches.mu and Host.mu
	m  map[network.Conn]*proof
}

// proof is what exchanges know of one connection. Its fields are guarded by proofs.mu.
type proof struct {
	heard time.Time     // last sign of life, its opening the first; zero: in doubt, whoever watches it
	done  chan struct{} // closed when the demand under way has ended; nil: there is none
}

// demand lets every connection to p that has been silent for longer than a live peer would be prove itself, and closes those that do
// not: libp2p may choose any of them for the next stream. Callers at the same time share the wait, which is a round trip, or
// silenceFirst and what a far peer takes longer. The error is that of ctx.
func (d *proofs) demand(ctx context.Context, p peer.ID) error {
	var waits []<-chan struct{}
	for _, c := range d.h.raw.Network().ConnsToPeer(p) {
		if c.IsClosed() {
			_ = c.Close() // libp2p has not noticed yet
			continue
		}
		if done := d.start(c); done != nil {
			waits = append(waits, done)
		}
	}
	for _, done := range waits {
		select {
		case <-done:
		case <-ctx.Done():
			return typed("wait for a sign of life of", p, ctx.Err())
		}
	}
	return nil
}

// start begins a demand unless c needs none, and returns what is closed at its end.
func (d *proofs) start(c network.Conn) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	pr := d.of(c)
	if pr == nil {
		return nil
	}
	if pr.done != nil {
		return pr.done
	}
	s := listenTo(c)
	if !pr.heard.IsZero() && (time.Since(pr.heard) <= s.deadline() || d.h.watches.has(c)) {
		return nil // a watch closes it when it has to
	}
	if !d.h.enter() {
		return nil
	}
	// How busy the other end is cannot be known after a rest, and to lose a connection that lives is worse than to wait.
	s.least = silenceFirst
	pr.done = make(chan struct{})
	go d.run(c, pr, s)
	return pr.done
}

// run demands the proof.
func (d *proofs) run(c network.Conn, pr *proof, s silence) {
	defer d.h.exit()
	began := s.heard
	err := (&watch{h: d.h, conn: c}).exchange(&s, func(time.Time) bool { return s.heard.After(began) })
	switch {
	case errors.Is(err, errSilent):
		d.h.cfg.Log.Debug("no sign of life on a connection at rest", zap.Stringer("peer", c.RemotePeer()), zap.Duration("deadline", s.deadline()))
		_ = c.CloseWithError(connSilent)
	case broke(err) != "", c.IsClosed():
		_ = c.Close() // streams know it sooner than the connection does
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.IsClosed() {
		pr.heard = time.Now() // also of one that refuses beats
	}
	close(pr.done)
	pr.done = nil
}

// note remembers that an exchange on c was answered.
func (d *proofs) note(c network.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if pr := d.of(c); pr != nil {
		pr.heard = time.Now()
	}
}

// doubt remembers that a connection to p broke, of which libp2p may not know yet: all must prove themselves.
func (d *proofs) doubt(p peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.h.raw.Network().ConnsToPeer(p) {
		if pr := d.of(c); pr != nil {
			pr.heard = time.Time{}
		}
	}
}

// of returns what is known of c, nil if it is closed. d.mu is held.
func (d *proofs) of(c network.Conn) *proof {
	if c.IsClosed() {
		return nil
	}
	pr := d.m[c]
	if pr == nil {
		pr = &proof{heard: c.Stat().Opened}
		d.m[c] = pr
	}
	return pr
}

// Disconnected implements network.Notifiee. It comes after the closing of c.
func (d *proofs) Disconnected(_ network.Network, c network.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.m, c)
}
