// SPDX-License-Identifier: MIT

package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/quic-go/quic-go"
)

// ConnStats is what QUIC knows of one connection. Counts are since it was made, and only those of packets lost can fall: some arrive late.
type ConnStats struct {
	Peer   peer.ID
	RTT    time.Duration // smoothed
	Jitter time.Duration // mean deviation of round trips
	Window uint64        // bytes that may be on the way to the peer

	BytesSent, BytesReceived     uint64
	PacketsSent, PacketsReceived uint64
	PacketsLost                  uint64
}

// connStats reads the statistics of a connection, false where its transport has none: TCP.
func connStats(c network.Conn) (ConnStats, bool) {
	var q *quic.Conn
	if !c.As(&q) {
		return ConnStats{}, false
	}
	s := q.ConnectionStats()
	return ConnStats{
		Peer: c.RemotePeer(), RTT: s.SmoothedRTT, Jitter: s.MeanDeviation, Window: s.CongestionWindow,
		BytesSent: s.BytesSent, BytesReceived: s.BytesReceived, PacketsSent: s.PacketsSent, PacketsReceived: s.PacketsReceived, PacketsLost: s.PacketsLost,
	}, true
}

// Connections returns the statistics of all QUIC connections, and how many others there are.
func (h *Host) Connections() (all []ConnStats, others int) {
	for _, c := range h.raw.Network().Conns() {
		if s, ok := connStats(c); ok {
			all = append(all, s)
		} else {
			others++
		}
	}
	return all, others
}

// RoundTrip returns the time of the way to p and back, as QUIC's packets take it now, or as it was measured last; 0: not known.
func (h *Host) RoundTrip(p peer.ID) time.Duration {
	for _, c := range h.raw.Network().ConnsToPeer(p) {
		if s, ok := connStats(c); ok && s.RTT > 0 {
			return s.RTT
		}
	}
	l, _ := h.Link(p)
	return time.Duration(l.RTT)
}
