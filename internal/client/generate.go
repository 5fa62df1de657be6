// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// Request is one generation.
type Request struct {
	Prompt   string              // text; the chat template makes it a user's message unless Raw
	Messages []tokenizer.Message // a conversation, in place of Prompt
	Tokens   []protocol.TokenID  // in place of both
	Raw      bool

	// ChatTemplate is the source of a Jinja template to use in place of the model's own; "" for that one.
	ChatTemplate string

	MaxTokens uint32
	Sampling  protocol.Sampling
	Stop      []string // texts that end the answer

	Schema  []byte           // JSON schema that the answer, behind its reasoning, is held to; nil: none
	Grammar string           // grammar that the whole answer is held to (docs/grammar.md), in place of Schema; "": none
	Tools   []tokenizer.Tool // what the model may call
	Calling Calling

	Prepared *Prepared // what [Model.Prepare] made of the request; nil: not yet

	Path        protocol.Path
	ChunkRows   int           // 0: the default
	StepTimeout time.Duration // 0: the default
	Logits      pipeline.LogitsWanted

	FailFast       bool          // the loss of a node ends the generation at once
	RecoverTimeout time.Duration // how long lost layers may wait for a node; 0: the default

	Unseen bool // nobody asked for it: [Config.Traced] is not told
}

// Observer sees a generation as it goes. Nil functions are skipped; all are called from one goroutine.
type Observer struct {
	Started func(t *Target, requestID string, prompt []protocol.TokenID)
	Opened  func(*pipeline.Report)
	Step    func([]protocol.HopTiming)
	Text    func(string)

	// Reasoning is what the model thinks before the text, where it says so and a chat template was used.
	Reasoning func(string)

	ToolCall func(tokenizer.ToolCall) // a call is complete
	Logprobs func(TokenLogprobs)      // with each token, if the request asks, before the text it gives

	Logits func(positions []int, rows []byte)
	Notice func(pipeline.Notice)
	Trace  func(*pipeline.StepTrace) // nil: nothing is measured for it
}

// Result is what a generation gave, complete or not.
type Result struct {
	RequestID    string
	Target       *Target
	Path         protocol.Path
	Prompt       string
	PromptTokens []protocol.TokenID
	Text         string
	Reasoning    string // what came before the text, without its marks
	Calls        []tokenizer.ToolCall
	Tokens       []protocol.TokenID
	Logprobs     []TokenLogprobs // of Tokens, if the request asked
	Report       *pipeline.Report
	Ends         time.Duration // what embedding, head and draws took here; 0: nodes did that
}

// TokenLogprobs says how likely a generated token was.
type TokenLogprobs struct {
	protocol.Logprob
	Others  []protocol.Logprob // the likeliest other tokens, likeliest first
	Content bool               // the token is a part of the text, not of reasoning or a call
}

// Prepared is a request that has become tokens.
type Prepared struct {
	Rendered string // the prompt's text, where a chat template rendered it
	Tokens   []protocol.TokenID
	Grammar  []byte // that the answer is held to; nil: none
	Calls    tokenizer.CallSyntax
}

