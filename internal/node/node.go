// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/control"
	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Node is one shard node.
type Node struct {
	// Constant after construction.
	cfg     Config
	log     *zap.Logger
	modelID protocol.ModelID
	plan    *MemoryPlan
	model   *layers.Model
	engine  *engine.Engine
	host    *p2p.Host
	finder  *discovery.Finder
	keep    bool // packed weights are to be written for the next start

	ready    atomic.Bool // advertised at least once, and not leaving
	leaving  chan struct{}
	askLeave sync.Once // closes leaving
}

// New loads the layers and starts the host: the node listens when New returns, but answers only once Run runs. It gives up, with ctx's error,
// when ctx ends first.
func New(ctx context.Context, cfg Config) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	modelConfig, err := layers.ParseConfig(cfg.File.Meta)
	if err != nil {
		return nil, err
	}
	if !cfg.Layers.Valid(modelConfig.NLayers) {
		return nil, fmt.Errorf("layers %s: the model %s has %d layers, 0-%d", cfg.Layers, cfg.ModelName, modelConfig.NLayers, modelConfig.NLayers-1)
	}
	if cfg.Context > 0 {
		modelConfig.Context = min(modelConfig.Context, cfg.Context)
	}
	cfg.setBudgets(modelConfig)
	n := &Node{cfg: cfg, log: cfg.Log, leaving: make(chan struct{}), modelID: protocol.ModelID(cfg.Manifest.ID())}
	if n.plan, err = planMemory(&cfg, modelConfig); err != nil {
		return nil, err
	}
	if err := n.plan.Check(); err != nil {
		return nil, err
	}
	n.log.Info("memory plan", zap.String("total", cmdline.FormatBytes(n.plan.Total())), zap.Stringer("parts", n.plan))
	if err := n.load(ctx, modelConfig); err != nil {
		return nil, err
	}
	if err := n.connect(); err != nil {
		n.model.Close()
		return nil, err
	}
	return n, nil
}

// load makes the layers ready.
func (n *Node) load(ctx context.Context, modelConfig *layers.Config) error {
	began := time.Now()
	opt := layers.Options{Threads: n.cfg.Threads, KV: n.cfg.KV, Progress: n.cfg.Progress}
	if n.cfg.PanelPath != "" {
		panels, file := n.openPanels()
		defer file.Close()
		opt.Panels = panels
	}
	var err error
	if n.model, err = layers.LoadContext(ctx, n.cfg.File, modelConfig, n.cfg.Layers, opt); err != nil {
		return err
	}
	from := "the model"
	if opt.Panels != nil && n.model.PanelBytes() > 0 && n.model.PanelsErr() == nil {
		from = "packed weights of an earlier start"
	}
	n.log.Info("loaded", zap.String("weights", cmdline.FormatBytes(n.model.WeightBytes())), zap.String("from", from), zap.Duration("took", time.Since(began).Round(time.Millisecond)))
	n.keep = n.cfg.PanelPath != "" && n.tellPanels(opt.Panels != nil)
	return nil
}

// connect makes host, engine and finder.
func (n *Node) connect() error {
	options := n.cfg.HostOptions
	if len(n.cfg.Announce) > 0 {
		options = append(slices.Clone(options), libp2p.AddrsFactory(func([]multiaddr.Multiaddr) []multiaddr.Multiaddr { return n.cfg.Announce }))
	}
	var err error
	n.host, err = p2p.NewHost(p2p.Config{
		Key: n.cfg.Key, Listen: n.cfg.Listen, Swarm: n.cfg.Swarm, SwarmKey: n.cfg.SwarmKey, Open: n.cfg.Open,
		Version: n.cfg.Version, Log: n.log, Options: options, Buffers: n.cfg.BufferBudget / 3,
	})
	if err != nil {
		return err
	}
	n.engine, err = engine.New(engine.Config{
		Model: n.model, ModelID: n.modelID, Peer: n.host.ID().String(), MaxSessions: n.cfg.MaxSessions, MaxRows: n.cfg.MaxRows,
		KVBudget: n.cfg.KVBudget, BufferBudget: n.cfg.BufferBudget - n.cfg.BufferBudget/3, ReplayBudget: n.cfg.ReplayBudget,
		Idle: n.cfg.Idle, StepCost: n.cfg.StepCost, Sleep: n.cfg.Sleep, Log: n.log,
	})
	if err != nil {
		return errors.Join(err, n.host.Close())
	}
	n.finder, err = discovery.New(discovery.Config{
		Host: n.host.Guarded(), Status: n.host.Status, Connect: n.host.Connect, Swarm: n.host.Swarm(), Bootstrap: n.cfg.Bootstrap,
		CachePath: n.cfg.CachePath, LocalDir: n.cfg.RunDir, MDNS: !n.cfg.NoMDNS, ServeDHT: true, Log: n.log,
	})
	if err != nil {
		return errors.Join(err, n.host.Close())
	}
	return nil
}

