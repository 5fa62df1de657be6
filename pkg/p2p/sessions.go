// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// sessionKey names one hop's part of a session.
type sessionKey struct {
	id    protocol.SessionID
	epoch protocol.Epoch
	index uint32
}

// sessionTable finds the session that an incoming link belongs to. A link may come before its hop's Open: the
// coordinator sends all Opens at once, and the previous hop does not wait for ours.
type sessionTable struct {
	mu      sync.Mutex // guards all following fields
	m       map[sessionKey]*session
	changed chan struct{} // closed and replaced at each add
}

func newSessionTable() *sessionTable {
	return &sessionTable{m: make(map[sessionKey]*session), changed: make(chan struct{})}
}

// add registers s; false means that the key is taken.
func (t *sessionTable) add(k sessionKey, s *session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m[k] != nil {
		return false
	}
	t.m[k] = s
	close(t.changed)
	t.changed = make(chan struct{})
	return true
}

// all returns the sessions there are.
func (t *sessionTable) all() []*session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.m))
}

func (t *sessionTable) remove(k sessionKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, k)
}

// wait returns the session of k, or nil when ctx ends first.
func (t *sessionTable) wait(ctx context.Context, k sessionKey) *session {
	for {
		t.mu.Lock()
		s, changed := t.m[k], t.changed
		t.mu.Unlock()
		if s != nil {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
