// SPDX-License-Identifier: MIT

package node

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

const (
	// programBytes is what a node takes beside the budgets: the program itself, libp2p, the model's metadata, the garbage collector's reserve.
	programBytes = 64 << 20

	defaultKVBudget    = 1 << 30
	replayMost         = 256 << 20 // unless more is asked for
	defaultMaxSessions = 64
	defaultMaxRows     = 512 // eight times the coordinator's usual chunk

	// sessionFrames is how many chunks of [protocol.DefaultChunkRows] a session has under way in this node: one being received, two that wait, two outputs and a
	// copy to be sent; and as many reader's buffers of frameBytes.
	sessionFrames = 6
	frameBytes    = 64 << 10
)

// MemoryPlan is what a node will hold at the most, computed before anything is loaded. Each part is bounded by a flag.
type MemoryPlan struct {
	Layers    protocol.LayerRange
	Weights   int64 // of the range, embedding and head included where it has them
	KV        int64 // all KV caches: --kv-budget
	Replay    int64 // outputs kept to heal routes with: --replay-budget
	Step      int64 // activations of a step: by --max-rows, --context and --threads
	Buffers   int64 // frames received, waiting and to be sent: --buffer-budget
	Available int64 // what the plan may take; 0: not known
}

// Total is the sum, the program itself included.
func (p *MemoryPlan) Total() int64 { return p.Weights + p.budgets() }

func (p *MemoryPlan) budgets() int64 { return p.KV + p.Replay + p.Step + p.Buffers + programBytes }

// room is what the plan leaves for weights and KV caches; 0: not known.
func (p *MemoryPlan) room() uint64 {
	return uint64(max(0, p.Available-(p.Total()-p.Weights-p.KV)))
}

// Heap is the part of the plan that is the garbage collector's, for [debug.SetMemoryLimit]: half of what the program has is its own code
// and data.
func (p *MemoryPlan) Heap() int64 { return p.Replay + p.Step + p.Buffers + programBytes/2 }

// String lists the parts with their flags.
func (p *MemoryPlan) String() string {
	return fmt.Sprintf("%s of weights, %s for KV caches (--kv-budget), %s for outputs kept (--replay-budget), %s for activations (--max-rows, --context, --threads), %s for frames (--buffer-budget) and %s for the program",
		cmdline.FormatBytes(p.Weights), cmdline.FormatBytes(p.KV), cmdline.FormatBytes(p.Replay), cmdline.FormatBytes(p.Step), cmdline.FormatBytes(p.Buffers),
		cmdline.FormatBytes(programBytes))
}

// Check refuses a plan that does not fit, with the numbers and what would fit.
func (p *MemoryPlan) Check() error {
	if p.Available == 0 || p.Total() <= p.Available {
		return nil
	}
	var hints []string
	if perLayer := p.Weights / int64(p.Layers.Len()); perLayer > 0 {
		if n := (p.Available - p.budgets()) / perLayer; n > 0 {
			hints = append(hints, fmt.Sprintf("serve about %d layers", n))
		}
	}
	if mib := p.kvThatFits() >> 20; mib > 0 {
		hints = append(hints, fmt.Sprintf("lower --kv-budget to %dMiB", mib))
	}
	if hints == nil {
		hints = []string{"serve fewer layers, or lower the budgets"}
	}
	return fmt.Errorf("layers %s need %s of memory: %s; %s are available: %s",
		p.Layers, cmdline.FormatBytes(p.Total()), p, cmdline.FormatBytes(p.Available), strings.Join(hints, ", or "))
}

// kvThatFits is the largest --kv-budget with which the rest would fit; below 1: none. The default for outputs follows it.
func (p *MemoryPlan) kvThatFits() int64 {
	room := p.Available - (p.Total() - p.KV - p.Replay)
	if p.Replay == min(p.KV/4, replayMost) {
		return max(room*4/5, room-replayMost)
	}
	return room - p.Replay
}

// setBudgets fills in the defaults of what bounds memory.
func (c *Config) setBudgets(model *layers.Config) {
	c.Threads = max(1, c.Threads)
	c.KV = cmp.Or(c.KV, protocol.F16)
	c.KVBudget = cmp.Or(c.KVBudget, defaultKVBudget)
	c.PrefixCache = cmp.Or(c.PrefixCache, c.KVBudget/2)
	c.ReplayBudget = cmp.Or(c.ReplayBudget, min(c.KVBudget/4, replayMost))
	c.MaxSessions = cmp.Or(c.MaxSessions, defaultMaxSessions)
	c.MaxRows = cmp.Or(c.MaxRows, defaultMaxRows)
	if c.BufferBudget == 0 {
		c.BufferBudget = max(int64(c.MaxSessions)*sessionFrames*(protocol.DefaultChunkRows*rowBytes(model)+frameBytes), minBuffers(c.MaxRows, model))
	}
}

// rowBytes is a row of hidden states on its way.
func rowBytes(model *layers.Config) int64 { return 4 * int64(model.Hidden) }

// minBuffers is the least budget for frames: a third of it, the part for receiving, holds the largest frame.
func minBuffers(maxRows int, model *layers.Config) int64 {
	return 3 * (int64(maxRows)*rowBytes(model) + 1<<20)
}

// Plan is the memory plan of a node with this configuration, before it is made. An empty Layers plans for the whole model.
func Plan(cfg Config) (*MemoryPlan, error) {
	model, err := layers.ParseConfig(cfg.File.Meta)
	if err != nil {
		return nil, err
	}
	if cfg.chooses() {
		cfg.Layers = protocol.LayerRange{To: model.NLayers}
	}
	if !cfg.Layers.Valid(model.NLayers) {
		return nil, fmt.Errorf("layers %s: the model %s has %d layers, 0-%d", cfg.Layers, cfg.ModelName, model.NLayers, model.NLayers-1)
	}
	if cfg.Context > 0 {
		model.Context = min(model.Context, cfg.Context)
	}
	if cfg.Memory == 0 {
		cfg.Memory = availableMemory()
	}
	cfg.setBudgets(model)
	return planMemory(&cfg, model)
}

// planMemory computes the plan of a configuration whose budgets are set.
func planMemory(cfg *Config, model *layers.Config) (*MemoryPlan, error) {
	if least := minBuffers(cfg.MaxRows, model); cfg.BufferBudget < least {
		return nil, fmt.Errorf("--buffer-budget %s is too little for steps of %d rows of this model: pass at least %s, or lower --max-rows",
			cmdline.FormatBytes(cfg.BufferBudget), cfg.MaxRows, cmdline.FormatBytes(least))
	}
	weights, err := layers.PlanWeights(cfg.File, model, cfg.Layers, layers.Options{})
	if err != nil {
		return nil, err
	}
	// No session has more positions than all of the budget holds.
	positions := cfg.KVBudget / layers.PlanKV(model, cfg.Layers, cfg.KV, 1) * layers.PageRows
	p := &MemoryPlan{
		Layers: cfg.Layers, Weights: weights, KV: cfg.KVBudget, Replay: max(0, cfg.ReplayBudget), Buffers: cfg.BufferBudget,
		Step:      layers.PlanStep(model, cfg.Layers, cfg.Threads, cfg.MaxRows, int(min(positions, int64(model.Context)))),
		Available: cfg.Memory,
	}
	return p, nil
}
