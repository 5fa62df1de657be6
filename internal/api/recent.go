// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// How much is remembered of where time went: some 16 MiB at the most.
const (
	maxRecent    = 32      // requests
	maxTraceHops = 1 << 13 // hops of all steps of one request: 2,048 tokens through four
	traceWait    = 2 * time.Second
)

// recent remembers where the time of the latest requests went.
type recent struct {
	mu   sync.Mutex // guards all following fields
	list []*requestTrace
}

// requestTrace is where the time of one request went. No text is in it, and only who sent the request may see it. Fields are only ever
// added; docs/api.md documents them.
type requestTrace struct {
	ID      string         `json:"id"`
	Created int64          `json:"created"`
	Answers []*answerTrace `json:"answers"`

	user  string
	ended chan struct{} // closed when nothing is added any more

	mu   sync.Mutex // guards all following fields: answers are generated beside each other
	left int        // hops that are remembered still
}

// begin remembers a request that is about to be answered.
func (r *recent) begin(idPrefix string, j *job) *requestTrace {
	t := &requestTrace{ID: idPrefix + strings.ToLower(rand.Text()), Created: time.Now().Unix(), user: j.user, left: maxTraceHops, ended: make(chan struct{})}
	for i := range j.answers() {
		t.Answers = append(t.Answers, &answerTrace{
			Index: i, request: t, Waterfall: waterfall{PromptTokens: len(j.prompts[i/j.params.n]), Routes: []traceRoute{}, Steps: []traceStep{}},
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, t)
	if len(r.list) > maxRecent {
		r.list = slices.Delete(r.list, 0, 1)
	}
	return t
}

// end says that the request is answered.
func (t *requestTrace) end() { close(t.ended) }

// find returns a user's request; nil: it is not his, or not remembered.
func (r *recent) find(user, id string) *requestTrace {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.list, func(t *requestTrace) bool { return t.ID == id && t.user == user })
	if i < 0 {
		return nil
	}
	return r.list[i]
}

// request answers GET /api/requests/ID, once the request has ended.
func (s *Server) request(w http.ResponseWriter, r *http.Request) {
	e := invalid("", "request_not_found", "no such request of yours among the last %d", maxRecent)
	e.status = http.StatusNotFound
	t := s.recent.find(userOf(r), r.PathValue("id"))
	if t == nil {
		e.write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), traceWait)
	defer cancel()
	select {
	case <-t.ended:
	case <-ctx.Done():
		e.message = "the request is still being answered"
		e.write(w)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, t)
}

// answerTrace is where the time of one answer went. It belongs to the goroutine that generates it until the request has ended. All times
// are in milliseconds, and durations on one machine's clock.
type answerTrace struct {
	Index        int       `json:"index"`
	QueueMS      float64   `json:"queue_ms"` // until it had its place; all else counts from then on
	FinishReason string    `json:"finish_reason"`
	Rate         float64   `json:"tokens_per_second"`
	Waterfall    waterfall `json:"waterfall"`

	request     *requestTrace
	began, last time.Time
	peers       map[protocol.LayerRange]string
}

// waterfall is a generation step by step.
type waterfall struct {
	Model        string       `json:"model"`
	PromptTokens int          `json:"prompt_tokens"`
	Tokens       int          `json:"tokens"`
	OpenMS       float64      `json:"open_ms"`
	FirstTokenMS float64      `json:"time_to_first_token_ms"`
	TotalMS      float64      `json:"total_ms"`
	Routes       []traceRoute `json:"routes"`
	Steps        []traceStep  `json:"steps"`
	StepsLeftOut int          `json:"steps_left_out"` // later ones that were not kept
}

type traceRoute struct {
	Hops []traceHop `json:"hops"`
}

type traceHop struct {
	Layers string `json:"layers"`
	Peer   string `json:"peer"`
}