// Run serves until ctx ends or [Node.Leave] is called. Then it leaves: it stops advertising, refuses new sessions, asks coordinators
// to move those that are open, waits for that, and closes the host so that peers notice at once.
func (n *Node) Run(ctx context.Context) error {
	defer n.model.Close()
	defer n.host.Close()

	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	engineDone := make(chan error, 1)
	go func() { engineDone <- n.engine.Run(engineCtx) }()

	var service p2p.Node = served{n}
	if n.cfg.Serve != nil {
		service = n.cfg.Serve(service)
	}
	n.host.Serve(service)
	group, groupCtx := errgroup.WithContext(serving)
	advertising, silence := context.WithCancel(groupCtx)
	defer silence()
	group.Go(func() error { return n.finder.Run(groupCtx) })
	group.Go(func() error {
		return n.finder.Advertise(advertising, n.Status, func() { n.ready.Store(true) })
	})
	group.Go(func() error {
		defer stop()
		select {
		case <-ctx.Done():
		case <-n.leaving:
		case <-groupCtx.Done():
			return nil
		}
		silence()
		n.drain(groupCtx)
		return nil
	})
	if n.keep {
		group.Go(func() error { n.keepPanels(groupCtx); return nil })
	}
	err := group.Wait()
	n.ready.Store(false)
	stopEngine()
	if engineErr := <-engineDone; err == nil {
		err = engineErr
	}
	if errors.Is(err, context.Canceled) && serving.Err() != nil {
		return nil
	}
	return err
}

// Leave makes Run drain the node and return. It does not wait.
func (n *Node) Leave() { n.askLeave.Do(func() { close(n.leaving) }) }

// drain returns when no session is open any more, or they have had their time.
func (n *Node) drain(ctx context.Context) {
	n.ready.Store(false)
	n.engine.Drain()
	open := n.engine.Stats().Sessions
	if open == 0 || n.cfg.DrainTime <= 0 {
		return
	}
	n.log.Info("leaving: asking coordinators to move their sessions", zap.Int("sessions", open), zap.Duration("at most", n.cfg.DrainTime))
	n.host.Leave(n.cfg.DrainTime)
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainTime)
	defer cancel()
	if err := n.engine.Drained(ctx); err != nil {
		n.log.Warn("leaving with sessions open", zap.Int("sessions", n.engine.Stats().Sessions))
	}
}

// Host returns the node's libp2p host.
func (n *Node) Host() *p2p.Host { return n.host }

// Plan returns what the node holds at the most.
func (n *Node) Plan() *MemoryPlan { return n.plan }

// Engine returns the node's engine.
func (n *Node) Engine() *engine.Engine { return n.engine }

// Status is the node's word on what it serves.
func (n *Node) Status() *protocol.Status {
	stats := n.engine.Stats()
	cfg := n.model.Config()
	s := &protocol.Status{
		Peer: n.host.ID().String(), Version: n.cfg.Version, Swarm: n.host.Swarm(),
		Model: n.modelID, ModelName: n.cfg.ModelName, NLayers: uint32(cfg.NLayers), Layers: n.cfg.Layers,
		Numerics: []string{n.model.Numerics(protocol.F32), n.model.Numerics(protocol.F16)}, Context: uint32(cfg.Context),
		Sessions: uint32(stats.Sessions), MaxSess: uint32(stats.MaxSessions), KVUsed: uint64(stats.KVUsed), KVMax: uint64(stats.KVMax),
		StepNanos: uint64(stats.MeanStep), Draining: stats.Draining,
	}
	for _, a := range n.host.Addrs() {
		s.Addrs = append(s.Addrs, a.String())
	}
	return s
}

// Health is the node's word to its operator.
func (n *Node) Health() control.Health {
	s := n.Status()
	h := control.Health{
		Ready: n.ready.Load(), Loaded: true, Advertised: n.ready.Load(), Peer: s.Peer, Model: s.ModelName, ModelID: s.Model.String(),
		Layers: s.Layers.String(), Addrs: s.Addrs, Version: s.Version, Sessions: int(s.Sessions),
		Memory: control.Memory{
			Weights: n.plan.Weights, KVBudget: n.plan.KV, KVUsed: int64(s.KVUsed), Replay: n.plan.Replay, ReplayUsed: n.engine.Stats().KeptUsed,
			Activations: n.plan.Step, Buffers: n.plan.Buffers, Program: programBytes,
		},
		Draining: s.Draining,
	}
	switch {
	case h.Draining:
		h.Reason = fmt.Sprintf("the node is leaving, %d sessions are open", h.Sessions)
	case !h.Advertised:
		h.Reason = "the layer range is loaded but not advertised yet"
	}
	return h
}

// served is the node as package p2p sees it.
type served struct{ n *Node }

func (s served) Status() *protocol.Status { return s.n.Status() }
func (s served) Manifest() []byte         { return s.n.cfg.Manifest.Bytes }

func (s served) OpenSession(o *protocol.Open, deliver func(protocol.Frame) error) (p2p.Session, *protocol.Opened, error) {
	session, opened, err := s.n.engine.Open(o, deliver)
	if err != nil {
		return nil, nil, err
	}
	return session, opened, nil
}

func (s served) Export(ctx context.Context, f *protocol.Export, send func(*protocol.KVRows) error) error {
	return s.n.engine.Export(ctx, f, send)
}
