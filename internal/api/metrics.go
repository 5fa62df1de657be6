// SPDX-License-Identifier: MIT

package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// metrics are what /metrics shows: docs/api.md lists them. Nothing in them is of one user, and no label's values come from requests.
type metrics struct {
	registry *prometheus.Registry

	requests    *prometheus.CounterVec // endpoint, status
	refusals    *prometheus.CounterVec // code
	prompt      prometheus.Counter
	generated   prometheus.Counter
	queueTime   prometheus.Observer
	firstToken  prometheus.Observer
	tokenTime   prometheus.Observer
	overhead    prometheus.Observer
	hopCompute  *prometheus.HistogramVec // layers
	hopQueue    *prometheus.HistogramVec // layers
	hopEncode   *prometheus.HistogramVec // layers
	hopWire     *prometheus.HistogramVec // layers
	wire        prometheus.Observer
	own         prometheus.Observer
	recoveries  prometheus.Counter
	recoverTime prometheus.Observer
	canaries    *prometheus.CounterVec // result
}

// Buckets: from a step of a small model on loopback to a long prompt on slow machines.
var (
	stepBuckets = prometheus.ExponentialBuckets(0.0001, 2, 18) // 0.1 ms to 13 s
	waitBuckets = prometheus.ExponentialBuckets(0.001, 2, 20)  // 1 ms to 9 min
)

func newMetrics(q *queue, p *proofs, network prometheus.Collector) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "coordinator", Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "coordinator", Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(v)
		return v
	}
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "coordinator", Name: name, Help: help}, value))
	}
	m.requests = counter("http_requests_total", "Requests answered, by endpoint and status.", "endpoint", "status")
	m.refusals = counter("refusals_total", "Requests for generations that were refused or failed, by the error's code.", "code")
	m.prompt = counter("prompt_tokens_total", "Tokens of prompts whose generation has ended.").WithLabelValues()
	m.generated = counter("generated_tokens_total", "Tokens generated.").WithLabelValues()
	m.queueTime = histogram("queue_seconds", "From a request to its place.", waitBuckets).WithLabelValues()
	m.firstToken = histogram("time_to_first_token_seconds", "From a generation's start, its place given, to its first token.", waitBuckets).WithLabelValues()
	m.tokenTime = histogram("token_seconds", "From one token to the next.", stepBuckets).WithLabelValues()
	m.overhead = histogram("token_overhead_seconds", "Of a token's time what hops did not compute: encoding, wire, queues, coordinator. One mean for each generation.", stepBuckets).WithLabelValues()
	m.hopCompute = histogram("hop_compute_seconds", "A step's arithmetic at a hop.", stepBuckets, "layers")
	m.hopQueue = histogram("hop_queue_seconds", "A step's wait at a hop for the node's loop.", stepBuckets, "layers")
	m.hopEncode = histogram("hop_encode_seconds", "Hidden states into bytes and back at a hop; at the last one, also the draw of the token.", stepBuckets, "layers")
	m.hopWire = histogram("hop_wire_seconds", "Of a decode step's time on the wire the share of the way to a hop, and back from the last one (layers: back), estimated by round trips.", stepBuckets, "layers")
	m.wire = histogram("token_wire_seconds", "Of a decode step what neither hops nor the coordinator claim: network, framing, network stacks.", stepBuckets).WithLabelValues()
	m.own = histogram("token_coordinator_seconds", "Of a decode step what the coordinator took, from a token's arrival to the next step's sending.", stepBuckets).WithLabelValues()
	m.recoveries = counter("recoveries_total", "Interruptions of routes that generations outlived.").WithLabelValues()
	m.recoverTime = histogram("recovery_seconds", "From noticing a loss to the next answer.", waitBuckets).WithLabelValues()
	m.canaries = counter("canaries_total", "Tokens sent through the swarm to see whether it is whole, by result: ok, busy or failed.", "result")
	for _, result := range []string{"ok", "busy", "failed"} {
		m.canaries.WithLabelValues(result) // 0, so that a first one is a rise
	}
	gauge("generations_running", "Generations that run now.", func() float64 { running, _ := q.load(); return float64(running) })
	gauge("queue_waiting", "Generations that wait for a place now.", func() float64 { _, waiting := q.load(); return float64(waiting) })
	gauge("ready", "1 when a token went through a model's whole route lately.", func() float64 {
		if ok, _ := p.ready(); ok {
			return 1
		}
		return 0
	})
	m.registry.MustRegister(network, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler answers GET /metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// canary counts how one ended.
func (m *metrics) canary(err error) {
	switch {
	case err == nil:
		m.canaries.WithLabelValues("ok").Inc()
	case client.Busy(err):
		m.canaries.WithLabelValues("busy").Inc()
	default:
		m.canaries.WithLabelValues("failed").Inc()
	}
}

// generation is the measure of one.
type generation struct {
	m    *metrics
	last time.Time // of the latest token

	shares func([]protocol.Hop) []float64 // of the wire's time, by way
	epoch  protocol.Epoch                 // of ways
	ways   []float64
}

// traced counts where a decode step's time went.
func (g *generation) traced(t *pipeline.StepTrace) {
	for i := range t.Hops {
		g.m.hopEncode.WithLabelValues(t.Route[i].Layers.String()).Observe((t.Hops[i].Decode + t.Hops[i].Encode).Seconds())
	}
	if t.Phase != pipeline.PhaseDecode {
		return // chunks overlap: what they wait for each other would be the wire's
	}
	g.m.wire.Observe(t.Wire.Seconds())
	g.m.own.Observe(t.Coordinator.Seconds())
	if g.ways == nil || g.epoch != t.Epoch {
		g.ways, g.epoch = g.shares(t.Route), t.Epoch
	}
	for i, share := range g.ways {
		to := "back"
		if i < len(t.Route) {
			to = t.Route[i].Layers.String()
		}
		g.m.hopWire.WithLabelValues(to).Observe(t.Wire.Seconds() * share)
	}
}

// step counts a step that has passed all hops.
func (g *generation) step(hops []protocol.HopTiming) {
	for i := range hops {
		layers := hops[i].Layers.String()
		g.m.hopCompute.WithLabelValues(layers).Observe(time.Duration(hops[i].Processing).Seconds())
		g.m.hopQueue.WithLabelValues(layers).Observe(time.Duration(hops[i].Queue).Seconds())
	}
	now := time.Now()
	if !g.last.IsZero() && len(hops) > 0 && hops[0].Rows == 1 {
		g.m.tokenTime.Observe(now.Sub(g.last).Seconds())
	}
	g.last = now
}

// end counts what a generation gave, complete or not.
func (g *generation) end(r *pipeline.Report) {
	g.m.prompt.Add(float64(r.PromptTokens))
	g.m.generated.Add(float64(r.Tokens))
	if r.Tokens > 0 {
		g.m.firstToken.Observe(r.TimeToFirstToken.Seconds())
	}
	if r.DecodeSteps > 0 {
		g.m.overhead.Observe(r.OverheadPerToken().Seconds())
	}
	for _, recovery := range r.Recoveries {
		g.m.recoveries.Inc()
		g.m.recoverTime.Observe(recovery.Took.Seconds())
	}
}

// counted counts an endpoint's answers by their status.
func (m *metrics) counted(endpoint string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &countingWriter{ResponseWriter: w, status: http.StatusOK}
		next(c, r)
		m.requests.WithLabelValues(endpoint, strconv.Itoa(c.status)).Inc()
	}
}

// countingWriter remembers the status.
type countingWriter struct {
	http.ResponseWriter
	status int
}

func (c *countingWriter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
