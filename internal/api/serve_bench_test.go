// SPDX-License-Identifier: MIT

package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// BenchmarkServe is what many streams cost together, and what a prompt costs that comes again: a model over four nodes of this machine, asked over
// HTTP. A round is one stream, eight streams at once, and a prompt of 512 tokens twice; figures are medians of rounds. The model is the
// file that SHARDNODE_BENCH_MODEL names, or else a tiny one; SHARDNODE_BENCH_THREADS are each node's, else one for each core.
func BenchmarkServe(b *testing.B) {
	url := benchSwarm(b)
	const streams, question, answer, long = 8, 16, 64, 512
	seed := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)) // no prompt of an earlier run
	prompt := func(n int) string {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = strconv.Itoa(32 + seed.IntN(64))
		}
		return "[" + strings.Join(ids, ",") + "]"
	}
	var one, many, first, again []float64
	round := func() {
		begin := time.Now()
		tokens, _ := timedStream(b, url, prompt(question), answer)
		one = append(one, float64(tokens)/time.Since(begin).Seconds())

		var all sync.WaitGroup
		var mu sync.Mutex
		tokens, begin = 0, time.Now()
		for range streams {
			p := prompt(question)
			all.Go(func() {
				n, _ := timedStream(b, url, p, answer)
				mu.Lock()
				defer mu.Unlock()
				tokens += n
			})
		}
		all.Wait()
		many = append(many, float64(tokens)/time.Since(begin).Seconds())

		p := prompt(long)
		_, cold := timedStream(b, url, p, 2)
		_, warm := timedStream(b, url, p, 2)
		first, again = append(first, cold.Seconds()*1e3), append(again, warm.Seconds()*1e3)
	}
	round() // weights come into memory, connections open
	one, many, first, again = nil, nil, nil, nil
	for b.Loop() {
		round()
	}
	ratios := func(over, under []float64) []float64 {
		r := make([]float64, len(over))
		for i := range r {
			r[i] = over[i] / under[i]
		}
		return r
	}
	b.ReportMetric(median(one), "tok/s-1-stream")
	b.ReportMetric(median(many), "tok/s-8-streams")
	b.ReportMetric(median(ratios(many, one)), "8-over-1")
	b.ReportMetric(median(first), "ms-512-first")
	b.ReportMetric(median(again), "ms-512-again")
	b.ReportMetric(median(ratios(again, first)), "again-over-first")
	b.ReportMetric(0, "ns/op")
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// benchSwarm serves the benchmark's model and returns the server's URL.
func benchSwarm(b *testing.B) string {
	b.Helper()
	file, manifest, name := tinyFile(), tinyManifest(), "tiny"
	if path := os.Getenv("SHARDNODE_BENCH_MODEL"); path != "" {
		var err error
		if file, err = gguf.Open(path); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { file.Close() })
		if manifest, err = gguf.BuildManifest(file); err != nil {
			b.Fatal(err)
		}
		name = "bench"
	}
	cfg, err := layers.ParseConfig(file.Meta)
	if err != nil {
		b.Fatal(err)
	}
	threads, _ := strconv.Atoi(os.Getenv("SHARDNODE_BENCH_THREADS"))
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	const parts = 4
	var nodes []*node.Node
	for i := range parts {
		r := protocol.LayerRange{From: cfg.NLayers * i / parts, To: cfg.NLayers * (i + 1) / parts}
		nodes = append(nodes, startNode(b, r.String(), func(c *node.Config) {
			c.File, c.Manifest, c.ModelName, c.Threads = file, manifest, name, threads
			if i > 0 {
				c.Bootstrap = []string{address(nodes[0])}
			}
		}))
	}
	_, url, _ := startServer(b, nodes[0], nil)
	return url
}

// timedStream asks for a completion of a prompt of token IDs, and returns the tokens that came and when the first did.
func timedStream(tb testing.TB, url, prompt string, tokens int) (n int, first time.Duration) {
	begin := time.Now()
	r, err := ask(tb.Context(), url, fmt.Sprintf(`{"prompt": %s, "temperature": 0, "max_tokens": %d, "stream": true, "stream_options": {"include_usage": true}}`, prompt, tokens))
	if err != nil {
		tb.Error(err)
		return 0, 0
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		tb.Errorf("status %d", r.StatusCode)
		return 0, 0
	}
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: {")
		if !ok {
			continue
		}
		var event struct {
			Choices []struct{ Text string }
			Usage   *struct {
				CompletionTokens int `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal([]byte("{"+data), &event); err != nil {
			tb.Error(err)
			return 0, 0
		}
		if len(event.Choices) > 0 && first == 0 {
			first = time.Since(begin)
		}
		if event.Usage != nil {
			n = event.Usage.CompletionTokens
		}
	}
	return n, first
}
