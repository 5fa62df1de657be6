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

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/engine"
	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Node is one shard node.
type Node struct {
	// Constant after construction.
	cfg         Config
	log         *zap.Logger
	modelID     protocol.ModelID
	modelConfig *layers.Config
	available   int64 // bytes the node may take; 0: not known
	host        *p2p.Host
	finder      *discovery.Finder
	moves       chan protocol.LayerRange // capacity 1: what to serve next, checked
	metrics     *metrics                 // nil: none are kept
	vocab       func() (*grammar.Vocab, error)

	current atomic.Pointer[shard]               // what is served; nil: nothing, see pending
	pending atomic.Pointer[protocol.LayerRange] // what is being loaded; nil: nothing
	moving  atomic.Bool                         // a move is asked for or under way
	about   atomic.Bool                         // it will move unless another one does, or moves, and others share its layers: no new sessions, please

	advertised atomic.Bool // at least once, and not leaving
	leaving    chan struct{}
	askLeave   sync.Once // closes leaving
}

// New loads the layers, if the configuration says which, and starts the host: the node listens when New returns, but answers only once Run
// runs. It gives up, with ctx's error, when ctx ends first.
func New(ctx context.Context, cfg Config) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	modelConfig, err := layers.ParseConfig(cfg.File.Meta)
	if err != nil {
		return nil, err
	}
	if !cfg.chooses() && !cfg.Layers.Valid(modelConfig.NLayers) {
		return nil, fmt.Errorf("layers %s: the model %s has %d layers, 0-%d", cfg.Layers, cfg.ModelName, modelConfig.NLayers, modelConfig.NLayers-1)
	}
	if cfg.Context > 0 {
		modelConfig.Context = min(modelConfig.Context, cfg.Context)
	}
	cfg.setBudgets(modelConfig)
	n := &Node{
		cfg: cfg, log: cfg.Log, leaving: make(chan struct{}), moves: make(chan protocol.LayerRange, 1), modelID: protocol.ModelID(cfg.Manifest.ID()),
		modelConfig: modelConfig, available: cfg.Memory,
	}
	if n.available == 0 {
		n.available = availableMemory()
	}
	if cfg.Metrics != nil {
		n.metrics = newMetrics()
	}
	n.vocab = sync.OnceValues(func() (*grammar.Vocab, error) { return readVocab(cfg.Manifest.Bytes) })
	if cfg.chooses() {
		if err := n.anyFits(); err != nil {
			return nil, err
		}
		return n, n.connect()
	}
	s, err := n.load(ctx, cfg.Layers)
	if err != nil {
		return nil, err
	}
	if err := n.connect(); err != nil {
		s.model.Close()
		return nil, err
	}
	if err := n.equip(s); err != nil {
		s.model.Close()
		return nil, errors.Join(err, n.host.Close())
	}
	n.current.Store(s)
	return n, nil
}

// connect makes host and finder.
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
	n.finder, err = discovery.New(discovery.Config{
		Host: n.host.Guarded(), Status: n.host.Status, Connect: n.host.Connect, Swarm: n.host.Swarm(), Bootstrap: n.cfg.Bootstrap,
		CachePath: n.cfg.CachePath, LocalDir: n.cfg.RunDir, MDNS: !n.cfg.NoMDNS, ServeDHT: true, Log: n.log,
	})
	if err == nil && n.metrics != nil {
		err = n.registerMetrics()
	}
	if err != nil {
		return errors.Join(err, n.host.Close())
	}
	return nil
}

// Run serves until ctx ends or [Node.Leave] is called. Then it leaves: it stops advertising, refuses new sessions, asks coordinators
// to move those that are open, waits for that, and closes the host so that peers notice at once.
func (n *Node) Run(ctx context.Context) error {
	defer n.closeModel()
	defer n.host.Close()

	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	asked, leave := context.WithCancel(ctx) // ends when the node is to leave
	defer leave()
	group, groupCtx := errgroup.WithContext(serving)
	group.Go(func() error { return n.finder.Run(groupCtx) })
	if n.cfg.Measure {
		group.Go(func() error { n.measureLinks(groupCtx); return nil })
	}
	group.Go(func() error {
		defer leave()
		select {
		case <-asked.Done():
		case <-n.leaving:
		case <-groupCtx.Done():
		}
		return nil
	})
	group.Go(func() error {
		defer stop()
		return n.serve(groupCtx, asked)
	})
	err := group.Wait()
	n.advertised.Store(false)
	if s := n.current.Load(); s != nil {
		if engineErr := s.stop(); err == nil {
			err = engineErr
		}
	}
	if errors.Is(err, context.Canceled) && serving.Err() != nil {
		return nil
	}
	return err
}

