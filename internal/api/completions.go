// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// chat answers POST /v1/chat/completions.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) { s.serve(w, r, parseChat, &chatShape) }

// complete answers POST /v1/completions.
func (s *Server) complete(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, parseCompletion, &textShape)
}

// serve answers a request for generations.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, parse func(fields) (*params, error), sh *shape) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a writer without deadlines is a test's
	f, err := readFields(w, r, s.cfg.MaxBody)
	_ = control.SetReadDeadline(time.Time{})
	var p *params
	if err == nil {
		p, err = parse(f)
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), s.cfg.RequestTimeout, errTooLong)
	defer cancel()
	var j *job
	if err == nil {
		j, err = s.prepare(ctx, userOf(r), p)
	}
	if err != nil {
		s.refuse(ctx, w, err)
		return
	}
	j.trace = s.recent.begin(sh.idPrefix, j)
	defer j.trace.end()
	reply := &response{ID: j.trace.ID, Created: j.trace.Created}
	if p.stream {
		s.streamed(ctx, w, j, sh, reply)
		return
	}
	results := make([]*client.Result, j.answers())
	err = s.run(ctx, j, sink{
		opened: func(_ int, t *client.Target) { reply.of(t) },
		delta:  func(int, delta) {},
		chance: func(int, client.TokenLogprobs) {},
		done:   func(i int, r *client.Result) { results[i] = r },
	})
	if err != nil {
		s.refuse(ctx, w, err)
		return
	}
	reply.Object, reply.Usage = sh.object, count(j, results)
	for i, r := range results {
		reply.Choices = append(reply.Choices, sh.whole(j, i, r))
	}
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	writeJSON(w, http.StatusOK, reply)
}

// of says what computed the answer.
func (r *response) of(t *client.Target) {
	r.Model, r.Fingerprint = t.Name, t.Model.Short()+"/"+strings.TrimSuffix(t.Numerics, protocol.LocalEnds) // who has the ends changes no answer
}

// refuse answers with an error, and nobody who has gone.
func (s *Server) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	e := describe(ctx, err)
	s.metrics.refusals.WithLabelValues(e.code).Inc()
	if e.status >= http.StatusInternalServerError {
		s.cfg.Log.Warn("request failed", zap.Int("status", e.status), zap.String("code", e.code), zap.Error(err))
	}
	if e.status == http.StatusTooManyRequests && e.retry == 0 {
		e.retry = s.queue.RetryAfter()
	}
	e.write(w)
}
