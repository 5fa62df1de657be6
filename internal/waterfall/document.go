// SPDX-License-Identifier: MIT

// Package waterfall makes of a generation's measured steps what people and programs read: a JSON document, a drawing, and what limits the
// rate. It is pure: whoever generates hands it the steps. docs/observability.md says what each number is.
package waterfall

// Document is the trace of one generation: what `coordinator infer --trace-json` writes and the web page draws. Fields are only ever
// added. Times are milliseconds, to the microsecond.
type Document struct {
	RequestID    string  `json:"request_id"`
	Model        string  `json:"model"`
	Path         string  `json:"path"` // direct or relay
	PromptTokens int     `json:"prompt_tokens"`
	Tokens       int     `json:"tokens"`
	OpenMS       float64 `json:"open_ms"`
	FirstTokenMS float64 `json:"time_to_first_token_ms"`
	TotalMS      float64 `json:"total_ms"`
	Routes       []Route `json:"routes"` // in the order in which they were used; more than one after a loss
	Steps        []Step  `json:"steps"`
	StepsLeftOut int     `json:"steps_left_out"` // beyond [MaxSteps]; the sums have them
	Prefill      Sum     `json:"prefill"`        // of all chunks; they are under way together, so this is more than the time that passed
	Decode       Sum     `json:"decode"`         // of all decode steps
	Limit        *Limit  `json:"limit"`          // null: no decode step was measured
}

// Route is what steps went along.
type Route struct {
	Hops        []Hop   `json:"hops"`
	ReturnRTTMS float64 `json:"return_rtt_ms"` // of the way back from the last hop
	Decode      Sum     `json:"decode"`        // of the decode steps along this route
}

// Hop is a place in a route.
type Hop struct {
	Layers string  `json:"layers"`
	Peer   string  `json:"peer"`
	RTTMS  float64 `json:"rtt_ms"` // of the way to it from the hop before, to the first from the coordinator; 0: not known
}

// Step is where the time of one step went: total_ms is the sum of recovery_ms, coordinator_ms, return_ms and all numbers in hops.
type Step struct {
	Route         int       `json:"route"` // index
	Phase         string    `json:"phase"` // prefill or decode
	Position      int       `json:"position"`
	Rows          int       `json:"rows"`
	StartMS       float64   `json:"start_ms"`
	TotalMS       float64   `json:"total_ms"`
	RecoveryMS    float64   `json:"recovery_ms"`
	CoordinatorMS float64   `json:"coordinator_ms"`
	Hops          []HopPart `json:"hops"`
	ReturnMS      float64   `json:"return_ms"` // wire: its share of the way back
	Scaled        bool      `json:"scaled"`    // the hops claimed more time than there was, so all claims were made smaller
}

// HopPart is a hop's part of a step.
type HopPart struct {
	WireMS    float64 `json:"wire_ms"` // its share of the way to it
	QueueMS   float64 `json:"queue_ms"`
	DecodeMS  float64 `json:"decode_ms"`
	ComputeMS float64 `json:"compute_ms"`
	EncodeMS  float64 `json:"encode_ms"`
}

// Sum is what steps took together: total_ms is the sum of the seven that follow it.
type Sum struct {
	Steps         int       `json:"steps"`
	TotalMS       float64   `json:"total_ms"`
	ComputeMS     float64   `json:"compute_ms"`
	QueueMS       float64   `json:"queue_ms"`
	DecodeMS      float64   `json:"decode_ms"`
	EncodeMS      float64   `json:"encode_ms"`
	WireMS        float64   `json:"wire_ms"`
	CoordinatorMS float64   `json:"coordinator_ms"`
	RecoveryMS    float64   `json:"recovery_ms"`
	Hops          []HopPart `json:"hops,omitempty"`      // of one route
	ReturnMS      float64   `json:"return_ms,omitempty"` // of one route; part of wire_ms
}

// Limit is the part of a decode step that takes longest.
type Limit struct {
	Part    string  `json:"part"`             // compute, queue, encode (decode_ms included), wire, coordinator or recovery
	Hop     int     `json:"hop"`              // place in the last route, from 0; -1: no single hop
	Layers  string  `json:"layers,omitempty"` // of that hop
	Peer    string  `json:"peer,omitempty"`
	Share   float64 `json:"share"`             // of the decode steps' time
	Rate    float64 `json:"tokens_per_second"` // as it is
	Without float64 `json:"without"`           // tokens a second if the part took no time; 0: nothing else takes any
	Advice  string  `json:"advice"`
}
