// SPDX-License-Identifier: MIT

package p2p

// MaxPending is maxPending for tests.
const MaxPending = maxPending

// MaxPeerStreams is maxPeerStreams for tests.
const MaxPeerStreams = maxPeerStreams

// Pending returns how many connections wait for admission.
func Pending(h *Host) int {
	h.admission.mu.Lock()
	defer h.admission.mu.Unlock()
	return h.admission.pending
}
