// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/waterfall"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// job is all generations of one request.
type job struct {
	user    string
	params  *params
	model   *client.Model
	prompts []*client.Prepared
	trace   *requestTrace
}

// sink takes what a job gives. Its functions are called one at a time; answers are numbered in the order of prompts, those to one prompt
// together.
type sink struct {
	opened func(i int, t *client.Target) // its nodes have reserved the session: nothing before costs more than time
	delta  func(i int, d delta)
	chance func(i int, p client.TokenLogprobs) // how likely a token was, before what it gives
	done   func(i int, r *client.Result)
}

// errQueueTimeout is why a request no longer waits.
var errQueueTimeout = errors.New("no place in time")

// prepare finds the model and makes tokens of what was asked. What is wrong with a request is found here, before it waits.
func (s *Server) prepare(ctx context.Context, user string, p *params) (*job, error) {
	m, err := s.lookup(ctx, p.model)
	if err != nil {
		return nil, err
	}
	j := &job{user: user, params: p}
	if j.model, err = s.model(ctx, m); err != nil {
		return nil, err
	}
	vocab := j.model.Tokenizer.Vocab()
	if b := p.sampling.Bias; len(b) > 0 && int(b[len(b)-1].Token) >= vocab {
		return nil, invalid("logit_bias", "out_of_range", "logit_bias: token %d, the model has %d", b[len(b)-1].Token, vocab)
	}
	requests := []client.Request{{Messages: p.messages, Schema: p.schema, Tools: p.tools, Calling: p.calling}}
	if p.prompts != nil {
		requests = requests[:0]
		for _, prompt := range p.prompts {
			requests = append(requests, client.Request{Prompt: prompt.text, Tokens: prompt.tokens, Raw: true})
		}
	}
	for _, r := range requests {
		prepared, err := j.model.Prepare(&r)
		if err != nil {
			return nil, err
		}
		if len(prepared.Tokens) == 0 {
			return nil, invalid("prompt", "out_of_range", "prompt: want a token at least")
		}
		for _, id := range prepared.Tokens {
			if int(id) >= vocab {
				return nil, invalid("prompt", "out_of_range", "prompt: token %d, the model has %d", id, vocab)
			}
		}
		j.prompts = append(j.prompts, prepared)
	}
	return j, nil
}

// answers is how many generations the job has.
func (j *job) answers() int { return len(j.prompts) * j.params.n }

// run generates all answers, beside each other as far as there are places. The first that fails ends them all.
func (s *Server) run(ctx context.Context, j *job, out sink) error {
	group, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex // one call of the sink at a time
	for i := range j.answers() {
		group.Go(func() error {
			r, err := s.answer(ctx, j, i, sink{
				opened: func(i int, t *client.Target) { mu.Lock(); defer mu.Unlock(); out.opened(i, t) },
				delta:  func(i int, d delta) { mu.Lock(); defer mu.Unlock(); out.delta(i, d) },
				chance: func(i int, p client.TokenLogprobs) { mu.Lock(); defer mu.Unlock(); out.chance(i, p) },
			})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				out.done(i, r)
			}
			return err
		})
	}
	return group.Wait()
}

// answer waits for a place and generates one answer. While the swarm has no room it goes back to the queue.
func (s *Server) answer(ctx context.Context, j *job, i int, out sink) (*client.Result, error) {
	patience, cancel := context.WithTimeoutCause(ctx, s.cfg.QueueTimeout, errQueueTimeout)
	defer cancel()
	came := time.Now()
	var refusal error
	for {
		place, err := s.queue.Enter(patience, j.user, refusal != nil)
		if errors.Is(err, errQueueTimeout) {
			return nil, s.tooBusy(refusal)
		}
		if err != nil {
			return nil, err
		}
		waited := time.Since(came)
		j.trace.Answers[i].waited(waited)
		r, opened, err := s.attempt(ctx, patience, j, i, out)
		if err != nil && !opened && client.Busy(err) && ctx.Err() == nil {
			place.NoRoom()
			refusal = err
			continue
		}
		place.Leave()
		s.metrics.queueTime.Observe(waited.Seconds())
		return r, err
	}
}

// tooBusy says that a request has waited long enough.
func (s *Server) tooBusy(refusal error) error {
	why := "others use all of it"
	if refusal != nil {
		why = refusal.Error()
	}
	return &apiError{
		status: http.StatusTooManyRequests, kind: typeRateLimit, code: "busy", retry: s.queue.RetryAfter(),
		message: fmt.Sprintf("no place within %s: %s", s.cfg.QueueTimeout, why),
	}
}

// attempt generates one answer through a route that is free within patience, which ends before ctx. opened is false when no session was open
// at all its hops.
func (s *Server) attempt(ctx, patience context.Context, j *job, i int, out sink) (r *client.Result, opened bool, err error) {
	search, cancel := context.WithTimeout(patience, s.cfg.RouteTimeout)
	defer cancel()
	selector := s.cfg.Selector
	selector.Model = j.model.ID.String()
	target, err := s.cfg.Client.Find(search, selector, nil)
	if err != nil {
		if !client.Busy(err) {
			err = noRoute(err)
		}
		return nil, false, err
	}
	p := j.params
	req := &client.Request{
		Prepared: j.prompts[i/p.n], MaxTokens: p.maxTokens, Sampling: p.choiceSampling(i % p.n), Stop: p.stop,
	}
	measure := &generation{m: s.metrics, shares: func(route []protocol.Hop) []float64 { return waterfall.Shares(s.ways.of(s.cfg.Client, route)) }}
	trace := j.trace.Answers[i]
	trace.start()
	r, err = s.cfg.Client.Generate(ctx, target, j.model, req, client.Observer{
		Opened: func(*pipeline.Report) { opened = true; out.opened(i, target) },
		Step:   measure.step,
		Trace:  func(t *pipeline.StepTrace) { measure.traced(t); trace.steps.Add(t) },

		Text:      func(text string) { out.delta(i, delta{text: text}) },
		Reasoning: func(text string) { out.delta(i, delta{reasoning: text}) },
		ToolCall:  func(call tokenizer.ToolCall) { out.delta(i, delta{call: &call}) },
		Logprobs:  func(p client.TokenLogprobs) { out.chance(i, p) },
	})
	if r != nil && opened {
		measure.end(r.Report)
		trace.end(r, err, func(route []protocol.Hop) []time.Duration { return s.ways.of(s.cfg.Client, route) })
	}
	if err == nil {
		s.proofs.note(target.Model)
	}
	return r, opened, err
}
