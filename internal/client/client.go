// SPDX-License-Identifier: MIT

// Package client is the coordinator's composition: it joins the libp2p host, discovery, the tokenizer and package pipeline. The
// coordinator's commands use it, and so do tests. A [Client] is safe for concurrent use; each generation has its own session.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/waterfall"
	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/placement"
)

// Config of a [Client].
type Config struct {
	Swarm     string
	SwarmKey  []byte
	Open      bool
	Bootstrap []string
	NoMDNS    bool   // no multicast
	RunDir    string // local rendezvous directory of this machine's nodes; "": none
	StateRoot string // where peers and manifests are kept; "": nowhere
	Version   string
	Key       crypto.PrivKey // identity, for nodes that obey it; nil: a new one
	Log       *zap.Logger    // nil: silent

	// Traced is told where the time of each generation went, which began at that time and may have failed. Nil: nothing is measured for it.
	Traced func(d *waterfall.Document, begun time.Time, failure error)

	HostOptions []libp2p.Option // for tests: a simulated network
}

// Client is a member of a swarm that serves nothing.
type Client struct {
	cfg    Config
	host   *p2p.Host
	finder *discovery.Finder

	cancel context.CancelFunc
	done   chan struct{} // closed when the finder has ended

	fetching chan struct{} // capacity 1: held by who fetches a model

	settled atomic.Bool // the first route was looked for patiently

	mu      sync.Mutex        // guards all following fields
	models  map[string]*Model // by model ID
	history placement.History
}

// Dial joins the swarm and begins to look for nodes. It returns at once; Close leaves.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	host, err := p2p.NewHost(p2p.Config{
		Key: cfg.Key, DialOnly: true, Swarm: cfg.Swarm, SwarmKey: cfg.SwarmKey, Open: cfg.Open, Version: cfg.Version, Log: cfg.Log, Options: cfg.HostOptions,
	})
	if err != nil {
		return nil, err
	}
	finderConfig := discovery.Config{
		Host: host.Guarded(), Status: host.Status, Connect: host.Connect, Swarm: host.Swarm(), Bootstrap: cfg.Bootstrap,
		MDNS: !cfg.NoMDNS, LocalDir: cfg.RunDir, Log: cfg.Log,
	}
	if cfg.StateRoot != "" {
		finderConfig.CachePath = filepath.Join(cfg.StateRoot, "coordinator", "peers-"+url.PathEscape(host.Swarm())+".json")
	}
	finder, err := discovery.New(finderConfig)
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Client{cfg: cfg, host: host, finder: finder, cancel: cancel, done: make(chan struct{}), models: map[string]*Model{}, fetching: make(chan struct{}, 1)}
	go func() {
		defer close(c.done)
		if err := finder.Run(runCtx); err != nil && runCtx.Err() == nil {
			cfg.Log.Warn("discovery ended", zap.Error(err))
		}
	}()
	return c, nil
}

// Close leaves the swarm.
func (c *Client) Close() error {
	c.cancel()
	<-c.done
	if err := c.host.Close(); err != nil {
		return fmt.Errorf("close the host: %w", err)
	}
	return nil
}
