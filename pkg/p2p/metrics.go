// SPDX-License-Identifier: MIT

package p2p

import (
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
)

// netCollector tells Prometheus of a host's connections.
type netCollector struct {
	h     *Host
	nodes func() func(peer.ID) bool

	connections, bytes, packets, lost, peersLost *prometheus.Desc
	rtt, jitter, window                          *prometheus.Desc // peer
}

// Collector returns what Prometheus may know of the host's connections, as metrics whose names begin with namespace (docs/observability.md).
// nodes is asked whenever metrics are read, for what tells which peers get series of their own: nodes, which keep their identity, and not
// coordinators, each of which has a new one.
func (h *Host) Collector(namespace string, nodes func() func(peer.ID) bool) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "network", name), help, labels, nil)
	}
	return &netCollector{
		h: h, nodes: nodes,
		connections: desc("connections", "Connections open now, by transport.", "transport"),
		bytes:       desc("bytes_total", "Bytes of QUIC packets, by direction.", "direction"),
		packets:     desc("packets_total", "QUIC packets, by direction.", "direction"),
		lost:        desc("packets_lost_total", "QUIC packets sent and taken for lost."),
		peersLost:   desc("peers_lost_total", "Peers that shared a session and went silent, died or were cut off."),
		rtt:         desc("rtt_seconds", "Round trip to a node, smoothed by QUIC.", "peer"),
		jitter:      desc("rtt_deviation_seconds", "Mean deviation of the round trip to a node.", "peer"),
		window:      desc("congestion_window_bytes", "Bytes that may be on the way to a node.", "peer"),
	}
}

// Describe implements prometheus.Collector.
func (c *netCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connections, c.bytes, c.packets, c.lost, c.peersLost, c.rtt, c.jitter, c.window} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *netCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	open, others := c.h.Connections()
	gauge(c.connections, float64(len(open)), "quic")
	gauge(c.connections, float64(others), "tcp")
	t := c.h.traffic.total(open)
	count(c.bytes, t.bytesSent, "sent")
	count(c.bytes, t.bytesReceived, "received")
	count(c.packets, t.packetsSent, "sent")
	count(c.packets, t.packetsReceived, "received")
	count(c.lost, t.packetsLost)
	count(c.peersLost, c.h.peersLost.Load())
	isNode := c.nodes()
	told := map[peer.ID]bool{} // a peer may have several connections: the first is the one that is used
	for i := range open {
		s := &open[i]
		if told[s.Peer] || !isNode(s.Peer) {
			continue
		}
		told[s.Peer] = true
		gauge(c.rtt, s.RTT.Seconds(), s.Peer.String())
		gauge(c.jitter, s.Jitter.Seconds(), s.Peer.String())
		gauge(c.window, float64(s.Window), s.Peer.String())
	}
}
