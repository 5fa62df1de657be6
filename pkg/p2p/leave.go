// SPDX-License-Identifier: MIT

package p2p

import (
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Leave asks the coordinators of all sessions, and of those that are opened again from now on, to move them to other nodes: this one
// stays for grace at the most. It does not wait. The caller sees to it that new sessions are refused.
func (h *Host) Leave(grace time.Duration) {
	by := time.Now().Add(grace)
	h.leaveBy.Store(&by)
	for _, ss := range h.sessions.all() {
		if h.enter() {
			go func() {
				defer h.exit()
				ss.tellLeaving()
			}()
		}
	}
}

// Stay undoes Leave, for a node that has handed its sessions over and serves others from now on.
func (h *Host) Stay() { h.leaveBy.Store(nil) }

// tellLeaving sends the notice once, when there is one and Opened has been sent.
func (ss *session) tellLeaving() {
	by := ss.h.leaveBy.Load()
	if by == nil || !ss.opened.Load() || ss.told.Swap(true) {
		return
	}
	grace := max(0, time.Until(*by))
	if err := ss.coord.WriteFrame(&protocol.Leaving{Session: ss.open.Session, Epoch: ss.open.Epoch, Grace: uint64(grace)}); err != nil {
		ss.log.Debug("notice of leaving not delivered", zap.Error(err))
	}
}
