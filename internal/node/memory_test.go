// SPDX-License-Identifier: MIT

package node

import (
	"strings"
	"testing"

	"github.com/shardnode/shardnode/models"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// demo returns the demo model's file and configuration.
func demo(t *testing.T) (*gguf.File, *layers.Config) {
	t.Helper()
	f, err := gguf.Parse(models.Demo())
	if err != nil {
		t.Fatal(err)
	}
	model, err := layers.ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	return f, model
}

func TestMemoryPlan(t *testing.T) {
	t.Parallel()
	f, model := demo(t)
	cfg := Config{File: f, Layers: protocol.LayerRange{From: 8, To: 16}, KVBudget: 100 << 20, Memory: 1 << 30}
	cfg.setBudgets(model)
	plan, err := planMemory(&cfg, model)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Weights < 3<<20 || plan.Weights > 4<<20 {
		t.Errorf("eight layers of the demo model weigh %d bytes, want between 3 and 4 MiB", plan.Weights)
	}
	// A session's chunks of 64 rows of 256 float32, six times with 64 KiB of a reader, for 64 sessions.
	if want := int64(64 * 6 * (64<<10 + 64<<10)); plan.Buffers != want {
		t.Errorf("%d bytes for frames, want %d", plan.Buffers, want)
	}
	if plan.Step < 512*4*(4*256+3*768) || plan.Step > 512*8*(4*256+3*768) {
		t.Errorf("%d bytes for steps of 512 rows", plan.Step)
	}
	if sum := plan.Weights + plan.KV + plan.Replay + plan.Step + plan.Buffers + 64<<20; plan.Total() != sum {
		t.Errorf("%d bytes in all, the parts make %d", plan.Total(), sum)
	}
	if err := plan.Check(); err != nil {
		t.Errorf("a plan that fits: %v", err)
	}
	plan.Weights, plan.Available = 8<<30, 5<<30
	err = plan.Check()
	if err == nil {
		t.Fatal("a plan that does not fit was accepted")
	}
	for _, want := range []string{
		"layers 8-15 need 8.2 GiB", "8.0 GiB of weights", "100.0 MiB for KV caches (--kv-budget)", "25.0 MiB for outputs kept (--replay-budget)",
		" for activations (--max-rows, --context, --threads)", "48.0 MiB for frames (--buffer-budget)", "64.0 MiB for the program", "5.0 GiB are available: serve about 4 layers",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "lower --kv-budget to") {
		t.Errorf("%q: without any KV cache it would not fit either", err)
	}
	plan.Available = plan.Total() - 60<<20
	if err := plan.Check(); err == nil || !strings.HasSuffix(err.Error(), "serve about 7 layers, or lower --kv-budget to 52MiB") {
		t.Errorf("60 MiB too much: %v", err)
	}
	plan.KV, plan.Replay = 52<<20, 13<<20
	if err := plan.Check(); err != nil {
		t.Errorf("with the budget that the error asks for: %v", err)
	}
	plan.Available = 0
	if err := plan.Check(); err != nil {
		t.Errorf("where memory is not known nothing is refused: %v", err)
	}
}

// A KV budget bounds the positions of a session, and with them the scores of attention: a long context by itself costs nothing.
func TestMemoryPlanOfLongContext(t *testing.T) {
	t.Parallel()
	f, model := demo(t)
	step := func(context int, budget int64) int64 {
		m := *model
		m.Context = context
		cfg := Config{File: f, Layers: protocol.LayerRange{From: 8, To: 16}, KVBudget: budget, Threads: 8}
		cfg.setBudgets(&m)
		plan, err := planMemory(&cfg, &m)
		if err != nil {
			t.Fatal(err)
		}
		return plan.Step
	}
	if short, long := step(2048, 1<<30), step(1<<17, 1<<30); long <= short {
		t.Errorf("a context of 131072 positions takes %d bytes a step, one of 2048 takes %d", long, short)
	}
	// 8 MiB hold 2048 positions of 4 KiB.
	if a, b := step(4096, 8<<20), step(1<<20, 8<<20); a != b {
		t.Errorf("%d and %d bytes a step with room for as many positions", a, b)
	}
}

// Frames of the largest step must fit the part of the budget that is for receiving.
func TestLeastBuffers(t *testing.T) {
	t.Parallel()
	f, model := demo(t)
	cfg := Config{File: f, Layers: protocol.LayerRange{From: 8, To: 16}, BufferBudget: 1 << 20}
	cfg.setBudgets(model)
	if _, err := planMemory(&cfg, model); err == nil || !strings.Contains(err.Error(), "--buffer-budget 1.0 MiB is too little for steps of 512 rows") {
		t.Errorf("error %v", err)
	}
	cfg = Config{File: f, Layers: cfg.Layers, MaxSessions: 1, MaxRows: 1024}
	cfg.setBudgets(model)
	if _, err := planMemory(&cfg, model); err != nil {
		t.Errorf("the default for one session and 1024 rows: %v", err)
	}
}
