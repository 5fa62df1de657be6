// SPDX-License-Identifier: MIT

package api

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shardnode/shardnode/internal/node"
)

// TestMetrics: a generation is seen in what the documents list, of nodes and of the coordinator; everything that is there is listed, and what
// documents, dashboard and alerts speak of is there.
func TestMetrics(t *testing.T) {
	t.Parallel()
	var registries []*prometheus.Registry
	nodes := startSwarm(t, func(c *node.Config) {
		c.Metrics = prometheus.NewRegistry()
		registries = append(registries, c.Metrics)
	})
	_, url, _ := startServer(t, nodes[0], nil)
	r, err := ask(t.Context(), url, `{"prompt": "the", "temperature": 0, "max_tokens": 5}`)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r, err = ask(t.Context(), url, `{"prompt": "the", "what": 0}`); err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	eventually(t, "the server is ready", func() bool { code, _ := get(t, url+"/readyz"); return code == http.StatusOK })
	eventually(t, "no session is open", func() bool { return idle(nodes) })
	_, text := get(t, url+"/metrics")
	wantLines(t, text,
		`coordinator_http_requests_total{endpoint="/v1/completions",status="200"} 1`,
		`coordinator_http_requests_total{endpoint="/v1/completions",status="400"} 1`,
		`coordinator_refusals_total{code="unknown_parameter"} 1`,
		`coordinator_generated_tokens_total 5`,
		`coordinator_token_seconds_count 4`,
		`coordinator_hop_compute_seconds_count{layers="3-5"} 5`,
		`coordinator_hop_queue_seconds_count{layers="6-7"} 5`,
		`coordinator_hop_encode_seconds_count{layers="0-2"} 5`,
		`coordinator_hop_wire_seconds_count{layers="3-5"} 4`,
		`coordinator_hop_wire_seconds_count{layers="back"} 4`,
		`coordinator_token_wire_seconds_count 4`,
		`coordinator_token_coordinator_seconds_count 4`,
		`coordinator_time_to_first_token_seconds_count 1`,
		`coordinator_ready 1`, `coordinator_generations_running 0`, `coordinator_queue_waiting 0`,
		`coordinator_network_peers_lost_total 0`,
	)
	last := registries[len(registries)-1]
	var ofNode string
	before := nodes[1].Host().ID().String()
	eventually(t, "the last node knows the one before it", func() bool {
		page := httptest.NewRecorder()
		promhttp.HandlerFor(last, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		ofNode = page.Body.String()
		return strings.Contains(ofNode, `shardnode_network_rtt_seconds{peer="`+before+`"}`)
	})
	peer := nodes[len(nodes)-1].Host().ID().String()
	wantLines(t, ofNode,
		`shardnode_info{layers="6-7",model="tiny",peer="`+peer+`",version="test"} 1`,
		`shardnode_ready 1`, `shardnode_draining 0`, `shardnode_sessions 0`, `shardnode_queued_inputs 0`, `shardnode_kv_used_bytes 0`,
		`shardnode_refusals_total{code="busy"} 0`, `shardnode_sessions_reopened_total 0`,
	)
	// Canaries may have come this way too.
	for _, want := range []string{
		`shardnode_step_compute_seconds_count{kind="decode"} `, `shardnode_step_queue_seconds_count{kind="decode"} `,
		`shardnode_step_decode_seconds_count{kind="decode"} `, `shardnode_step_encode_seconds_count{kind="decode"} `,
		`shardnode_batch_rows_count `, `shardnode_send_seconds_count `, `shardnode_steps_total `, `shardnode_rows_total `,
		`shardnode_network_bytes_total{direction="sent"} `, `shardnode_network_packets_total{direction="received"} `,
		`shardnode_network_rtt_seconds{peer="` + before + `"} `,
		`shardnode_network_congestion_window_bytes{peer="` + before + `"} `,
	} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(want) + `(0\.0*)?[1-9]`).MatchString(ofNode) {
			t.Errorf("no line %q with a number above 0", want)
		}
	}
	checkNames(t, text+ofNode)
	if t.Failed() {
		t.Log(text, ofNode)
	}
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
}

// checkNames compares the names in an exposition with those in documents, dashboard and alerts.
func checkNames(t *testing.T, text string) {
	t.Helper()
	var there []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE ((?:coordinator|shardnode)_\w+) `).FindAllStringSubmatch(text, -1) {
		there = append(there, m[1])
	}
	root := filepath.Join("..", "..")
	documents := readFile(t, filepath.Join(root, "docs", "api.md")) + readFile(t, filepath.Join(root, "docs", "observability.md"))
	for _, name := range there {
		if !strings.Contains(documents, "`"+name+"`") {
			t.Errorf("neither docs/api.md nor docs/observability.md lists %s", name)
		}
	}
	name := regexp.MustCompile(`\b(?:coordinator|shardnode)_[a-z0-9_]+\b`)
	part := regexp.MustCompile(`_(?:bucket|sum|count)$`)
	for _, file := range []string{
		"docs/api.md", "docs/observability.md", "deploy/grafana/shardnode.json", "deploy/prometheus/prometheus.yml", "deploy/prometheus/rules.yml",
	} {
		found := name.FindAllString(readFile(t, filepath.Join(root, filepath.FromSlash(file))), -1)
		for _, n := range found {
			if n == "coordinator_ms" { // a field of the trace's JSON
				continue
			}
			if !slices.Contains(there, n) && !slices.Contains(there, part.ReplaceAllString(n, "")) {
				t.Errorf("%s speaks of %s, which is nowhere", file, n)
			}
		}
		if len(found) == 0 && file != "deploy/prometheus/prometheus.yml" {
			t.Errorf("%s speaks of no metric", file)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