// Generate runs one generation over the target's route. When it fails on the way, the result holds what was generated until then, beside
// the error.
func (c *Client) Generate(ctx context.Context, t *Target, m *Model, req *Request, obs Observer) (*Result, error) {
	prepared := req.Prepared
	if prepared == nil {
		var err error
		if prepared, err = m.Prepare(req); err != nil {
			return nil, err
		}
	}
	sampling := req.Sampling
	if sampling.Grammar = prepared.Grammar; sampling.Grammar != nil {
		sampling.Language = grammar.Language
	}
	if t.Ends != nil && (sampling.Grammar != nil || sampling.Logprobs > 0) {
		return nil, &FormError{-1, errEndsForm}
	}
	r := &Result{Target: t, Path: req.Path, Prompt: req.Prompt, PromptTokens: prepared.Tokens}
	var session protocol.SessionID
	var id [8]byte
	if _, err := rand.Read(session[:]); err != nil {
		return nil, fmt.Errorf("make a session ID: %w", err)
	}
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("make a request ID: %w", err)
	}
	r.RequestID = hex.EncodeToString(id[:])
	if obs.Started != nil {
		obs.Started(t, r.RequestID, prepared.Tokens)
	}
	text := newTextStream(m.Tokenizer, prepared, req.Stop)
	show := func() {
		if s := text.takeReasoning(); s != "" && obs.Reasoning != nil {
			obs.Reasoning(s)
		}
		if s := text.take(); s != "" && obs.Text != nil {
			obs.Text(s)
		}
		for _, call := range text.takeCalls() {
			r.Calls = append(r.Calls, call)
			if obs.ToolCall != nil {
				obs.ToolCall(call)
			}
		}
	}
	trace, traced := c.tracer(req, obs.Trace)
	d := newDialer(c, t)
	var way pipeline.Dialer = d
	var ends *pipeline.Ends
	if t.Ends != nil {
		sampling.Prompt = uint32(len(prepared.Tokens))
		ends = t.Ends.generation(sampling)
		way = ends.Dialer(d)
	}
	state, err := pipeline.Generate(ctx, way, pipeline.Config{
		Session: session, Model: t.Model, Numerics: t.Numerics, Wire: t.Wire, Path: req.Path, Route: t.Hops, Context: t.Context,
		ChunkRows: req.ChunkRows, StepTimeout: req.StepTimeout, Logits: req.Logits, End: m.Tokenizer.IsEnd,
		Recover: !req.FailFast, RecoverTimeout: req.RecoverTimeout,
		Stop: func(generated []protocol.TokenID) bool { return text.feed(generated[len(generated)-1]) },
	}, protocol.InferenceRequest{
		RequestID: r.RequestID, Prompt: req.Prompt, Tokens: prepared.Tokens, MaxTokens: req.MaxTokens, Sampling: sampling,
	}, pipeline.Observer{
		Opened: obs.Opened, Step: obs.Step, Logits: obs.Logits, Notice: obs.Notice, Trace: trace,
		Token: func(protocol.TokenID) { show() },
		Logprobs: func(list []protocol.Logprob) {
			p := TokenLogprobs{Logprob: list[0], Others: slices.Clone(list[1:]), Content: text.content}
			r.Logprobs = append(r.Logprobs, p)
			if obs.Logprobs != nil {
				obs.Logprobs(p)
			}
		},
	})
	if state == nil {
		return nil, err
	}
	d.noteEnd(state, err)
	if ends != nil {
		r.Ends = ends.Took()
	}
	text.finish()
	show()
	r.Text, r.Reasoning, r.Tokens, r.Report = text.text.String(), text.reasoning.String(), state.Generated(), state.Report()
	if traced != nil {
		traced(r, err)
	}
	return r, err
}

// PromptError says that a conversation cannot become a prompt of this model: its chat template refuses it, cannot be read, or is not there.
type PromptError struct{ Err error }

func (e *PromptError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PromptError) Unwrap() error { return e.Err }

// errNoTemplate is why a conversation is refused: text could be sent as it is, but turns need marks that only a template knows.
var errNoTemplate = errors.New("the model has no chat template: send the text as a completion")

// Prepare makes a request ready to be sent: what is wrong with it is found here. The error is a [*PromptError] or a [*FormError].
func (m *Model) Prepare(req *Request) (*Prepared, error) {
	p := &Prepared{}
	if len(req.Tools) > 0 {
		if template, err := m.template(req); err == nil && template != nil {
			p.Calls = template.CallSyntax()
		}
		if p.Calls == tokenizer.CallsUnknown {
			return nil, &PromptError{errNoCalls}
		}
	}
	var err error
	if p.Rendered, p.Tokens, err = m.promptTokens(req); err != nil {
		return nil, err
	}
	source, err := m.form(req, p.Rendered, p.Calls)
	if source != "" {
		p.Grammar = []byte(source)
	}
	return p, err
}

// promptTokens returns the prompt as the model reads it, and its text where a chat template rendered it. The error is a [*PromptError].
func (m *Model) promptTokens(req *Request) (rendered string, tokens []protocol.TokenID, err error) {
	if len(req.Tokens) > 0 {
		return "", req.Tokens, nil
	}
	template, err := m.template(req)
	if err != nil {
		return "", nil, &PromptError{err}
	}
	messages := req.Messages
	switch {
	case len(messages) > 0 && template == nil:
		return "", nil, &PromptError{errNoTemplate}
	case template == nil:
		return "", m.Tokenizer.Encode(req.Prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), nil
	case len(messages) == 0:
		messages = []tokenizer.Message{{Role: "user", Content: req.Prompt}}
	}
	rendered, err = template.Render(tokenizer.Conversation{Messages: messages, Tools: req.Tools, AddGenerationPrompt: true})
	if err != nil {
		return "", nil, &PromptError{err}
	}
	// The template writes the model's own begin token where it wants one.
	return rendered, m.Tokenizer.Encode(rendered, tokenizer.EncodeOptions{ParseSpecial: true}), nil
}

// template returns the chat template that a request goes through; nil for none.
func (m *Model) template(req *Request) (*tokenizer.ChatTemplate, error) {
	switch {
	case req.Raw:
		return nil, nil
	case req.ChatTemplate != "":
		return tokenizer.NewChatTemplate(req.ChatTemplate, m.Tokenizer)
	}
	return m.Template, m.templateErr
}
