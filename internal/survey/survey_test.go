// SPDX-License-Identifier: MIT

package survey_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/survey"
	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// take surveys a swarm once all its nodes are seen.
func take(t *testing.T, c *client.Client, nodes []*node.Node) *survey.Survey {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		view, err := c.Look(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(view.Nodes) < len(nodes) && ctx.Err() == nil {
			continue
		}
		s, err := survey.Take(t.Context(), c, view, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, note := range s.Notes {
			t.Log(note)
		}
		return s
	}
}

// today is the route that the nodes serve, one after the other, in the numbers of the survey and in those of nodes.
func today(t *testing.T, s *survey.Survey, nodes []*node.Node) (planned, real []solver.Hop) {
	t.Helper()
	for i, n := range nodes {
		st := n.Status()
		d := slices.IndexFunc(s.Inventory.Instance.Devices, func(d solver.Device) bool { return d.Name == st.Peer })
		if d < 0 {
			t.Fatalf("node %d is not in the survey", i)
		}
		planned = append(planned, solver.Hop{Device: d, Layers: st.Layers})
		real = append(real, solver.Hop{Device: i, Layers: st.Layers})
	}
	return planned, real
}

// within compares a prediction with a measurement.
func within(t *testing.T, what string, predicted float64, got time.Duration, by float64) {
	t.Helper()
	off := predicted/got.Seconds() - 1
	t.Logf("%s: predicted %.2f ms, measured %.2f ms a token (%+.1f %%)", what, 1000*predicted, 1000*got.Seconds(), 100*off)
	if off < -by || off > by {
		t.Errorf("%s: predicted %.2f ms, measured %.2f ms a token", what, 1000*predicted, 1000*got.Seconds())
	}
}

const promptTokens, outputTokens = 32, 12

// TestPredictionOnLoopback: nodes whose injected step costs dominate; the survey's prediction is within 15 % of the median of ten.
func TestPredictionOnLoopback(t *testing.T) {
	nodes, c, stop := swarm(t, nil, []member{
		{"0-3", 3 * time.Millisecond, nil}, {"4-11", 2 * time.Millisecond, nil}, {"12-15", 6 * time.Millisecond, nil},
	})
	defer stop()
	s := take(t, c, nodes)
	s.Inventory.Instance.Load = solver.Load{Prompt: promptTokens, Output: outputTokens, Context: 128, Sessions: 1, Streams: 1}
	planned, real := today(t, s, nodes)
	within(t, "loopback", solver.Predict(&s.Inventory.Instance, planned).Token, median(generations(t, c, hops(nodes, real), 4, 6, 10)), 0.15)
}

// TestPredictionOnASimulatedNetwork: the same with latency, bandwidth, jitter and loss, all of them measured by the survey, in virtual time.
func TestPredictionOnASimulatedNetwork(t *testing.T) {
	for name, path := range map[string]testnet.Path{
		"far":     {Latency: 20 * time.Millisecond},
		"jitter":  {Latency: 30 * time.Millisecond, Jitter: 5 * time.Millisecond},
		"loss":    {Latency: 25 * time.Millisecond, Loss: 0.01},
		"all bad": {Latency: 40 * time.Millisecond, Jitter: 6 * time.Millisecond, Loss: 0.01},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := testnet.NewSim(t, path.Latency, 20_000_000)
				defer net.Close()
				net.Shape(1, func(from, to int) testnet.Path {
					p := path
					p.Latency += time.Duration(2*(from+to)) * time.Millisecond
					return p
				})
				nodes, c, stop := swarm(t, net, []member{
					{"0-3", time.Millisecond, nil}, {"4-11", 2 * time.Millisecond, nil}, {"12-15", time.Millisecond, nil},
				})
				defer stop()
				s := take(t, c, nodes)
				s.Inventory.Instance.Load = solver.Load{Prompt: promptTokens, Output: outputTokens, Context: 128, Sessions: 1, Streams: 1}
				planned, real := today(t, s, nodes)
				within(t, name, solver.Predict(&s.Inventory.Instance, planned).Token, median(generations(t, c, hops(nodes, real), promptTokens, outputTokens, 10)), 0.15)
			})
		})
	}
}

// boaster says that it is a thousand times as fast as it is: in its status, and in the timing of its steps.
type boaster struct{ p2p.Node }

func (b boaster) Status() *protocol.Status {
	st := b.Node.Status()
	st.Decode, st.Prefill, st.StepNanos = 1e15, 1e18, 1
	return st
}

func (b boaster) OpenSession(from string, o *protocol.Open, deliver func(protocol.Frame) error) (p2p.Session, *protocol.Opened, error) {
	return b.Node.OpenSession(from, o, func(f protocol.Frame) error {
		if r, ok := f.(*protocol.IntermediateResult); ok && len(r.Hops) > 0 {
			r.Hops[len(r.Hops)-1].Processing = 1000
		}
		return deliver(f)
	})
}

// TestBoasterIsSeenThrough: a node's speed is what is seen of it, whatever it says, and the user hears of it.
func TestBoasterIsSeenThrough(t *testing.T) {
	const perLayer = 2 * time.Millisecond
	nodes, c, stop := swarm(t, nil, []member{
		{"0-7", perLayer, nil}, {"8-15", perLayer, func(c *node.Config) { c.Serve = func(n p2p.Node) p2p.Node { return boaster{n} } }},
	})
	defer stop()
	s := take(t, c, nodes)
	planned, _ := today(t, s, nodes)
	in := &s.Inventory.Instance
	honest, lying := in.Devices[planned[0].Device], in.Devices[planned[1].Device]
	if ratio := lying.Decode / honest.Decode; ratio < 0.7 || ratio > 1.5 { // the last node has the head beside
		t.Errorf("the boaster decodes %.3g bytes/s, an honest node %.3g", lying.Decode, honest.Decode)
	}
	notes := strings.Join(s.Notes, "\n")
	for _, want := range []string{lying.Name + " tells of shorter steps", lying.Name + " says decode of 1e+06 GB/s", lying.Name + " says prefill"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q lacks %q", notes, want)
		}
	}
	if strings.Contains(notes, honest.Name) {
		t.Errorf("an honest node is told of: %s", notes)
	}
}
