// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/multiformats/go-multiaddr"
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
	log, err := newLogger(o.logLevel, o.logJSON)
	if err != nil {
		return err
	}
	defer log.Sync()
	cfg.Log = log

	// One P more than compute threads, so that network goroutines need not wait for a kernel to end.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), o.threads+1))

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
	log.Info("hashing the model (once per file)", zap.String("model", model.Name))
	if cfg.Manifest, err = gguf.LoadManifest(model.File, model.Path, filepath.Join(dir.Path, "cache")); err != nil {
		return err
	}
	n, err := o.start(cfg, dir, log)
	if err != nil {
		return err
	}
	log.Info(startLine(cfg.Layers.String(), model.Name, n.Host().ID().String()), zap.String("model_id", protocol.ModelID(cfg.Manifest.ID()).String()), zap.String("cpu", kernel.Path()), zap.Int("threads", o.threads))
	for _, a := range n.Host().Addrs() {
		log.Info("listening", zap.String("addr", a.String()+"/p2p/"+n.Host().ID().String()))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return control.Serve(ctx, dir.Path, func() control.Health { return nodeHealth(n) }) })
	group.Go(func() error { return n.Run(ctx) })
	err = group.Wait()
	log.Info("stopped")
	return err
}

func nodeHealth(n *node.Node) control.Health {
	h := n.Health()
	h.PID = os.Getpid()
	return h
}

// nodeConfig turns flags into the node's configuration, as far as they go.
func (o *options) nodeConfig() (node.Config, error) {
	cfg := node.Config{
		Context: o.context, Threads: o.threads, MaxSessions: o.maxSessions, KVBudget: int64(o.kvBudget), Memory: int64(o.memory),
		Swarm: o.swarm, Open: o.open, Bootstrap: o.bootstrap, NoMDNS: o.noMDNS, Version: cmdline.ShortVersion(),
	}
	var err error
	if cfg.Layers, err = protocol.ParseLayerRange(o.layers); err != nil {
		return cfg, cmdline.Usagef("--layers: %v", err)
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
func (o *options) start(cfg node.Config, dir *statedir.Dir, log *zap.Logger) (*node.Node, error) {
	var err error
	if cfg.Key, err = dir.Identity(); err != nil {
		return nil, err
	}
	cfg.CachePath = dir.File("peers-" + url.PathEscape(o.swarm) + ".json")
	if !o.noMDNS {
		root, err := statedir.Root()
		if err != nil {
			return nil, err
		}
		cfg.RunDir = statedir.RunDir(root)
	}
	progress := newLoadProgress(os.Stderr)
	cfg.Progress = progress.show
	kept := 0
	if len(cfg.Listen) == 0 {
		if kept = dir.Port(); kept > 0 {
			if cfg.Listen, err = p2p.ParseListen(strconv.Itoa(kept)); err != nil {
				return nil, err
			}
		}
	}
	n, err := node.New(cfg)
	progress.clear()
	if err != nil && kept > 0 && errors.Is(err, syscall.EADDRINUSE) {
		log.Warn("the port of the last run is taken: choosing another", zap.Int("port", kept))
		cfg.Listen = nil
		n, err = node.New(cfg)
		progress.clear()
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

// loadProgress shows on a terminal how far loading is.
type loadProgress struct {
	f    *os.File
	last int64
}

func newLoadProgress(f *os.File) *loadProgress {
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		f = nil
	}
	return &loadProgress{f: f}
}

func (p *loadProgress) show(done, total int64) {
	percent := done * 100 / max(1, total)
	if p.f == nil || percent == p.last {
		return
	}
	p.last = percent
	fmt.Fprintf(p.f, "\rloading %s of %s (%d %%)", cmdline.FormatBytes(done), cmdline.FormatBytes(total), percent)
}

func (p *loadProgress) clear() {
	if p.f != nil && p.last > 0 {
		fmt.Fprint(p.f, "\r\x1b[K")
	}
}
