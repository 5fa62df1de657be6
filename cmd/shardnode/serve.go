// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/control"
	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/modelfile"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/statedir"
	"github.com/shardnode/shardnode/internal/swarmkey"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// serve is the daemon.
func serve(ctx context.Context, o *options) error {
	if err := o.validate(); err != nil {
		return err
	}
	cfg, err := o.nodeConfig()
	if err != nil {
		return err
	}
	log, err := cmdline.NewLogger(o.logLevel, o.logJSON)
	if err != nil {
		return err
	}
	defer log.Sync()
	cfg.Log = log

	metrics, err := o.listenMetrics(ctx)
	if err != nil {
		return err
	}
	if metrics != nil {
		defer metrics.Close()
		cfg.Metrics = prometheus.NewRegistry()
	}
	cmdline.SpareP(o.threads)
	dir, err := o.openDir(log)
	if err != nil {
		return err
	}
	defer dir.Close()
	model, err := modelfile.Open(o.model)
	if err != nil {
		return err
	}
	defer model.Close()
	cfg.File, cfg.ModelName = model.File, model.Name
	if o.layers == "" {
		if cfg.Layers, err = shardLayers(model.File); err != nil {
			return err
		}
	}
	progress := newProgress(os.Stderr, log)
	cfg.Progress = progress.of("loading the layers")
	cfg.Manifest, err = gguf.LoadManifest(ctx, model.File, model.Path, filepath.Join(dir.Path, "cache"), progress.of("hashing the model, once per file"))
	var n *node.Node
	modelID := protocol.ModelID{}
	placed := func(plan *node.MemoryPlan) {
		limitHeap(plan)
		log.Info(startLine(plan.Layers.String(), model.Name, n.Host().ID().String()), zap.Stringer("model_id", modelID), zap.String("cpu", kernel.Path()), zap.Int("threads", o.threads))
	}
	if err == nil {
		modelID = protocol.ModelID(cfg.Manifest.ID())
		cfg.Profile = o.profile(ctx, dir, model.File, modelID, log)
		cfg.Placed = placed
		n, err = o.start(ctx, cfg, dir, log)
	}
	progress.clear()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		log.Info("stopped before serving")
		return nil
	}
	if err != nil {
		return err
	}
	forget(model.File, cfg.Manifest)
	if plan := n.Plan(); plan != nil {
		placed(plan)
	}
	for _, a := range n.Host().Addrs() {
		log.Info("listening", zap.String("addr", a.String()+"/p2p/"+n.Host().ID().String()))
	}
	// The control socket answers as long as the node runs, while it drains too.
	group, running := errgroup.WithContext(context.WithoutCancel(ctx))
	running, ended := context.WithCancel(running)
	defer ended()
	group.Go(func() error {
		return control.Serve(running, dir.Path, control.Daemon{Health: func() control.Health { return nodeHealth(n) }, Drain: n.Leave})
	})
	if metrics != nil {
		log.Info("serving metrics", zap.String("url", "http://"+metrics.Addr().String()+"/metrics"))
		group.Go(func() error { return serveMetrics(running, metrics, cfg.Metrics, n) })
	}
	group.Go(func() error {
		defer ended()
		defer context.AfterFunc(running, n.Leave)()
		return n.Run(ctx)
	})
	err = group.Wait()
	log.Info("stopped")
	return err
}

// shardLayers returns the layers that a shard says it has; none, of a whole model.
func shardLayers(f *gguf.File) (protocol.LayerRange, error) {
	s, err := f.ShardLayers()
	if err != nil || s == "" {
		return protocol.LayerRange{}, err
	}
	return protocol.ParseLayerRange(s)
}

// forget drops what was needed to start: vocabulary and merges, which take tens of megabytes, have been read for the last time.
func forget(f *gguf.File, m *gguf.Manifest) {
	f.Meta, m.Meta, m.Tensors = &gguf.Metadata{}, &gguf.Metadata{}, nil
	debug.FreeOSMemory()
}

// limitHeap keeps the process to a memory plan: garbage must not outgrow it.
func limitHeap(plan *node.MemoryPlan) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(plan.Heap())
	}
}

func nodeHealth(n *node.Node) control.Health {
	h := n.Health()
	h.PID = os.Getpid()
	return h
}

