// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/doctor"
	"github.com/shardnode/shardnode/internal/modelfile"
	"github.com/shardnode/shardnode/internal/statedir"
)

func newDoctor() *cobra.Command {
	o := newOptions()
	var wait time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether this machine is fit to be a node, and say what to change",
		Long: `Look whether this machine is fit to be a node: clock, UDP buffers, processor, memory for the layers; who else is in the swarm,
whether they reach a port of this machine, what address translation lies between, and round trip, loss and bandwidth of the ways to some of them.
Pass the flags that the node is started with. Nothing is changed; a node that runs may go on. It exits 1 if something would keep a node from
serving.`,
		Example: `  shardnode doctor
  shardnode doctor --layers 0-15 --model m.gguf --bootstrap /ip4/192.0.2.1/udp/4001/quic-v1/p2p/PEERID`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait <= 0 {
				return cmdline.Usagef("--wait %s: want a positive duration", wait)
			}
			return runDoctor(cmd, o, wait, asJSON)
		},
	}
	f := cmd.Flags()
	o.registerModel(f)
	o.registerSwarm(f)
	f.DurationVar(&wait, "wait", 5*time.Second, "how long to look for nodes")
	f.BoolVar(&asJSON, "json", false, "print one JSON object (docs/observability.md)")
	return cmd
}

func runDoctor(cmd *cobra.Command, o *options, wait time.Duration, asJSON bool) error {
	o.sessionIdle = time.Minute // no session is opened; what is checked are the flags
	if err := o.validate(); err != nil {
		return err
	}
	cfg, err := o.nodeConfig()
	if err != nil {
		return err
	}
	model, err := modelfile.Open(o.model)
	if err != nil {
		return err
	}
	defer model.Close()
	cfg.File, cfg.ModelName, cfg.Log = model.File, model.Name, zap.NewNop()
	if o.layers == "" {
		if cfg.Layers, err = shardLayers(model.File); err != nil {
			return err
		}
	}
	root, err := statedir.Root()
	if err != nil {
		return err
	}
	if !o.noMDNS {
		cfg.RunDir = statedir.RunDir(root)
	}
	r, err := doctor.Examine(cmd.Context(), doctor.Config{Node: cfg, StateRoot: root, Wait: wait})
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetEscapeHTML(false)
		err = e.Encode(r)
	} else {
		printReport(cmd.OutOrStdout(), r)
	}
	if err == nil && !r.OK {
		err = cmdline.Silent(errors.New("a check failed"))
	}
	return err
}

func printReport(w io.Writer, r *doctor.Report) {
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%-4s  %-12s  %s\n", c.State, c.Name, c.Found)
		if c.Advice != "" {
			fmt.Fprintf(w, "%20s-> %s\n", "", c.Advice)
		}
	}
}
