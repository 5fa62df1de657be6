// SPDX-License-Identifier: MIT

package node

import (
	"fmt"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// programBytes is what a node takes beside weights and KV caches: the program, libp2p, buffers and scratch memory.
const programBytes = 64 << 20

// MemoryPlan is what a node will hold, computed before anything is loaded.
type MemoryPlan struct {
	Layers    protocol.LayerRange
	Weights   int64 // of the range, embedding and head included where it has them
	KVBudget  int64
	Available int64 // what the plan may take; 0: not known
}

// Total is the sum.
func (p *MemoryPlan) Total() int64 { return p.Weights + p.KVBudget + programBytes }

// Check refuses a plan that does not fit, with the numbers and what would fit.
func (p *MemoryPlan) Check() error {
	if p.Available == 0 || p.Total() <= p.Available {
		return nil
	}
	hint := "lower --kv-budget"
	if perLayer := p.Weights / int64(p.Layers.Len()); perLayer > 0 {
		if n := (p.Available - p.KVBudget - programBytes) / perLayer; n > 0 {
			hint = fmt.Sprintf("serve about %d layers, or lower --kv-budget", n)
		}
	}
	return fmt.Errorf("layers %s need %s of memory: %s of weights, %s for KV caches (--kv-budget) and %s for the program; %s are available: %s",
		p.Layers, cmdline.FormatBytes(p.Total()), cmdline.FormatBytes(p.Weights), cmdline.FormatBytes(p.KVBudget),
		cmdline.FormatBytes(programBytes), cmdline.FormatBytes(p.Available), hint)
}

// planMemory computes the plan of a configuration.
func planMemory(cfg *Config, model *layers.Config) (*MemoryPlan, error) {
	weights, err := layers.PlanBytes(cfg.File, model, cfg.Layers)
	if err != nil {
		return nil, err
	}
	p := &MemoryPlan{Layers: cfg.Layers, Weights: weights, KVBudget: cfg.KVBudget, Available: cfg.Memory}
	if p.KVBudget == 0 {
		p.KVBudget = 1 << 30
	}
	if p.Available == 0 {
		p.Available = availableMemory()
	}
	return p, nil
}