// traceStep is one step. Its total is the sum of recovery, coordinator, return and all that is in hops.
type traceStep struct {
	Route         int            `json:"route"`
	Phase         pipeline.Phase `json:"phase"`
	Position      int            `json:"position"` // of its first row
	Rows          int            `json:"rows"`
	StartMS       float64        `json:"start_ms"`
	TotalMS       float64        `json:"total_ms"`
	RecoveryMS    float64        `json:"recovery_ms"`
	CoordinatorMS float64        `json:"coordinator_ms"`
	Hops          []stepHop      `json:"hops"`
	ReturnMS      float64        `json:"return_ms"` // wire: an equal share of what nobody claims, on the way back
}

type stepHop struct {
	WireMS    float64 `json:"wire_ms"` // the same on the way to it
	QueueMS   float64 `json:"queue_ms"`
	DecodeMS  float64 `json:"decode_ms"`
	ComputeMS float64 `json:"compute_ms"`
	EncodeMS  float64 `json:"encode_ms"`
}

func (a *answerTrace) waited(d time.Duration) { a.QueueMS = milliseconds(d) }

// start begins a generation. One that found no room before has left nothing.
func (a *answerTrace) start(t *client.Target) {
	a.Waterfall.Model = t.Name
	a.began, a.last, a.peers = time.Now(), time.Now(), map[protocol.LayerRange]string{}
	for _, h := range t.Hops {
		a.peers[h.Layers] = h.Peer
	}
}

// notice keeps who came into the route.
func (a *answerTrace) notice(n pipeline.Notice) {
	if recovered, ok := n.(pipeline.NoticeRecovered); ok {
		for _, h := range recovered.Recovery.New {
			a.peers[h.Layers] = h.Peer
		}
	}
}

// step takes a step that has passed all hops.
func (a *answerTrace) step(hops []protocol.HopTiming) {
	w, now := &a.Waterfall, time.Now()
	step := traceStep{Phase: pipeline.PhasePrefill, Rows: int(hops[0].Rows), StartMS: milliseconds(a.last.Sub(a.began)), TotalMS: milliseconds(now.Sub(a.last))}
	a.last = now
	if n := len(w.Steps); n > 0 {
		step.Position = w.Steps[n-1].Position + w.Steps[n-1].Rows
	}
	if step.Position >= w.PromptTokens {
		step.Phase = pipeline.PhaseDecode
	}
	if w.StepsLeftOut > 0 || !a.request.takes(len(hops)) {
		w.StepsLeftOut++
		return
	}
	var route []traceHop
	rest := step.TotalMS
	for _, h := range hops {
		route = append(route, traceHop{Layers: h.Layers.String(), Peer: a.peers[h.Layers]})
		hop := stepHop{QueueMS: nanos(h.Queue), DecodeMS: nanos(h.Decode), ComputeMS: nanos(h.Processing), EncodeMS: nanos(h.Encode)}
		step.Hops = append(step.Hops, hop)
		rest -= hop.QueueMS + hop.DecodeMS + hop.ComputeMS + hop.EncodeMS
	}
	step.ReturnMS = max(0, rest) / float64(len(hops)+1)
	for i := range step.Hops {
		step.Hops[i].WireMS = step.ReturnMS
	}
	step.Route = slices.IndexFunc(w.Routes, func(r traceRoute) bool { return slices.Equal(r.Hops, route) })
	if step.Route < 0 {
		step.Route = len(w.Routes)
		w.Routes = append(w.Routes, traceRoute{route})
	}
	w.Steps = append(w.Steps, step)
}

// takes reports whether a step of so many hops is to be remembered.
func (t *requestTrace) takes(hops int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left < hops {
		return false
	}
	t.left -= hops
	return true
}

// end takes the sums of a generation, complete or not.
func (a *answerTrace) end(r *pipeline.Report, err error) {
	w := &a.Waterfall
	w.Tokens, a.FinishReason, a.Rate = r.Tokens, string(r.Reason), r.TokensPerSecond()
	if err != nil {
		a.FinishReason = "error"
	}
	w.OpenMS, w.FirstTokenMS, w.TotalMS = milliseconds(r.Open), milliseconds(r.TimeToFirstToken), milliseconds(r.Total)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// nanos reads a duration that a node tells. It may tell anything.
func nanos(ns uint64) float64 { return milliseconds(time.Duration(min(ns, uint64(time.Hour)))) }
