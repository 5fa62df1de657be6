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

func TestMemoryPlan(t *testing.T) {
	t.Parallel()
	f, err := gguf.Parse(models.Demo())
	if err != nil {
		t.Fatal(err)
	}
	model, err := layers.ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := planMemory(&Config{File: f, Layers: protocol.LayerRange{From: 8, To: 16}, KVBudget: 100 << 20, Memory: 1 << 30}, model)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Weights < 3<<20 || plan.Weights > 4<<20 {
		t.Errorf("eight layers of the demo model weigh %d bytes, want between 3 and 4 MiB", plan.Weights)
	}
	if err := plan.Check(); err != nil {
		t.Errorf("a plan that fits: %v", err)
	}
	plan.Weights, plan.Available = 8<<30, 5<<30
	err = plan.Check()
	if err == nil {
		t.Fatal("a plan that does not fit was accepted")
	}
	for _, want := range []string{"layers 8-15 need 8.2 GiB", "8.0 GiB of weights", "100.0 MiB for KV caches", "5.0 GiB are available", "about 4 layers"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	plan.Available = 0
	if err := plan.Check(); err != nil {
		t.Errorf("where memory is not known nothing is refused: %v", err)
	}
}
