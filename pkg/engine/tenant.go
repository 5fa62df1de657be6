// SPDX-License-Identifier: MIT

package engine

// tenant is a peer that opens sessions, for as long as one is open. A node is fair between tenants: what one of them does costs the others no
// more than it must. Who shares a tenant is its own business: a coordinator has a queue for its users. Guarded by Engine.mu.
type tenant struct {
	peer     string
	sessions int    // open
	turn     uint64 // number of the latest chunk of a prompt that was computed for it
}

// enter notes a session of a peer. A new tenant comes after those that wait. e.mu is held.
func (e *Engine) enter(peer string) *tenant {
	t := e.tenants[peer]
	if t == nil {
		t = &tenant{peer: peer, turn: e.turns}
		e.tenants[peer] = t
	}
	t.sessions++
	return t
}

// leave notes the end of a session. e.mu is held.
func (e *Engine) leave(t *tenant) {
	if t.sessions--; t.sessions == 0 {
		delete(e.tenants, t.peer)
	}
}
