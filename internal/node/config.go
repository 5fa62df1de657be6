// SPDX-License-Identifier: MIT

// Package node is the daemon: it joins a model's layers, the engine, the libp2p host and discovery into one shard node.
// cmd/shardnode runs it, and so do tests with many nodes in one process. A [Node] is made by [New], run once by Run.
package node

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Config of a [Node].
type Config struct {
	// The model.
	File      *gguf.File          // open as long as the node lives
	Manifest  *gguf.Manifest      // of File
	ModelName string              // for people
	Layers    protocol.LayerRange // what to serve; empty: what the swarm needs most, which it looks for itself
	KV        protocol.DType      // of the KV cache; 0: f16
	Context   int                 // positions of one session at the most; 0: the model's context
	Threads   int                 // compute threads; 0: 1
	Memory    int64               // bytes the node may take; 0: what the system says is available

	// Sessions.
	MaxSessions  int           // 0: 64
	MaxRows      int           // of one step; 0: 512
	KVBudget     int64         // bytes; 0: 1 GiB
	BufferBudget int64         // bytes of frames received, waiting and to be sent; 0: what MaxSessions with prompts under way need
	Idle         time.Duration // 0: 10 minutes
	DrainTime    time.Duration // how long sessions may stay when the node is to leave; 0: not at all

	PrefixCache  int64 // bytes of KVBudget that may stay with prompts of sessions that have ended, for those that begin alike; 0: a half of it; negative: none
	ReplayBudget int64 // bytes of outputs kept to heal routes with; 0: a quarter of KVBudget, 256 MiB at the most; negative: none

	// The swarm.
	Key       crypto.PrivKey
	Swarm     string
	SwarmKey  []byte
	Open      bool
	Listen    []multiaddr.Multiaddr // each must succeed; nil: every interface, random ports
	Announce  []multiaddr.Multiaddr // told to others in place of the listen addresses; nil: those
	Bootstrap []string
	NoMDNS    bool
	CachePath string // peers cache file; "": none
	RunDir    string // local rendezvous directory; "": none

	Profile Profile   // what the node says of its speed; zero: nothing
	Measure bool      // measure links to other nodes now and then; others may ask for that at any time
	Admins  []peer.ID // peers that may move the node to other layers; nil: nobody

	Metrics *prometheus.Registry // where the node's metrics are registered; nil: none are kept

	PanelPath string // file of packed weights, for a faster start; "": none

	Version  string
	Progress func(done, total int64) // of loading; nil: silent
	Placed   func(*MemoryPlan)       // called when the node begins to serve a range that it has chosen or moved to; nil: nobody cares
	Log      *zap.Logger             // nil: silent

	// For tests in virtual time: a simulated network, what peers are served in place of the node, and compute that sleeps its cost.
	// All nil: the real ones.
	HostOptions []libp2p.Option
	Serve       func(p2p.Node) p2p.Node
	StepCost    func(rows int) time.Duration
	Sleep       func(ctx context.Context, d time.Duration)
}

// chooses reports whether the node looks for its layers itself.
func (c *Config) chooses() bool { return c.Layers == protocol.LayerRange{} }
