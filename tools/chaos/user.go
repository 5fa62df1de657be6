// SPDX-License-Identifier: MIT

//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// question is a request whose tokens are known from an undisturbed run.
type question struct {
	request client.Request
	want    []protocol.TokenID
	prefill []time.Duration // by hop of the undisturbed run: its processing of the prompt
}

// user asks the swarm, as a coordinator in this process.
type user struct {
	client    *client.Client
	model     *client.Model
	questions []question

	mu     sync.Mutex           // guards all following fields
	losses map[string]time.Time // by peer: when it was last found to be lost
	asked  int
	failed []error // of the requests beside the measured ones
}

const (
	leastTokens = 80 // of an answer, so that there is time for a fault
	mostTokens  = 160
)

// newUser joins the swarm.
func newUser(ctx context.Context, s *swarm) (*user, error) {
	u := &user{losses: map[string]time.Time{}}
	cfg := client.Config{Swarm: s.name, NoMDNS: true, Version: "chaos", Log: zap.New(&lossCore{LevelEnabler: zap.InfoLevel, u: u})}
	for _, n := range s.nodes {
		cfg.Bootstrap = append(cfg.Bootstrap, n.addr())
	}
	var err error
	if u.client, err = client.Dial(ctx, cfg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	target, err := u.client.Find(ctx, client.Selector{}, nil)
	if err != nil {
		return nil, err
	}
	u.model, err = u.client.Model(ctx, target)
	return u, err
}

// lossCore notes when the coordinator's host takes a peer for lost.
type lossCore struct {
	zapcore.LevelEnabler
	u *user
}

func (c *lossCore) With([]zapcore.Field) zapcore.Core { return c }
func (c *lossCore) Sync() error                       { return nil }
func (c *lossCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return checked.AddCore(e, c)
}

func (c *lossCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.Message != "peer lost" {
		return nil
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	c.u.losses[fmt.Sprint(enc.Fields["peer"])] = e.Time
	return nil
}

// lostAt returns when a peer was found to be lost after a moment.
func (u *user) lostAt(peer string, after time.Time) (time.Time, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.losses[peer]
	return at, ok && at.After(after)
}

const passage = `A swarm of ordinary machines holds a model that none of them could hold alone. Each serves a range of layers; hidden states
travel from one to the next, and the last draws a token. Machines come and go: one is switched off, one is carried out of reach, one is
busy with something else. The text goes on all the same, because what a machine had computed can be computed again, to the bit, by another. `

// learn asks n questions of an undisturbed swarm whose prompts have so many tokens, and whose answers are long.
func (u *user) learn(ctx context.Context, n, prompt int) ([]question, error) {
	var tokens []protocol.TokenID
	once := u.model.Tokenizer.Encode(passage, tokenizer.EncodeOptions{})
	for len(tokens) < prompt+len(once) {
		tokens = append(tokens, once...)
	}
	var questions []question
	for seed := uint64(1); len(questions) < n; seed++ {
		if seed > uint64(20*n) {
			return nil, errors.New("the model gives too few long answers")
		}
		at := int(seed) % len(once)
		q := question{request: client.Request{
			Tokens: tokens[at : at+prompt], MaxTokens: mostTokens,
			Sampling: protocol.Sampling{Temperature: 1.5, RepeatPenalty: 1.1, Seed: seed},
		}}
		r, err := u.ask(ctx, &q, client.Observer{})
		if err != nil {
			return nil, fmt.Errorf("an undisturbed generation: %w", err)
		}
		if len(r.Tokens) >= leastTokens {
			q.want = r.Tokens
			for _, shard := range r.Report.Shards {
				q.prefill = append(q.prefill, shard.Prefill)
			}
			questions = append(questions, q)
		}
	}
	return questions, nil
}

func (u *user) ask(ctx context.Context, q *question, obs client.Observer) (*client.Result, error) {
	find, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	target, err := u.client.Find(find, client.Selector{}, nil)
	if err != nil {
		return nil, err
	}
	req := q.request
	r, err := u.client.Generate(ctx, target, u.model, &req, obs)
	if err != nil {
		return r, err
	}
	if q.want != nil && !slices.Equal(r.Tokens, q.want) {
		return r, errOtherTokens
	}
	return r, nil
}

var errOtherTokens = errors.New("other tokens than undisturbed")

// load asks questions, one after the other, until ctx ends.
func (u *user) load(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		q := &u.questions[random.IntN(len(u.questions))]
		_, err := u.ask(ctx, q, client.Observer{})
		if ctx.Err() != nil {
			return
		}
		u.mu.Lock()
		u.asked++
		if err != nil {
			u.failed = append(u.failed, err)
		}
		u.mu.Unlock()
	}
}

// counts returns the requests of the load so far, and those that failed.
func (u *user) counts() (asked int, failed []error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked, slices.Clone(u.failed)
}