// serve serves one range after another, until asked ends, and drains then. It alone changes what is served.
func (n *Node) serve(ctx, asked context.Context) error {
	var service p2p.Node = served{n}
	if n.cfg.Serve != nil {
		service = n.cfg.Serve(service)
	}
	advertising, silence := context.WithCancel(ctx)
	var advertise sync.WaitGroup
	defer advertise.Wait()
	defer silence()
	choose := n.chooser()
	// From here on others know of the node.
	appear := func() {
		n.host.Serve(service)
		n.host.ServeAdmin(n.obeys, n.Move)
		advertise.Go(func() {
			if err := n.finder.Advertise(advertising, n.Status, func() { n.advertised.Store(true) }); err != nil {
				n.log.Warn("no longer advertised", zap.Error(err))
			}
		})
	}
	if s := n.current.Load(); s != nil {
		s.start()
		appear()
	} else if err := n.settle(ctx, asked, choose, appear); err != nil {
		if asked.Err() != nil {
			return nil
		}
		return err
	}
	err := n.attend(ctx, asked, choose)
	silence()
	if err == nil && ctx.Err() == nil {
		n.drain(ctx)
	}
	return err
}

// attend moves when it is told to, or when it is worth it, until asked ends.
func (n *Node) attend(ctx, asked context.Context, choose *placement.Chooser) error {
	var review <-chan time.Time
	if n.cfg.chooses() {
		ticker := time.NewTicker(placement.ReviewEvery)
		defer ticker.Stop()
		review = ticker.C
	}
	for asked.Err() == nil && ctx.Err() == nil { // a move that was cut short leaves nothing to review
		select {
		case <-asked.Done():
		case <-ctx.Done():
		case take := <-n.moves:
			review = nil // where an administrator puts it, it stays
			if err := n.move(ctx, asked, take); err != nil {
				return err
			}
		case <-review:
			if take, ok := n.review(asked, choose); ok {
				if err := n.move(ctx, asked, take); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// closeModel frees what is served last.
func (n *Node) closeModel() {
	if s := n.current.Load(); s != nil {
		s.model.Close()
	}
}

// Leave makes Run drain the node and return. It does not wait.
func (n *Node) Leave() { n.askLeave.Do(func() { close(n.leaving) }) }

// drain returns when no session is open any more, or they have had their time, or ctx ends.
func (n *Node) drain(ctx context.Context) {
	s := n.current.Load()
	if s == nil {
		return
	}
	s.engine.Drain()
	open := s.engine.Stats().Sessions
	if open == 0 || n.cfg.DrainTime <= 0 {
		return
	}
	n.log.Info("leaving: asking coordinators to move their sessions", zap.Int("sessions", open), zap.Duration("at most", n.cfg.DrainTime))
	n.host.Leave(n.cfg.DrainTime)
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainTime)
	defer cancel()
	if err := s.engine.Drained(ctx); err != nil {
		n.log.Warn("leaving with sessions open", zap.Int("sessions", s.engine.Stats().Sessions))
	}
}

// Host returns the node's libp2p host.
func (n *Node) Host() *p2p.Host { return n.host }

// Plan returns what the node holds at the most; nil while it has not chosen its layers.
func (n *Node) Plan() *MemoryPlan {
	if s := n.current.Load(); s != nil {
		return s.plan
	}
	return nil
}

// Engine returns the engine of the range that is served; nil while there is none.
func (n *Node) Engine() *engine.Engine {
	if s := n.current.Load(); s != nil {
		return s.engine
	}
	return nil
}
