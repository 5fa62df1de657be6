// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// The handshake: the dialer sends Hello, the other side its own; then the dialer proves, and the other side. Each
// proof is a MAC under the swarm key over both peer IDs, both nonces and the prover's role, so it can be neither
// replayed nor reflected. Without a key the same four frames still compare the swarm names.

// handshake is one in progress, started by this side.
type handshake struct {
	done chan struct{}
	err  error // set before done is closed
}

// ensure returns once p is admitted; p must be connected. Callers at the same time share one handshake, which goes on
// when one of them gives up.
func (a *admission) ensure(ctx context.Context, p peer.ID) error {
	a.mu.Lock()
	if a.admittedLocked(p) {
		a.mu.Unlock()
		return nil
	}
	hs := a.running[p]
	if hs == nil {
		if !a.h.enter() {
			a.mu.Unlock()
			return errClosed
		}
		hs = &handshake{done: make(chan struct{})}
		a.running[p] = hs
		go a.run(hs, p)
	}
	a.mu.Unlock()
	select {
	case <-hs.done:
		return hs.err
	case <-ctx.Done():
		return typed("enter the swarm of", p, ctx.Err())
	}
}

// run owns a handshake that this side starts.
func (a *admission) run(hs *handshake, p peer.ID) {
	defer a.h.exit()
	hs.err = a.dial(a.h.ctx, p)
	if errors.Is(hs.err, errConnClosed) && a.h.raw.Network().Connectedness(p) == network.Connected {
		// Both sides dialed at once, and one of them dropped its connection for the other.
		hs.err = a.dial(a.h.ctx, p)
	}
	a.mu.Lock()
	delete(a.running, p)
	a.mu.Unlock()
	close(hs.done)
}

// settled reports whether p is admitted, and waits for a handshake that this side has started: the other side may use
// its admission before its proof has reached us.
func (a *admission) settled(p peer.ID) bool {
	a.mu.Lock()
	ok := a.admittedLocked(p)
	hs := a.running[p]
	a.mu.Unlock()
	if ok || hs == nil {
		return ok
	}
	<-hs.done
	return a.admitted(p)
}

// dial runs the handshake as the side that starts it.
func (a *admission) dial(ctx context.Context, p peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, AdmitTimeout)
	defer cancel()
	ns, err := a.h.raw.NewStream(network.WithNoDial(ctx, "already connected"), p, AdmitProtocol)
	if err != nil {
		return typed("enter the swarm of", p, err)
	}
	s := newStream(ns, admitLimits)
	defer s.bind(ctx, network.StreamNoError)()
	if err := a.prove(s); err != nil {
		s.Reset(network.StreamGated)
		_ = ns.Conn().CloseWithError(network.ConnGated)
		return typed("enter the swarm of", p, err)
	}
	s.Close()
	return nil
}

var errConnClosed = errors.New("the connection closed during admission")

func (a *admission) prove(s *Stream) error {
	mine := a.hello()
	if err := s.WriteFrame(mine); err != nil {
		return err
	}
	var theirs protocol.Hello
	if err := expect(s, &theirs); err != nil {
		return err
	}
	if err := compatible(mine, &theirs); err != nil {
		return err
	}
	me, they := a.h.ID(), s.Peer()
	if err := s.WriteFrame(&protocol.Proof{MAC: a.mac(roleDialer, me, they, mine, &theirs)}); err != nil {
		return err
	}
	var proof protocol.Proof
	if err := expect(s, &proof); err != nil {
		return err
	}
	want := a.mac(roleListener, me, they, mine, &theirs)
	if !hmac.Equal(proof.MAC[:], want[:]) {
		return errWrongKey()
	}
	if !a.admit(s.ns.Conn()) {
		return errConnClosed
	}
	return nil
}

// serve runs the handshake as the side that was dialed.
func (a *admission) serve(ns network.Stream) {
	if !a.h.enter() {
		_ = ns.ResetWithError(network.StreamShutdown)
		return
	}
	defer a.h.exit()
	s := newStream(ns, admitLimits)
	defer s.bind(a.h.ctx, network.StreamShutdown)()
	timeout := time.AfterFunc(AdmitTimeout, func() { s.Reset(network.StreamGated) })
	defer timeout.Stop()

	err := ns.Scope().SetService(serviceName)
	if err == nil {
		err = a.verify(s)
	}
	if err == nil {
		s.Close()
		return
	}
	a.h.cfg.Log.Debug("peer not admitted", zap.Stringer("peer", s.Peer()), zap.Error(err))
	refusal := wireError(err)
	refusal.Peer = a.h.ID().String()
	if s.WriteFrame(&refusal) == nil && ns.CloseWrite() == nil {
		// Closing the connection now could overtake the refusal: let the dialer read it and hang up.
		_, _, _ = s.Next()
	}
	s.Reset(network.StreamGated)
	_ = ns.Conn().CloseWithError(network.ConnGated)
}

func (a *admission) verify(s *Stream) error {
	var theirs protocol.Hello
	if err := expect(s, &theirs); err != nil {
		return err
	}
	mine := a.hello()
	if err := s.WriteFrame(mine); err != nil {
		return err
	}
	if err := compatible(&theirs, mine); err != nil {
		return err // said as the dialer would: it is the dialer who reads it
	}
	me, they := a.h.ID(), s.Peer()
	var proof protocol.Proof
	if err := expect(s, &proof); err != nil {
		return err
	}
	want := a.mac(roleDialer, they, me, &theirs, mine)
	if !hmac.Equal(proof.MAC[:], want[:]) {
		return errWrongKey()
	}
	if !a.admit(s.ns.Conn()) {
		return errConnClosed
	}
	return s.WriteFrame(&protocol.Proof{MAC: a.mac(roleListener, they, me, &theirs, mine)})
}

func (a *admission) hello() *protocol.Hello {
	f := &protocol.Hello{Version: protocol.Version, Swarm: a.h.cfg.Swarm, HasKey: len(a.h.cfg.SwarmKey) > 0}
	_, _ = rand.Read(f.Nonce[:]) // never fails since Go 1.24
	return f
}

// compatible compares the two Hellos and says what is wrong as the dialer sees it.
func compatible(dialer, listener *protocol.Hello) error {
	switch {
	case dialer.Version != listener.Version:
		return protocol.Errorf(protocol.CodeForbidden, "protocol version differs: %d here, %d there: update the older", dialer.Version, listener.Version)
	case dialer.Swarm != listener.Swarm:
		return protocol.Errorf(protocol.CodeForbidden, "swarm name differs: this node is in %q, that one in %q", dialer.Swarm, listener.Swarm)
	case listener.HasKey && !dialer.HasKey:
		return protocol.Errorf(protocol.CodeForbidden, "this swarm needs a key: pass --swarm-key FILE")
	case dialer.HasKey && !listener.HasKey:
		return protocol.Errorf(protocol.CodeForbidden, "that node has no swarm key: start it with --swarm-key FILE")
	}
	return nil
}

func errWrongKey() error {
	return protocol.Errorf(protocol.CodeForbidden, "the swarm key differs: pass the key file of that swarm with --swarm-key")
}

// Roles in a proof, so that one side's cannot serve as the other's.
const (
	roleDialer   = 1
	roleListener = 2
)

func (a *admission) mac(role byte, dialer, listener peer.ID, d, l *protocol.Hello) [32]byte {
	return protocol.AdmissionMAC(a.h.cfg.SwarmKey, a.h.cfg.Swarm, role, string(dialer), string(listener), d.Nonce, l.Nonce)
}
