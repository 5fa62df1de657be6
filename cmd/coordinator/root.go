// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/statedir"
	"github.com/shardnode/shardnode/internal/swarmkey"
	"github.com/shardnode/shardnode/pkg/protocol"
)

const longHelp = `Find the shards of a model in a swarm and generate through them.

  coordinator infer "What is AI?"           find the swarm, generate, print tokens as they come
  coordinator chat                          talk with a model in this terminal
  coordinator serve                         an OpenAI-compatible API and a web page on http://127.0.0.1:8080
  coordinator swarm                         who serves which layers
  coordinator plan home.yaml                who should serve which layers
  coordinator simulate                      how swarms of thousands of nodes would do
  coordinator model inspect m.gguf          look into a GGUF file

The coordinator needs no model file: metadata and tokenizer come from the swarm. Nodes of one machine or LAN are found with
no configuration; elsewhere name one of them with --bootstrap. Each flag can also be set by an environment variable:
--swarm-key is COORDINATOR_SWARM_KEY.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "coordinator",
		Short: "Find the shards of a model in a swarm and generate through them",
		Long:  longHelp,
		Args:  cobra.NoArgs, // package cmdline refuses unknown commands
	}
	root.AddCommand(newInfer(), newChat(), newServe(), newSwarm(), newPlan(), newSimulate(), newModel(), newID())
	return root
}

// swarmOptions are the flags of every command that joins a swarm.
type swarmOptions struct {
	swarm     string
	swarmKey  string
	open      bool
	bootstrap []string
	noMDNS    bool
	wait      time.Duration
	debug     bool
}

func (o *swarmOptions) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.swarm, "swarm", "default", "name of the swarm")
	f.StringVar(&o.swarmKey, "swarm-key", "", "file with the swarm's key")
	f.BoolVar(&o.open, "open", false, "without a key, dial public addresses too")
	f.StringSliceVar(&o.bootstrap, "bootstrap", nil, "multiaddr with /p2p/PEERID of a node of the swarm; repeatable")
	f.BoolVar(&o.noMDNS, "no-mdns", false, "do not look for nodes by multicast nor on this machine: DHT only")
	f.DurationVar(&o.wait, "wait", 10*time.Second, "how long to look for nodes")
	f.BoolVar(&o.debug, "debug", false, "log what the network does, on stderr")
}

// makeOptional turns --swarm into the wish to ask a swarm at all, of a command that computes here without it.
func (o *swarmOptions) makeOptional(cmd *cobra.Command) {
	flag := cmd.Flags().Lookup("swarm")
	flag.Usage = "ask a swarm instead of computing here: --swarm asks the default one, --swarm=NAME another"
	flag.NoOptDefVal = flag.DefValue
}

// asked reports whether an optional --swarm was given. A bare one means the usual swarm, which the environment may name.
func (o *swarmOptions) asked(cmd *cobra.Command) bool {
	flag := cmd.Flags().Lookup("swarm")
	if name := os.Getenv("COORDINATOR_SWARM"); name != "" && o.swarm == flag.DefValue {
		o.swarm = name
	}
	return flag.Changed
}

// dial joins the swarm, as nobody in particular.
func (o *swarmOptions) dial(ctx context.Context) (*client.Client, error) {
	return o.dialWith(ctx, client.Config{})
}

// dialWith joins the swarm with what cfg has beside the flags: an identity, a receiver of traces.
func (o *swarmOptions) dialWith(ctx context.Context, cfg client.Config) (*client.Client, error) {
	if o.swarm == "" || len(o.swarm) > protocol.MaxSwarm {
		return nil, cmdline.Usagef("--swarm %q: want a name of 1 to %d bytes", o.swarm, protocol.MaxSwarm)
	}
	if o.wait <= 0 {
		return nil, cmdline.Usagef("--wait %s: want a positive duration", o.wait)
	}
	key, err := swarmkey.Read(o.swarmKey)
	if err != nil {
		return nil, err
	}
	root, err := statedir.Root()
	if err != nil {
		return nil, err
	}
	log := zap.NewNop()
	if o.debug {
		cfg := zap.NewDevelopmentConfig()
		if log, err = cfg.Build(); err != nil {
			return nil, err
		}
	}
	cfg.Swarm, cfg.SwarmKey, cfg.Open, cfg.Bootstrap, cfg.NoMDNS = o.swarm, key, o.open, o.bootstrap, o.noMDNS
	cfg.StateRoot, cfg.Version, cfg.Log = root, cmdline.ShortVersion(), log
	if !o.noMDNS {
		cfg.RunDir = statedir.RunDir(root)
	}
	return client.Dial(ctx, cfg)
}

// exactArgs is cobra.ExactArgs with a usage error that shows the form.
func exactArgs(n int, form string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return cmdline.Usagef("want %s", form)
		}
		return nil
	}
}

// printJSON writes v as one line, with < and > as they are.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// milliseconds formats a duration the way every report of this program does.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func plural(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
