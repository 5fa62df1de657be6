// SPDX-License-Identifier: MIT

package api

import (
	"bufio"
	"bytes"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// BenchmarkToken is a token's time in one session through three nodes, asked for within the program and over HTTP as a stream: what HTTP adds.
// The two take turns, so that what else the machine does is in both.
func BenchmarkToken(b *testing.B) {
	const tokens = 200
	nodes := startSwarm(b, nil)
	s, url, _ := startServer(b, nodes[0], nil)
	target, err := s.cfg.Client.Find(b.Context(), client.Selector{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	m, err := s.cfg.Client.Model(b.Context(), target)
	if err != nil {
		b.Fatal(err)
	}
	var direct, http time.Duration
	for b.Loop() {
		var first, last time.Time
		mark := func() {
			if last = time.Now(); first.IsZero() {
				first = last
			}
		}
		_, err := s.cfg.Client.Generate(b.Context(), target, m, &client.Request{Prompt: "the", Raw: true, MaxTokens: tokens}, client.Observer{
			Step: func([]protocol.HopTiming) { mark() },
		})
		if err != nil {
			b.Fatal(err)
		}
		direct += last.Sub(first)
		first = time.Time{}
		r, err := ask(b.Context(), url, `{"prompt": "the", "temperature": 0, "max_tokens": 200, "stream": true}`)
		if err != nil {
			b.Fatal(err)
		}
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			if bytes.HasPrefix(lines.Bytes(), []byte("data: {")) {
				mark()
			}
		}
		r.Body.Close()
		http += last.Sub(first)
	}
	perToken := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(b.N*(tokens-1)) }
	b.ReportMetric(perToken(direct), "client-ms/token")
	b.ReportMetric(perToken(http), "http-ms/token")
	b.ReportMetric(0, "ns/op")
}
