// SPDX-License-Identifier: MIT

package p2p

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
)

// traffic counts what all QUIC connections of a host have sent and received, those that have ended included. It is told of their ends as a
// network.Notifiee.
type traffic struct {
	mu    sync.Mutex // guards all following fields
	ended totals     // of connections that have ended
	shown totals     // told last
}

// totals only grow.
type totals struct {
	bytesSent, bytesReceived, packetsSent, packetsReceived, packetsLost uint64
}

func (t *totals) add(s *ConnStats) {
	t.bytesSent += s.BytesSent
	t.bytesReceived += s.BytesReceived
	t.packetsSent += s.PacketsSent
	t.packetsReceived += s.PacketsReceived
	t.packetsLost += s.PacketsLost
}

// total is what was counted, never less than before: packets taken for lost that arrive late, and a connection that is between its end and the
// news of it, must not look like a counter that begins again.
func (t *traffic) total(open []ConnStats) totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.ended
	for i := range open {
		sum.add(&open[i])
	}
	t.shown = totals{
		max(sum.bytesSent, t.shown.bytesSent), max(sum.bytesReceived, t.shown.bytesReceived),
		max(sum.packetsSent, t.shown.packetsSent), max(sum.packetsReceived, t.shown.packetsReceived), max(sum.packetsLost, t.shown.packetsLost),
	}
	return t.shown
}

// Disconnected implements network.Notifiee.
func (t *traffic) Disconnected(_ network.Network, c network.Conn) {
	if s, ok := connStats(c); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ended.add(&s)
	}
}

// Connected implements network.Notifiee.
func (*traffic) Connected(network.Network, network.Conn) {}

// Listen implements network.Notifiee.
func (*traffic) Listen(network.Network, multiaddr.Multiaddr) {}

// ListenClose implements network.Notifiee.
func (*traffic) ListenClose(network.Network, multiaddr.Multiaddr) {}
