// SPDX-License-Identifier: MIT

package client

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// held is a request whose answer depends on everything that travels with the sampling parameters.
func held() *Request {
	return &Request{
		Prompt: question, MaxTokens: 60,
		Schema: []byte(`{"type":"object","properties":{"name":{"type":"string","maxLength":12},"tags":{"type":"array","items":{"enum":["a","bc"]},"minItems":2,"maxItems":4},"n":{"type":"integer","minimum":10,"maximum":3000}},"required":["name","tags","n"]}`),
		Sampling: protocol.Sampling{
			Temperature: 1.5, TopP: 0.95, Seed: 5, RepeatPenalty: 1.1, PresencePenalty: 0.5, FrequencyPenalty: 0.75,
			Bias: []protocol.Bias{{Token: 'a', Value: 3}, {Token: 'b', Value: -2}}, Logprobs: 4,
		},
	}
}

// TestHealingUnderGrammar loses each hop of a route in the middle of an answer that is held to a schema, penalised and biased: the same
// tokens come, with the same log probabilities.
func TestHealingUnderGrammar(t *testing.T) {
	t.Parallel()
	swarm := startHealing(t, nil, "rest:0-0", "a:0-15", "b:16-31", "a2:0-15", "b2:16-31", "b3:16-31")
	client := join(t, swarm.first, nil)
	target, m := find(t, client, Selector{})
	eventually(t, "all nodes are known", func() bool { v, err := client.Look(t.Context()); return err == nil && len(v.Nodes) == 6 })
	swarm.route(target, "a", "b2")
	want, err := client.Generate(t.Context(), target, m, held(), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Name string
		Tags []string
		N    int
	}
	if err := json.Unmarshal([]byte(want.Text), &doc); err != nil || len(doc.Tags) < 2 || doc.N < 10 || doc.N > 3000 {
		t.Fatalf("%q is not what the schema asks for: %v", want.Text, err)
	}
	if len(want.Logprobs) != len(want.Tokens) {
		t.Fatalf("%d log probabilities of %d tokens", len(want.Logprobs), len(want.Tokens))
	}
	for i, p := range want.Logprobs {
		if p.Token != want.Tokens[i] || len(p.Others) != 3 || p.Value > 0 || !p.Content {
			t.Errorf("token %d: %+v", i, p)
		}
	}
	if free, err := client.Generate(t.Context(), target, m, func() *Request { r := held(); r.Schema = nil; return r }(), Observer{}); err != nil || slices.Equal(free.Tokens, want.Tokens) {
		t.Errorf("the same without a schema: %v", err)
	}
	swarm.route(target, "a", "b")
	steps := 0
	got, err := client.Generate(t.Context(), target, m, held(), Observer{Step: func([]protocol.HopTiming) {
		switch steps++; steps {
		case 6:
			swarm.stops["b"]()
		case 12:
			swarm.stops["a"]()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Report.Recoveries) < 2 {
		t.Errorf("%d recoveries, want two: the test tests nothing", len(got.Report.Recoveries))
	}
	if d := cmp.Diff(want.Tokens, got.Tokens); d != "" {
		t.Errorf("tokens of a healed route: %s", d)
	}
	if d := cmp.Diff(want.Logprobs, got.Logprobs); d != "" {
		t.Errorf("log probabilities of a healed route: %s", d)
	}
}

// A grammar that no node could follow ends the generation at once, and blames no node.
func TestBadGrammarGivesUp(t *testing.T) {
	t.Parallel()
	swarm := startHealing(t, nil, "a:0-31")
	client := join(t, swarm.first, nil)
	target, m := find(t, client, Selector{})
	p, err := m.Prepare(&Request{Prompt: question})
	if err != nil {
		t.Fatal(err)
	}
	p.Grammar = []byte("root ::= <[65]>") // a token that is text
	_, err = client.Generate(t.Context(), target, m, &Request{Prepared: p, MaxTokens: 5}, Observer{})
	if told, ok := asTold(err); !ok || told.Code != protocol.CodeBadRequest {
		t.Errorf("%v", err)
	}
}

func asTold(err error) (told *protocol.Error, ok bool) {
	ok = errors.As(err, &told)
	return told, ok
}
