// SPDX-License-Identifier: MIT

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/client"
)

// keepAlive is how long a stream may be silent. Proxies close connections on which nothing moves; a long prompt, or a queue, takes longer.
const keepAlive = 15 * time.Second

// events writes server-sent events. Its methods may be called by any goroutine.
type events struct {
	mu      sync.Mutex // guards all following fields
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
	begun   bool
	last    time.Time // when something was written
	gone    func(error)
}

// errClientGone is why a request ended whose client does not read.
var errClientGone = errors.New("the client has gone")

// begin sends the status, once: the request is being answered.
func (e *events) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun {
		return
	}
	e.begun, e.last = true, time.Now()
	h := e.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold it back
	e.w.WriteHeader(http.StatusOK)
}

// send writes an event whose data is v as JSON.
func (e *events) send(v any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf.Reset()
	e.buf.WriteString("data: ")
	enc := json.NewEncoder(&e.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // of our own types: cannot happen
		e.gone(err)
		return
	}
	e.buf.WriteByte('\n')
	e.flush()
}

// done says that nothing follows.
func (e *events) done() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf.Reset()
	e.buf.WriteString("data: [DONE]\n\n")
	e.flush()
}

// comment keeps the connection open. It is a line, not an event: OpenAI's library for Go takes an event without data for a broken one.
func (e *events) comment() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun && time.Since(e.last) >= keepAlive/2 {
		e.buf.Reset()
		e.buf.WriteString(": working\n")
		e.flush()
	}
}

// flush sends what is in buf. The caller holds mu.
func (e *events) flush() {
	e.last = time.Now()
	_ = e.control.SetWriteDeadline(e.last.Add(writeTimeout))
	_, err := e.w.Write(e.buf.Bytes())
	if err == nil {
		err = e.control.Flush()
	}
	if err != nil {
		e.gone(errors.Join(errClientGone, err))
	}
}

// streamed answers with events as tokens come. Until the first session is open the answer can still be an error with its status.
func (s *Server) streamed(ctx context.Context, w http.ResponseWriter, j *job, sh *shape, reply *response) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &events{w: w, control: http.NewResponseController(w), gone: cancel}
	stop := out.keepAlive()
	defer stop()
	if reply.Object = sh.chunk; j.params.includeUsage {
		reply.Usage = null
	}
	choice := func(v any) {
		reply.Choices = []any{v}
		out.send(reply)
	}
	var results []*client.Result
	waiting := make([]pending, j.answers())
	err := s.run(ctx, j, sink{
		opened: func(i int, t *client.Target) {
			reply.of(t)
			out.begin()
			if sh.first != nil {
				choice(sh.first(i))
			}
		},
		delta:  func(i int, d delta) { choice(sh.delta(j, i, d, &waiting[i])) },
		chance: func(i int, p client.TokenLogprobs) { waiting[i].logprobs = append(waiting[i].logprobs, p) },
		done: func(i int, r *client.Result) {
			results = append(results, r)
			choice(sh.last(j, i, r, &waiting[i]))
		},
	})
	switch {
	case err != nil && !out.begun:
		s.refuse(ctx, w, err)
		return
	case err != nil:
		e := describe(ctx, err)
		s.metrics.refusals.WithLabelValues(e.code).Inc()
		if e.status == statusGone {
			return
		}
		s.cfg.Log.Warn("stream failed", zap.String("code", e.code), zap.Error(err))
		out.send(e)
		return
	}
	if j.params.includeUsage {
		reply.Choices, reply.Usage = []any{}, count(j, results)
		out.send(reply)
	}
	out.done()
}

// keepAlive writes comments now and then until stop is called.
func (e *events) keepAlive() (stop func()) {
	ticker := time.NewTicker(keepAlive)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ticker.C:
				e.comment()
			case <-ended:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(ended)
		<-done
	}
}
