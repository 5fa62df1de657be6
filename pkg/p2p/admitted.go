// SPDX-License-Identifier: MIT

package p2p

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"
)

// admission knows which connections have passed the handshake and cuts off those that do not in time. A peer is
// admitted while one of its admitted connections is open: both ends mark the same connection, so neither can believe
// in an admission the other has forgotten. (The peer ID itself is authenticated by TLS on each connection.)
type admission struct {
	network.NoopNotifiee
	h *Host

	mu      sync.Mutex // guards all following fields; taken before Host.mu
	closed  bool
	conns   map[peer.ID]map[network.Conn]*connState
	pending int                    // connections that wait for admission
	running map[peer.ID]*handshake // started by this side
}

type connState struct {
	admitted bool
	pending  bool        // counted in admission.pending
	timer    *time.Timer // cuts the connection off; stopped by admission
}

func newAdmission(h *Host) *admission {
	return &admission{
		h:       h,
		conns:   make(map[peer.ID]map[network.Conn]*connState),
		running: make(map[peer.ID]*handshake),
	}
}

// Admitted reports whether p has passed admission and is connected.
func (h *Host) Admitted(p peer.ID) bool { return h.admission.admitted(p) }

func (a *admission) admitted(p peer.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.admittedLocked(p)
}

func (a *admission) admittedLocked(p peer.ID) bool {
	for c, st := range a.conns[p] {
		if st.admitted && !c.IsClosed() {
			return true
		}
	}
	return false
}

// Connected implements network.Notifiee. libp2p calls it before it accepts the connection's first stream.
func (a *admission) Connected(_ network.Network, c network.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	if a.pending >= maxPending && c.Stat().Direction == network.DirInbound {
		go func() { _ = c.CloseWithError(network.ConnResourceLimitExceeded) }()
		return
	}
	p := c.RemotePeer()
	if a.conns[p] == nil {
		a.conns[p] = make(map[network.Conn]*connState)
	}
	a.pending++
	a.conns[p][c] = &connState{pending: true, timer: time.AfterFunc(AdmitTimeout, func() { a.expire(c) })}
}

// Disconnected implements network.Notifiee.
func (a *admission) Disconnected(_ network.Network, c network.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := c.RemotePeer()
	st := a.conns[p][c]
	if st == nil {
		return
	}
	st.timer.Stop()
	a.settle(st)
	delete(a.conns[p], c)
	if len(a.conns[p]) == 0 {
		delete(a.conns, p)
		return
	}
	if !a.closed && !a.admittedLocked(p) {
		// The peer's other connections relied on this one.
		for _, other := range a.conns[p] {
			other.timer.Reset(AdmitTimeout)
		}
	}
}

// admit marks c; false means that it closed in the meantime.
func (a *admission) admit(c network.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := a.conns[c.RemotePeer()][c]
	if st == nil || c.IsClosed() {
		return false
	}
	st.admitted = true
	st.timer.Stop()
	a.settle(st)
	return true
}

func (a *admission) settle(st *connState) {
	if st.pending {
		st.pending = false
		a.pending--
	}
}

// expire closes c unless its peer is admitted, over this connection or another.
func (a *admission) expire(c network.Conn) {
	a.mu.Lock()
	p := c.RemotePeer()
	st := a.conns[p][c]
	cut := st != nil && !st.admitted && !a.admittedLocked(p)
	if st != nil && !cut {
		a.settle(st)
	}
	a.mu.Unlock()
	if cut {
		a.h.cfg.Log.Debug("no admission in time", zap.Stringer("peer", p), zap.Stringer("address", c.RemoteMultiaddr()))
		_ = c.CloseWithError(network.ConnGated)
	}
}

// close stops the timers; connections are closed with the host.
func (a *admission) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, conns := range a.conns {
		for _, st := range conns {
			st.timer.Stop()
		}
	}
}
