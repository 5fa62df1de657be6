// SPDX-License-Identifier: MIT

package node

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// namespace begins the names of a node's metrics. docs/observability.md lists them. Nothing in them is of one user, and no label's values come
// from requests.
const namespace = "shardnode"

// The kinds of steps: of one row, as when a token is generated, and of more, as when a prompt is read.
const (
	kindDecode  = "decode"
	kindPrefill = "prefill"
)

// metrics are what a node counts while it works. The step loop and the deliverers of sessions call the observers, which allocate nothing.
type metrics struct {
	all []prometheus.Collector

	compute, queue, decode, encode map[string]prometheus.Observer // kind
	rows                           prometheus.Observer
	send                           prometheus.Observer
	reopened                       prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
		m.all = append(m.all, v)
		return v
	}
	times := prometheus.ExponentialBuckets(0.00001, 2, 20) // 10 µs to 5 s
	kinds := func(name, help string) map[string]prometheus.Observer {
		v := histogram(name, help, times, "kind")
		return map[string]prometheus.Observer{kindDecode: v.WithLabelValues(kindDecode), kindPrefill: v.WithLabelValues(kindPrefill)}
	}
	m.compute = kinds("step_compute_seconds", "A step's pass through the node's layers.")
	m.queue = kinds("step_queue_seconds", "A step's wait for the step loop, decoding not included.")
	m.decode = kinds("step_decode_seconds", "Bytes to hidden states, of a step.")
	m.encode = kinds("step_encode_seconds", "Hidden states to bytes and their digest, of a step; on the last hop, the draw of the token.")
	m.rows = histogram("batch_rows", "Rows of all sessions that went through the layers in one pass.", prometheus.ExponentialBuckets(1, 2, 10)).WithLabelValues()
	m.send = histogram("send_seconds", "Handing an output to the transport: framing, and waiting where the receiver is behind.", times).WithLabelValues()
	m.reopened = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "sessions_reopened_total", Help: "Sessions opened in a later epoch: routes that were healed or moved by way of this node.",
	})
	m.all = append(m.all, m.reopened)
	return m
}

// observer tells the step loop what to call; nothing if there are no metrics.
func (m *metrics) observer() engine.Observer {
	if m == nil {
		return engine.Observer{}
	}
	return engine.Observer{
		Pass: func(rows int, _ time.Duration) { m.rows.Observe(float64(rows)) },
		Step: func(t *protocol.HopTiming) {
			kind := kindPrefill
			if t.Rows == 1 {
				kind = kindDecode
			}
			m.compute[kind].Observe(time.Duration(t.Processing).Seconds())
			m.queue[kind].Observe(time.Duration(t.Queue).Seconds())
			m.decode[kind].Observe(time.Duration(t.Decode).Seconds())
			m.encode[kind].Observe(time.Duration(t.Encode).Seconds())
		},
	}
}

// session counts a session that is to be opened, and returns a deliver that is measured.
func (m *metrics) session(o *protocol.Open, deliver func(protocol.Frame) error) func(protocol.Frame) error {
	if o.Epoch > 0 {
		m.reopened.Inc()
	}
	return func(f protocol.Frame) error {
		began := time.Now()
		err := deliver(f)
		m.send.Observe(time.Since(began).Seconds())
		return err
	}
}

// registerMetrics registers all metrics of the node.
func (n *Node) registerMetrics() error {
	all := append([]prometheus.Collector{
		newStateCollector(n), n.host.Collector(namespace, n.known),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, n.metrics.all...)
	for _, c := range all {
		if err := n.cfg.Metrics.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// known returns what tells whether a peer is a node of the swarm.
func (n *Node) known() func(peer.ID) bool {
	d := n.finder.Peek()
	return func(p peer.ID) bool { return d.Node(p.String()) != nil }
}
