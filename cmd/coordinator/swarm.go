// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/swarmkey"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func newSwarm() *cobra.Command {
	o := &swarmOptions{}
	var asJSON, links, watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "swarm",
		Short: "List nodes, layer ranges, models and round-trip times, and layers that nobody, or one node alone, serves",
		Args:  exactArgs(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case watch && links:
				return cmdline.Usagef("--watch and --links exclude each other: measuring links takes seconds each")
			case every < minWatch:
				return cmdline.Usagef("--every %s: want %s at least", every, minWatch)
			}
			c, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			if watch {
				return watchSwarm(cmd, c, every, asJSON)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), o.wait)
			defer cancel()
			view, err := c.Look(ctx)
			if err != nil {
				return err
			}
			result := newSwarmResult(view)
			if links {
				m, err := c.Links(cmd.Context(), view.Nodes)
				if err != nil {
					return err
				}
				result.Links = newLinkResults(m)
				for _, n := range view.Nodes {
					if err := m.Failures[n.Status.Peer]; err != nil {
						fmt.Fprintf(cmd.ErrOrStderr(), "%s: links not known: %v\n", n.Status.Peer, err)
					}
				}
			}
			switch {
			case asJSON:
				err = printJSON(cmd.OutOrStdout(), result)
			default:
				if err = printSwarm(cmd.OutOrStdout(), view); err == nil && links {
					err = printLinks(cmd.OutOrStdout(), view.Nodes, result.Links)
				}
			}
			if err == nil && len(view.Nodes) == 0 {
				err = errors.New("nobody found; start a node with: shardnode --layers 0-7, or name one with --bootstrap")
			}
			return err
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object (docs/cli.md)")
	cmd.Flags().BoolVar(&links, "links", false, "also measure and list the links between nodes: round trip, jitter, loss, bandwidth")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again and again, until Ctrl-C; with --json an object a line")
	cmd.Flags().DurationVar(&every, "every", time.Second, "with --watch: how often")
	cmd.AddCommand(newKeyCommand())
	return cmd
}

func newKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "new-key FILE",
		Short: "Make a swarm key; give the file to every node and coordinator of the swarm",
		Args:  exactArgs(1, "a file name: coordinator swarm new-key swarm.key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := swarmkey.Create(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; copy it to every machine of the swarm and start with --swarm-key %s\n", args[0], args[0])
			return nil
		},
	}
}

// swarmResult is what `swarm --json` prints, documented in docs/cli.md.
type swarmResult struct {
	*client.Summary
	Links []linkResult `json:"links,omitempty"` // with --links
}

func newSwarmResult(v *client.View) *swarmResult { return &swarmResult{Summary: v.Summary(time.Now())} }

func printSwarm(w io.Writer, v *client.View) error {
	if len(v.Nodes) == 0 {
		_, err := fmt.Fprintf(w, "no nodes in swarm %q\n", v.Swarm)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LAYERS\tMODEL\tPEER\tRTT\tSTEP\tSESSIONS\tKV\tVERSION")
	for _, n := range v.Nodes {
		s := n.Status
		fmt.Fprintf(t, "%s\t%s (%s)\t%s\t%.1f ms\t%.1f ms\t%d/%d\t%s of %s\t%s\n", s.Layers, s.ModelName, s.Model.Short(), s.Peer, ms(n.RTT), float64(s.StepNanos)/1e6,
			s.Sessions, s.MaxSess, cmdline.FormatBytes(int64(s.KVUsed)), cmdline.FormatBytes(int64(s.KVMax)), s.Version)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range v.Models {
		if len(m.Missing) == 0 {
			fmt.Fprintf(w, "%s (%s): all %d layers are served\n", m.Name, m.ID.Short(), m.NLayers)
		} else {
			fmt.Fprintf(w, "%s (%s): nobody serves layers %s of %d; start a node with: shardnode --layers %s\n", m.Name, m.ID.Short(), joinRanges(m.Missing), m.NLayers, m.Missing[0])
		}
		if len(m.AtRisk) > 0 {
			fmt.Fprintf(w, "%s (%s): at risk: one node alone serves layers %s; start a second with: shardnode --layers %s\n", m.Name, m.ID.Short(), joinRanges(m.AtRisk), m.AtRisk[0])
		}
	}
	return nil
}

func joinRanges(ranges []protocol.LayerRange) string {
	s := ""
	for i, r := range ranges {
		if i > 0 {
			s += ", "
		}
		s += r.String()
	}
	return s
}
