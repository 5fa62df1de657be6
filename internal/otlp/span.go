// SPDX-License-Identifier: MIT

package otlp

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/shardnode/shardnode/internal/waterfall"
)

// What follows is opentelemetry/proto/collector/trace/v1 in its JSON encoding: 64-bit numbers are strings, IDs hexadecimal.

type request struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resource     `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resource struct {
	Attributes []attribute `json:"attributes"`
}

type scopeSpans struct {
	Scope scope  `json:"scope"`
	Spans []span `json:"spans"`
}

type scope struct {
	Name string `json:"name"`
}

type span struct {
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	Parent     string      `json:"parentSpanId,omitempty"`
	Name       string      `json:"name"`
	Kind       int         `json:"kind"`
	Start      string      `json:"startTimeUnixNano"`
	End        string      `json:"endTimeUnixNano"`
	Attributes []attribute `json:"attributes,omitempty"`
	Status     *status     `json:"status,omitempty"`
}

type status struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type attribute struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	String *string  `json:"stringValue,omitempty"`
	Int    *string  `json:"intValue,omitempty"`
	Double *float64 `json:"doubleValue,omitempty"`
}

const (
	kindInternal = 1
	kindClient   = 3
	statusError  = 2

	// maxSteps bounds the steps of a generation that have spans of their own: a receiver need not have each of a thousand tokens.
	maxSteps = 64
)

func text(key, s string) attribute { return attribute{key, value{String: &s}} }
func number(key string, n int) attribute {
	s := strconv.Itoa(n)
	return attribute{key, value{Int: &s}}
}
func millis(key string, ms float64) attribute { return attribute{key, value{Double: &ms}} }

func (e *Exporter) request(batch []span) *request {
	return &request{[]resourceSpans{{
		Resource:   resource{[]attribute{text("service.name", e.cfg.Service), text("service.version", e.cfg.Version)}},
		ScopeSpans: []scopeSpans{{Scope: scope{"shardnode"}, Spans: batch}},
	}}}
}

// maker makes the spans of one trace.
type maker struct {
	trace string
	begun time.Time
	all   []span
}

// add appends a span between two times in milliseconds since the trace began, and returns its ID.
func (m *maker) add(parent, name string, kind int, from, to float64, attributes ...attribute) string {
	at := func(ms float64) string {
		return strconv.FormatInt(m.begun.Add(time.Duration(ms*float64(time.Millisecond))).UnixNano(), 10)
	}
	id := randomID(8)
	m.all = append(m.all, span{
		TraceID: m.trace, SpanID: id, Parent: parent, Name: name, Kind: kind, Start: at(from), End: at(max(from, to)), Attributes: attributes,
	})
	return id
}

func randomID(bytes int) string {
	id := make([]byte, bytes)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// spans makes a trace of a generation: the whole, its opening, each step, and within a step each hop. All times are the coordinator's: where in a
// step a hop was at work is estimated as in the waterfall, how long is what the hop says.
func spans(d *waterfall.Document, begun time.Time, failure error) []span {
	m := &maker{trace: randomID(16), begun: begun}
	end := d.TotalMS
	for _, s := range d.Steps {
		end = max(end, s.StartMS+s.TotalMS)
	}
	root := m.add("", "generate", kindClient, 0, end,
		text("shardnode.request_id", d.RequestID), text("gen_ai.request.model", d.Model), text("shardnode.path", d.Path),
		number("gen_ai.usage.input_tokens", d.PromptTokens), number("gen_ai.usage.output_tokens", d.Tokens),
		number("shardnode.decode_steps", d.Decode.Steps), millis("shardnode.compute_ms", d.Decode.ComputeMS), millis("shardnode.queue_ms", d.Decode.QueueMS),
		millis("shardnode.encode_ms", d.Decode.DecodeMS+d.Decode.EncodeMS), millis("shardnode.wire_ms", d.Decode.WireMS),
		millis("shardnode.coordinator_ms", d.Decode.CoordinatorMS), millis("shardnode.recovery_ms", d.Decode.RecoveryMS))
	if failure != nil {
		m.all[0].Status = &status{statusError, failure.Error()}
	}
	if d.OpenMS > 0 {
		m.add(root, "open", kindClient, 0, d.OpenMS)
	}
	for _, s := range d.Steps[:min(len(d.Steps), maxSteps)] {
		m.step(root, d, &s)
	}
	return m.all
}

func (m *maker) step(root string, d *waterfall.Document, s *waterfall.Step) {
	id := m.add(root, s.Phase, kindClient, s.StartMS, s.StartMS+s.TotalMS,
		number("shardnode.position", s.Position), number("shardnode.rows", s.Rows), millis("shardnode.coordinator_ms", s.CoordinatorMS),
		millis("shardnode.recovery_ms", s.RecoveryMS))
	at := s.StartMS + s.RecoveryMS + s.CoordinatorMS
	for i, h := range s.Hops {
		from := at + h.WireMS
		at = from + h.DecodeMS + h.QueueMS + h.ComputeMS + h.EncodeMS
		hop := &d.Routes[s.Route].Hops[i]
		m.add(id, fmt.Sprintf("layers %s", hop.Layers), kindInternal, from, at,
			text("shardnode.layers", hop.Layers), text("shardnode.peer", hop.Peer), millis("shardnode.wire_ms", h.WireMS), millis("shardnode.queue_ms", h.QueueMS),
			millis("shardnode.compute_ms", h.ComputeMS), millis("shardnode.encode_ms", h.DecodeMS+h.EncodeMS))
	}
}
