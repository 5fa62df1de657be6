// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

const longHelp = `Serve a range of a model's transformer layers to a swarm.

  shardnode --layers 0-7                    of the embedded 32-layer demo model
  shardnode --layers 0-15 --model m.gguf    of a GGUF file; only these layers are read
  shardnode                                 the layers that the swarm needs most and that fit here
  shardnode --model m.layers-0-15.gguf      of a shard that coordinator model split has made

Nodes and coordinators of one machine or LAN find each other by themselves. Elsewhere, give each node the address of
one other with --bootstrap; a node logs its own addresses at start. Then, from any machine:

  coordinator infer "What is AI?"

Each flag can also be set by an environment variable: --swarm-key is SHARDNODE_SWARM_KEY.`

// options are the daemon's flags.
type options struct {
	layers       string
	model        string
	listen       []string
	announce     []string
	bootstrap    []string
	swarm        string
	swarmKey     string
	open         bool
	noMDNS       bool
	threads      int
	kv           string
	context      int
	maxSessions  int
	maxRows      int
	sessionIdle  time.Duration
	drainTimeout time.Duration
	kvBudget     cmdline.ByteSize
	buffers      cmdline.ByteSize
	replay       cmdline.ByteSize // below 0: not given
	prefix       cmdline.ByteSize // below 0: not given
	memory       cmdline.ByteSize
	admins       []string
	dataDir      string
	packCache    bool
	metrics      string
	logLevel     string
	logJSON      bool
}

// newOptions returns options without flags' values that are not their zero.
func newOptions() *options { return &options{kvBudget: 1 << 30, replay: -1, prefix: -1} }

func newRoot() *cobra.Command {
	o := newOptions()
	cmd := &cobra.Command{
		Use:     "shardnode [--layers FIRST-LAST]",
		Short:   "Serve a range of a model's layers to a swarm",
		Long:    longHelp,
		Args:    noArgs,
		Example: "  shardnode --layers 8-15",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.layers == "" && cmd.Flags().Changed("layers") {
				return cmdline.Usagef("which layers? Pass for example --layers 0-7, or leave it out for those that the swarm needs most")
			}
			return serve(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	o.registerModel(f)
	o.registerSwarm(f)
	f.StringSliceVar(&o.announce, "announce", nil, "multiaddr that others reach this node at, when it differs; repeatable")
	f.StringSliceVar(&o.admins, "admin", nil, "peer ID that may move this node to other layers, as `coordinator id` prints it; repeatable (default: nobody)")
	f.DurationVar(&o.sessionIdle, "session-idle", 10*time.Minute, "a session of which nothing is heard for so long is ended")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 20*time.Second, "how long open sessions may take to move to other nodes when this one is told to stop")
	f.StringVar(&o.dataDir, "data-dir", "", "identity, port, peer cache (default: the next free of ~/.local/state/shardnode/node-N)")
	f.BoolVar(&o.packCache, "pack-cache", false, "keep the weights in the data directory as this processor wants them: a faster start for as much disk as the range takes")
	f.StringVar(&o.metrics, "metrics", "", "serve Prometheus metrics at http://HOST:PORT/metrics, and /readyz; PORT alone is on 127.0.0.1 (default: nowhere)")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.BoolVar(&o.logJSON, "log-json", false, "log as JSON, one object a line")
	cmd.AddCommand(newBench(), newDoctor(), newDrain(), newHealth(), newSpin())
	return cmd
}

// registerModel registers the flags that say what is served, and with how much memory.
func (o *options) registerModel(f *pflag.FlagSet) {
	f.StringVar(&o.layers, "layers", "", "layers to serve, both ends included, counted from 0: 8-15 (default: those that the swarm needs most and that fit; of a shard: those it has)")
	f.StringVar(&o.model, "model", "", "GGUF file (default: the embedded demo model)")
	cmdline.ThreadsVar(f, &o.threads, "compute threads")
	f.StringVar(&o.kv, "kv", "f16", "element type of the KV cache: f16 or f32")
	f.IntVar(&o.context, "context", 0, "positions of one session at the most (default: the model's context)")
	f.IntVar(&o.maxSessions, "max-sessions", 64, "sessions at the most")
	f.IntVar(&o.maxRows, "max-rows", 512, "tokens of one step at the most: activations take memory for as many")
	f.Var(&o.kvBudget, "kv-budget", "memory for all KV caches")
	f.Var(&o.buffers, "buffer-budget", "memory for what is received, waits and is to be sent (default: what --max-sessions need)")
	f.Var(&o.replay, "replay-budget", "memory for hidden states kept to heal routes with; 0 keeps none, and healing computes more")
	f.Lookup("replay-budget").DefValue = "a quarter of --kv-budget, 256MiB at the most"
	f.Var(&o.prefix, "prefix-cache", "part of --kv-budget that may stay with prompts of sessions that have ended, for those that begin alike; 0 keeps none")
	f.Lookup("prefix-cache").DefValue = "a half of --kv-budget"
	f.Var(&o.memory, "memory", "memory the node may take in all; a range that does not fit is refused (default: what is available)")
}

// registerSwarm registers the flags that say where the node is.
func (o *options) registerSwarm(f *pflag.FlagSet) {
	f.StringSliceVar(&o.listen, "listen", nil, "multiaddr to listen on; repeatable (default: every interface, a port chosen once and kept)")
	f.StringSliceVar(&o.bootstrap, "bootstrap", nil, "multiaddr with /p2p/PEERID of a node of the swarm; repeatable")
	f.StringVar(&o.swarm, "swarm", "default", "name of the swarm")
	f.StringVar(&o.swarmKey, "swarm-key", "", "file with the swarm's key (make one: coordinator swarm new-key FILE)")
	f.BoolVar(&o.open, "open", false, "without a key, serve public addresses too: anybody may use this node")
	f.BoolVar(&o.noMDNS, "no-mdns", false, "do not look for peers, nor be found, by multicast or on this machine: DHT only")
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return cmdline.Usagef("unexpected argument %q", args[0])
	}
	return nil
}

