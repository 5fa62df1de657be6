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
	"github.com/shardnode/shardnode/internal/waterfall"
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
			Index: i, request: t, Waterfall: &waterfall.Document{PromptTokens: len(j.prompts[i/j.params.n].Tokens), Routes: []waterfall.Route{}, Steps: []waterfall.Step{}},
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
	Index        int                 `json:"index"`
	QueueMS      float64             `json:"queue_ms"` // until it had its place; all else counts from then on
	FinishReason string              `json:"finish_reason"`
	Rate         float64             `json:"tokens_per_second"`
	Waterfall    *waterfall.Document `json:"waterfall"`

	request *requestTrace
	steps   waterfall.Collector
}

func (a *answerTrace) waited(d time.Duration) { a.QueueMS = milliseconds(d) }

// start begins a generation. One that found no room before has left nothing.
func (a *answerTrace) start() { a.steps = waterfall.Collector{Keep: a.request.takes} }

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

// end takes what a generation took, complete or not. trips tells the round trips of a route's ways.
func (a *answerTrace) end(r *client.Result, err error, trips func(route []protocol.Hop) []time.Duration) {
	a.FinishReason, a.Rate = string(r.Report.Reason), r.Report.TokensPerSecond()
	if err != nil {
		a.FinishReason = "error"
	}
	var known [][]time.Duration
	for _, route := range a.steps.Routes() {
		known = append(known, trips(route))
	}
	a.Waterfall = a.steps.Document(waterfall.About{RequestID: r.RequestID, Model: r.Target.Name, Path: r.Path, Report: r.Report}, known)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
