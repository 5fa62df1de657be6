// SPDX-License-Identifier: MIT

package node

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// loaded is a node of some layers of the demo model with its layers ready, its log, and where they came from.
func loaded(t *testing.T, path string, r protocol.LayerRange) (s *shard, log *observer.ObservedLogs, from string) {
	t.Helper()
	f, model := demo(t)
	core, log := observer.New(zapcore.InfoLevel)
	n := &Node{cfg: Config{File: f, Threads: 2, PanelPath: path}, log: zap.New(core), modelID: protocol.ModelID{7}, modelConfig: model}
	n.cfg.setBudgets(model)
	s, err := n.load(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.model.Close)
	if s.model.PanelBytes() == 0 {
		t.Skip("this path computes with weights as they are in the file")
	}
	for _, e := range log.FilterMessage("loaded").All() {
		from, _ = e.ContextMap()["from"].(string)
	}
	return s, log, from
}

const earlier = "packed weights of an earlier start"

// warnings counts them.
func warnings(log *observer.ObservedLogs) int { return log.FilterLevelExact(zapcore.WarnLevel).Len() }

// Packed weights are read from the second start on; those of other layers, damaged ones and what a crash left are replaced.
func TestPackedWeightsAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "weights.packed")
	first, second := protocol.LayerRange{From: 0, To: 3}, protocol.LayerRange{From: 29, To: 32}
	if err := os.WriteFile(path+".tmp", make([]byte, 50<<20), 0o600); err != nil { // left by a crash
		t.Fatal(err)
	}
	n, log, from := loaded(t, path, first)
	if from != "the model" || !n.keep || warnings(log) > 0 {
		t.Fatalf("first start: from %s, keep %v, log %v", from, n.keep, log.All())
	}
	n.keepPanels(t.Context())
	good, err := os.ReadFile(path)
	if err != nil || int64(len(good)) != n.model.PanelBytes() || warnings(log) > 0 {
		t.Fatalf("%d bytes kept (%v), log %v", len(good), err, log.All())
	}
	if n, _, from = loaded(t, path, first); from != earlier || n.keep {
		t.Fatalf("second start: from %s, keep %v", from, n.keep)
	}

	n, log, from = loaded(t, path, second)
	if from != "the model" || !n.keep || warnings(log) > 0 || log.FilterMessage("packed weights of an earlier start are replaced").Len() != 1 {
		t.Fatalf("other layers: from %s, keep %v, log %v", from, n.keep, log.All())
	}
	n.keepPanels(t.Context())
	if _, _, from = loaded(t, path, second); from != earlier {
		t.Fatalf("other layers, second start: from %s", from)
	}

	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 4
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	n, log, from = loaded(t, path, first)
	if from != "the model" || !n.keep || warnings(log) != 1 {
		t.Fatalf("damaged: from %s, keep %v, log %v", from, n.keep, log.All())
	}
	n.keepPanels(t.Context())
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, good) {
		t.Errorf("written again (%v): the same bytes %v", err, bytes.Equal(again, good))
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
		t.Errorf("the directory holds %q", names)
	}
}

// What cannot be read or written costs a warning.
func TestPackedWeightsOnlyWarn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := protocol.LayerRange{From: 3, To: 5}

	path := filepath.Join(dir, "directory")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	n, log, from := loaded(t, path, r)
	n.keepPanels(t.Context())
	if from != "the model" || warnings(log) != 2 {
		t.Errorf("a directory in its place: from %s, log %v", from, log.All())
	}

	n, log, from = loaded(t, filepath.Join(dir, "missing", "weights.packed"), r)
	n.keepPanels(t.Context())
	if from != "the model" || warnings(log) != 1 {
		t.Errorf("no directory for it: from %s, log %v", from, log.All())
	}

	// A node that stops leaves no half of a file, and does not complain.
	path = filepath.Join(dir, "weights.packed")
	n, log, _ = loaded(t, path, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.keepPanels(ctx)
	if names, err := filepath.Glob(path + "*"); err != nil || len(names) > 0 || warnings(log) > 0 {
		t.Errorf("stopped while writing: %q is left, log %v", names, log.All())
	}
}