// nodeConfig turns flags into the node's configuration, as far as they go.
func (o *options) nodeConfig() (node.Config, error) {
	cfg := node.Config{
		Context: o.context, Threads: o.threads, MaxSessions: o.maxSessions, MaxRows: o.maxRows, Idle: o.sessionIdle, DrainTime: o.drainTimeout,
		KVBudget: int64(o.kvBudget), BufferBudget: int64(o.buffers), Memory: int64(o.memory),
		Swarm: o.swarm, Open: o.open, Bootstrap: o.bootstrap, NoMDNS: o.noMDNS, Version: cmdline.ShortVersion(), Measure: true,
	}
	switch {
	case o.replay == 0:
		cfg.ReplayBudget = -1
	case o.replay > 0:
		cfg.ReplayBudget = int64(o.replay)
	}
	switch {
	case o.prefix == 0:
		cfg.PrefixCache = -1
	case o.prefix > 0:
		cfg.PrefixCache = int64(o.prefix)
	}
	var err error
	if o.layers != "" {
		if cfg.Layers, err = protocol.ParseLayerRange(o.layers); err != nil {
			return cfg, cmdline.Usagef("--layers: %v", err)
		}
	}
	for _, s := range o.admins {
		id, err := peer.Decode(s)
		if err != nil {
			return cfg, cmdline.Usagef("--admin %q: want a peer ID such as `coordinator id` prints: %v", s, err)
		}
		cfg.Admins = append(cfg.Admins, id)
	}
	if cfg.KV, err = protocol.ParseDType(o.kv); err != nil {
		return cfg, cmdline.Usagef("--kv: %v", err)
	}
	for _, s := range o.listen {
		addrs, err := p2p.ParseListen(s)
		if err != nil {
			return cfg, cmdline.Usagef("--listen: %v", err)
		}
		cfg.Listen = append(cfg.Listen, addrs...)
	}
	for _, s := range o.announce {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return cfg, cmdline.Usagef("--announce %q: %v", s, err)
		}
		cfg.Announce = append(cfg.Announce, a)
	}
	cfg.SwarmKey, err = swarmkey.Read(o.swarmKey)
	return cfg, err
}

// openDir takes the data directory, the next free one without --data-dir.
func (o *options) openDir(log *zap.Logger) (*statedir.Dir, error) {
	if o.dataDir != "" {
		return statedir.Open(o.dataDir)
	}
	root, err := statedir.Root()
	if err != nil {
		return nil, err
	}
	dir, err := statedir.OpenNext(root)
	if err != nil {
		return nil, err
	}
	if dir.Index > 0 {
		log.Info("another shardnode of this user runs: taking the next data directory", zap.String("data_dir", dir.Path))
	}
	return dir, nil
}

// start loads the layers and listens, on the port of the last run if it is free.
func (o *options) start(ctx context.Context, cfg node.Config, dir *statedir.Dir, log *zap.Logger) (*node.Node, error) {
	var err error
	if cfg.Key, err = dir.Identity(); err != nil {
		return nil, err
	}
	cfg.CachePath = dir.File("peers-" + url.PathEscape(o.swarm) + ".json")
	if o.packCache {
		cfg.PanelPath = dir.File("weights.packed")
	}
	if !o.noMDNS {
		root, err := statedir.Root()
		if err != nil {
			return nil, err
		}
		cfg.RunDir = statedir.RunDir(root)
	}
	kept := 0
	if len(cfg.Listen) == 0 {
		if kept = dir.Port(); kept > 0 {
			if cfg.Listen, err = p2p.ParseListen(strconv.Itoa(kept)); err != nil {
				return nil, err
			}
		}
	}
	n, err := node.New(ctx, cfg)
	if err != nil && kept > 0 && errors.Is(err, syscall.EADDRINUSE) {
		log.Warn("the port of the last run is taken: choosing another", zap.Int("port", kept))
		cfg.Listen = nil
		n, err = node.New(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	if len(o.listen) == 0 {
		if port := listenPort(n); port > 0 && port != kept {
			if err := dir.KeepPort(port); err != nil {
				log.Warn("cannot keep the port for the next run", zap.Error(err))
			}
		}
	}
	return n, nil
}

// listenPort is the UDP port that the node listens on.
func listenPort(n *node.Node) int {
	for _, a := range n.Host().Libp2p().Network().ListenAddresses() {
		if s, err := a.ValueForProtocol(multiaddr.P_UDP); err == nil {
			if port, err := strconv.Atoi(s); err == nil {
				return port
			}
		}
	}
	return 0
}
