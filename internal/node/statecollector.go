// SPDX-License-Identifier: MIT

package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// stateCollector reads what a node's state says when Prometheus asks. Counters begin again when the node moves to other layers.
type stateCollector struct {
	n *Node

	info, ready, draining                                          *prometheus.Desc
	sessions, sessionsMax, queued                                  *prometheus.Desc
	kvUsed, kvMax, kept, buffered                                  *prometheus.Desc
	steps, rows, stale, duplicates, expired, refusals, stepTypical *prometheus.Desc
}

func newStateCollector(n *Node) *stateCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &stateCollector{
		n:           n,
		info:        desc("info", "1, with what the node serves.", "peer", "version", "model", "layers"),
		ready:       desc("ready", "1 when the node's range is loaded and advertised and it takes sessions."),
		draining:    desc("draining", "1 when the node takes no new sessions."),
		sessions:    desc("sessions", "Sessions open now."),
		sessionsMax: desc("sessions_max", "Sessions at the most."),
		queued:      desc("queued_inputs", "Inputs that wait for the step loop."),
		kvUsed:      desc("kv_used_bytes", "KV cache memory in use."),
		kvMax:       desc("kv_budget_bytes", "KV cache memory at the most."),
		kept:        desc("kept_bytes", "Outputs kept to heal routes with."),
		buffered:    desc("buffered_bytes", "Inputs that wait and outputs on their way."),
		steps:       desc("steps_total", "Steps computed."),
		rows:        desc("rows_total", "Rows computed: tokens of prompts and generated ones."),
		stale:       desc("stale_frames_total", "Frames of earlier epochs, dropped."),
		duplicates:  desc("duplicate_frames_total", "Frames of steps taken before, dropped."),
		expired:     desc("sessions_expired_total", "Sessions ended because nothing was heard of them."),
		refusals:    desc("refusals_total", "Sessions and frames refused, by the error's code.", "code"),
		stepTypical: desc("step_seconds", "Moving mean of a one-row step's compute, as routes are chosen by."),
	}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st := c.n.Status()
	layers := ""
	if st.Layers.Len() > 0 {
		layers = st.Layers.String()
	}
	gauge(c.info, 1, st.Peer, st.Version, st.ModelName, layers)
	gauge(c.ready, boolean(c.n.ready()))
	gauge(c.draining, boolean(st.Draining))
	s := c.n.current.Load()
	if s == nil {
		return
	}
	e := s.engine.Stats()
	gauge(c.sessions, float64(e.Sessions))
	gauge(c.sessionsMax, float64(e.MaxSessions))
	gauge(c.queued, float64(s.engine.Queued()))
	gauge(c.kvUsed, float64(e.KVUsed))
	gauge(c.kvMax, float64(e.KVMax))
	gauge(c.kept, float64(e.KeptUsed))
	gauge(c.buffered, float64(e.Buffered))
	gauge(c.stepTypical, e.MeanStep.Seconds())
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	count(c.steps, e.Steps)
	count(c.rows, e.Rows)
	count(c.stale, e.Stale)
	count(c.duplicates, e.Duplicates)
	count(c.expired, e.Expired)
	for code := protocol.CodeInternal; code <= protocol.CodeForbidden; code++ { // each, so that a first one is a rise
		count(c.refusals, e.Refusals[code], code.String())
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
