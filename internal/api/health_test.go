// SPDX-License-Identifier: MIT

package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(raw)
}

// TestReadiness: green only after a token went through the whole route, and red when a part of it is missing.
func TestReadiness(t *testing.T) {
	t.Parallel()
	first := startNode(t, "0-4", nil)
	_, url, _ := startServer(t, first, func(c *Config) {
		c.Keys = must(parseKeys("sk-0123456789abcdef"))
	})
	if code, _ := get(t, url+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d, want 200: the process lives", code)
	}
	if code, body := get(t, url+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"status":"not ready"`) {
		t.Errorf("readyz of half a model: %d %s", code, body)
	}
	if code, _ := get(t, url+"/metrics"); code != http.StatusUnauthorized {
		t.Errorf("metrics without a key: %d, want 401", code)
	}
	startNode(t, "5-7", func(c *node.Config) { c.Bootstrap = []string{address(first)} })
	eventually(t, "the server is ready", func() bool { code, _ := get(t, url+"/readyz"); return code == http.StatusOK })
}

// TestProofs: how long a proof is believed.
func TestProofs(t *testing.T) {
	t.Parallel()
	p := &proofs{}
	m := protocol.ModelID(tinyManifest().ID())
	if ok, why := p.ready(); ok || why == "" || !p.due(m) {
		t.Error("ready before anything was tried")
	}
	p.note(m)
	if ok, _ := p.ready(); !ok || p.due(m) {
		t.Error("not ready after a token came back")
	}
	p.times[m] = time.Now().Add(-canaryEvery)
	if ok, _ := p.ready(); !ok || !p.due(m) {
		t.Error("no canary is due, or the last one is not believed until the next must be back")
	}
	p.times[m] = time.Now().Add(-proofLasts - time.Second)
	if ok, _ := p.ready(); ok {
		t.Error("an old proof is believed")
	}
	p.note(m)
	p.fail(m, io.ErrUnexpectedEOF)
	if ok, why := p.ready(); ok || why != io.ErrUnexpectedEOF.Error() {
		t.Errorf("after a failure: %t, %s", ok, why)
	}
	p.note(m)
	p.end()
	if ok, _ := p.ready(); ok {
		t.Error("ready while it shuts down")
	}
}
