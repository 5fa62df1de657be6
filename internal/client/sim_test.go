// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestFourNodesAcrossAWideNetwork runs the whole system, real QUIC and DHT included, on a simulated network in virtual time: 25 ms between any two hosts, 5 ms of compute at
// each shard. A decode step then takes four computations and five one-way trips; relayed, eight.
func TestFourNodesAcrossAWideNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			oneWay = 25 * time.Millisecond
			step   = 5 * time.Millisecond
		)
		net := testnet.NewSim(t, oneWay, 100_000_000)
		defer net.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var ended []chan error
		defer func() {
			cancel()
			for _, done := range ended {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}()
		var nodes []*node.Node
		for _, layers := range []string{"0-7", "8-15", "16-23", "24-31"} {
			cfg := node.Config{
				File: demoFile(), Manifest: demoManifest(), ModelName: "demo", NoMDNS: true, Version: "test",
				StepCost:    func(int) time.Duration { return step },
				PrefixCache: -1, // each generation takes all steps
				Sleep: func(ctx context.Context, d time.Duration) {
					select {
					case <-ctx.Done():
					case <-time.After(d):
					}
				},
			}
			cfg.Layers, _ = protocol.ParseLayerRange(layers)
			cfg.Listen, cfg.HostOptions = net.Endpoint()
			if len(nodes) > 0 {
				cfg.Bootstrap = []string{address(nodes[0])}
			}
			n, err := node.New(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, n)
		}
		_, options := net.Endpoint()
		c, err := Dial(ctx, Config{Bootstrap: []string{address(nodes[0])}, NoMDNS: true, Version: "test", HostOptions: options})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		net.Start()
		for _, n := range nodes {
			done := make(chan error, 1)
			ended = append(ended, done)
			go func() { done <- n.Run(ctx) }()
		}
		target, err := c.Find(ctx, Selector{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Model(ctx, target)
		if err != nil {
			t.Fatal(err)
		}
		for path, trips := range map[protocol.Path]time.Duration{protocol.PathDirect: 5, protocol.PathRelay: 8} {
			req := &Request{Prompt: question, MaxTokens: 8, Path: path}
			tokens, logits, err := measured(ctx, c, target, m, req)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(logits, local(t, tokens, protocol.F16)) {
				t.Errorf("path %d: the logits differ from one local pass", path)
			}
			var traced []*pipeline.StepTrace
			r, err := c.Generate(ctx, target, m, &Request{Prompt: question, MaxTokens: 8, Path: path}, Observer{
				Trace: func(s *pipeline.StepTrace) { traced = append(traced, s) },
			})
			if err != nil {
				t.Fatal(err)
			}
			checkTrace(t, traced, r.Report, trips*oneWay, step)
			for i, trip := range c.Trips(ctx, path, target.Hops) {
				want := 2 * oneWay
				if path == protocol.PathRelay && i > 0 && i < len(target.Hops) {
					want *= 2 // by way of the coordinator
				}
				if trip < want || trip > want+3*time.Millisecond {
					t.Errorf("path %d: way %d has a round trip of %s, want %s", path, i, trip, want)
				}
			}
			perToken := r.Report.Decode / time.Duration(r.Report.DecodeSteps)
			want := trips*oneWay + 4*step
			t.Logf("path %d: %s a token, %s of it overhead", path, perToken, r.Report.OverheadPerToken())
			if perToken < want || perToken > want+5*time.Millisecond {
				t.Errorf("path %d: %s a token, want %s and at most 5 ms for sending 1 KiB", path, perToken, want)
			}
			if over := r.Report.OverheadPerToken(); over < trips*oneWay || over > trips*oneWay+5*time.Millisecond {
				t.Errorf("path %d: overhead of %s a token, want %s", path, over, trips*oneWay)
			}
		}
	})
}

// checkTrace wants of each step that its parts make its time, that the hops' times are those of the simulation, and that the steps make
// what the generation took.
func checkTrace(t *testing.T, traced []*pipeline.StepTrace, r *pipeline.Report, wire, compute time.Duration) {
	t.Helper()
	if len(traced) != r.DecodeSteps+1 {
		t.Fatalf("%d steps traced, one chunk and %d decode steps were taken", len(traced), r.DecodeSteps)
	}
	var decode time.Duration
	for i, s := range traced {
		sum := s.Coordinator + s.Wire + s.Recovery
		for j, h := range s.Hops {
			if h.Compute != compute || h.Queue != 0 {
				t.Errorf("step %d, hop %d: %+v, want %s of compute", i, j, h, compute)
			}
			sum += h.Sum()
		}
		if sum != s.Total || len(s.Hops) != len(s.Route) {
			t.Errorf("step %d of %d hops: the parts make %s of %s", i, len(s.Hops), sum, s.Total)
		}
		if s.Wire < wire || s.Wire > wire+5*time.Millisecond && i > 0 {
			t.Errorf("step %d: %s on the wire, want %s", i, s.Wire, wire)
		}
		if want := map[bool]pipeline.Phase{true: pipeline.PhasePrefill, false: pipeline.PhaseDecode}[i == 0]; s.Phase != want {
			t.Errorf("step %d is of %s", i, s.Phase)
		}
		if i > 0 {
			decode += s.Total
		}
	}
	if first := traced[0]; first.Start+first.Total != r.TimeToFirstToken {
		t.Errorf("the first token's step ends after %s, the token came after %s", first.Start+first.Total, r.TimeToFirstToken)
	}
	if decode != r.Decode {
		t.Errorf("decode steps of %s, measured were %s", decode, r.Decode)
	}
}
