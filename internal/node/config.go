// SPDX-License-Identifier: MIT

// Package node is the daemon: it joins a model's layers, the engine, the libp2p host and discovery into one shard node.
// cmd/shardnode runs it, and so do tests with many nodes in one process. A [Node] is made by [New], run once by Run.
package node

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/multiformats/go-multiaddr"
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
	Layers    protocol.LayerRange // what to serve
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

	PanelPath string // file of packed weights, for a faster start; "": none

	Version  string
	Progress func(done, total int64) // of loading; nil: silent
	Log      *zap.Logger             // nil: silent

	// For tests in virtual time: a simulated network, what peers are served in place of the node, and compute that sleeps its cost.
	// All nil: the real ones.
	HostOptions []libp2p.Option
	Serve       func(p2p.Node) p2p.Node
	StepCost    func(rows int) time.Duration
	Sleep       func(ctx context.Context, d time.Duration)
}
