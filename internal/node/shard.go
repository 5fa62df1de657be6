// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// shard is a range of the model's layers in memory, and the engine that serves it.
type shard struct {
	n      *Node
	layers protocol.LayerRange
	plan   *MemoryPlan
	model  *layers.Model
	keep   bool // packed weights are to be written for the next start
	engine *engine.Engine

	cancel  context.CancelFunc // ends what start began
	ended   chan error         // the engine's end
	keeping chan struct{}      // closed when packed weights are written
}

// planRange is the memory plan of a range, refused if it does not fit.
func (n *Node) planRange(r protocol.LayerRange) (*MemoryPlan, error) {
	cfg := n.cfg
	cfg.Layers, cfg.Memory = r, n.available
	plan, err := planMemory(&cfg, n.modelConfig)
	if err != nil {
		return nil, err
	}
	return plan, plan.Check()
}

// load makes a range ready in memory.
func (n *Node) load(ctx context.Context, r protocol.LayerRange) (*shard, error) {
	s := &shard{n: n, layers: r}
	var err error
	if s.plan, err = n.planRange(r); err != nil {
		return nil, err
	}
	n.log.Info("memory plan", zap.String("total", cmdline.FormatBytes(s.plan.Total())), zap.Stringer("parts", s.plan))
	began := time.Now()
	opt := layers.Options{Threads: n.cfg.Threads, KV: n.cfg.KV, Progress: n.cfg.Progress}
	if n.cfg.PanelPath != "" {
		panels, file := n.openPanels()
		defer file.Close()
		opt.Panels = panels
	}
	if s.model, err = layers.LoadContext(ctx, n.cfg.File, n.modelConfig, r, opt); err != nil {
		return nil, err
	}
	from := "the model"
	if opt.Panels != nil && s.model.PanelBytes() > 0 && s.model.PanelsErr() == nil {
		from = "packed weights of an earlier start"
	}
	n.log.Info("loaded", zap.String("weights", cmdline.FormatBytes(s.model.WeightBytes())), zap.String("from", from), zap.Duration("took", time.Since(began).Round(time.Millisecond)))
	s.keep = n.cfg.PanelPath != "" && s.tellPanels(opt.Panels != nil)
	return s, nil
}

// equip gives a loaded range its engine.
func (n *Node) equip(s *shard) error {
	var err error
	s.engine, err = engine.New(engine.Config{
		Model: s.model, ModelID: n.modelID, Peer: n.host.ID().String(), MaxSessions: n.cfg.MaxSessions, MaxRows: n.cfg.MaxRows,
		KVBudget: n.cfg.KVBudget, BufferBudget: n.cfg.BufferBudget - n.cfg.BufferBudget/3, ReplayBudget: n.cfg.ReplayBudget, PrefixCache: max(0, n.cfg.PrefixCache),
		Vocab: n.vocab, Observer: n.metrics.observer(), Idle: n.cfg.Idle, StepCost: n.cfg.StepCost, Sleep: n.cfg.Sleep, Log: n.log,
	})
	return err
}

// start makes the engine compute, until stop.
func (s *shard) start() {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.ended, s.keeping = make(chan error, 1), make(chan struct{})
	go func() { s.ended <- s.engine.Run(ctx) }()
	go func() {
		defer close(s.keeping)
		if s.keep {
			s.keepPanels(ctx)
		}
	}()
}

// stop ends all sessions and waits for the engine; the model can be closed then.
func (s *shard) stop() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	<-s.keeping
	return <-s.ended
}