// validate returns the first problem that the flags alone show.
func (o *options) validate() error {
	switch {
	case o.threads < 1 || o.threads > 1024:
		return cmdline.Usagef("--threads %d: want 1 to 1024", o.threads)
	case o.maxSessions < 1:
		return cmdline.Usagef("--max-sessions %d: want at least 1", o.maxSessions)
	case o.maxRows < protocol.DefaultChunkRows || o.maxRows > protocol.MaxRows:
		return cmdline.Usagef("--max-rows %d: want %d, which coordinators send if not told otherwise, to %d", o.maxRows, protocol.DefaultChunkRows, protocol.MaxRows)
	case o.sessionIdle <= 0:
		return cmdline.Usagef("--session-idle %s: want a time above 0, for example 10m", o.sessionIdle)
	case o.drainTimeout < 0:
		return cmdline.Usagef("--drain-timeout %s: want 0 or a time, for example 20s", o.drainTimeout)
	case o.kvBudget < 1:
		return cmdline.Usagef("--kv-budget %s: want a size above 0, for example 512MiB", o.kvBudget)
	case o.context < 0:
		return cmdline.Usagef("--context %d: want a positive number of tokens", o.context)
	case o.swarm == "" || len(o.swarm) > protocol.MaxSwarm:
		return cmdline.Usagef("--swarm %q: want a name of 1 to %d bytes", o.swarm, protocol.MaxSwarm)
	case o.open && o.swarmKey != "":
		return cmdline.Usagef("--open is for nodes without a key; with --swarm-key public addresses are served anyway")
	}
	return nil
}

// startLine is the one line a person looks for.
func startLine(layers, model, peer string) string {
	return fmt.Sprintf("serving layers %s of %s as %s", layers, model, peer)
}
