// SPDX-License-Identifier: MIT

package client

import (
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/waterfall"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Who asks for traces is told of each generation that somebody wanted, also of one that failed.
func TestTraced(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, "0-15", "16-31")
	var docs []*waterfall.Document
	var failures []error
	c := join(t, nodes[0], func(cfg *Config) {
		cfg.Traced = func(d *waterfall.Document, begun time.Time, failure error) {
			if age := time.Since(begun); age < 0 || age > patience {
				t.Errorf("it began %s ago", age)
			}
			docs, failures = append(docs, d), append(failures, failure)
		}
	})
	target, m := find(t, c, Selector{})
	for _, req := range []*Request{
		{Prompt: question, MaxTokens: 3},
		{Prompt: question, MaxTokens: 3, Unseen: true},
		{Tokens: make([]protocol.TokenID, 4), MaxTokens: 3, StepTimeout: 1, FailFast: true},
	} {
		_, err := c.Generate(t.Context(), target, m, req, Observer{})
		if failed := req.StepTimeout == 1; (err != nil) != failed {
			t.Fatal(err)
		}
	}
	if len(docs) != 2 || failures[0] != nil || failures[1] == nil {
		t.Fatalf("%d generations told, failures %v; want one that went well and one that failed", len(docs), failures)
	}
	d := docs[0]
	if len(d.Steps) != 3 || d.Decode.Steps != 2 || d.Tokens != 3 || len(d.Routes) != 1 || len(d.Routes[0].Hops) != 2 || d.Decode.ComputeMS <= 0 {
		t.Errorf("the document %+v", d)
	}
	if r := d.Routes[0]; r.Hops[0].RTTMS <= 0 || r.ReturnRTTMS <= 0 {
		t.Errorf("round trips that the coordinator knows are not told: %+v", r)
	}
}
