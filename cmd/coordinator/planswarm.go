// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/inventory"
	"github.com/shardnode/shardnode/internal/survey"
	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// runFromSwarm measures a swarm and plans for it.
func (o *planOptions) runFromSwarm(cmd *cobra.Command) error {
	var identity crypto.PrivKey
	var err error
	if o.apply {
		if identity, err = adminKey(); err != nil {
			return err
		}
	}
	c, err := o.swarm.dialWith(cmd.Context(), client.Config{Key: identity})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), o.swarm.wait)
	view, err := c.Look(ctx)
	cancel()
	if err != nil {
		return err
	}
	s, err := survey.Take(cmd.Context(), c, view, o.model)
	if err != nil {
		return err
	}
	for _, note := range s.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), note)
	}
	if o.out != "" {
		if err := writeInventory(o.out, &s.Inventory); err != nil {
			return err
		}
	}
	routes, gain, err := o.report(cmd, &s.Inventory)
	if err != nil || !o.apply {
		return err
	}
	if gain < o.minGain {
		fmt.Fprintf(cmd.ErrOrStderr(), "nothing is moved: today's tiling costs %s, and --min-gain is %g\n", percent(gain), o.minGain)
		return nil
	}
	return applyPlan(cmd, c, s, routes)
}

// applyPlan moves the nodes to what a plan wants, one at a time. It stops at the first that does not move.
func applyPlan(cmd *cobra.Command, c *client.Client, s *survey.Survey, routes [][]solver.Hop) error {
	moves := s.Moves(routes)
	w := cmd.ErrOrStderr()
	if len(moves) == 0 {
		fmt.Fprintln(w, "nothing to move: the plan is what is served")
		return nil
	}
	for i, m := range moves {
		st := s.Nodes[m.Device].Status
		fmt.Fprintf(w, "move %d of %d: %s from layers %s to %s", i+1, len(moves), st.Peer, m.From, m.To)
		if m.Uncovered > 0 {
			fmt.Fprintf(w, " (generations wait meanwhile: nobody else serves %s of them)", plural(m.Uncovered, "layer"))
		}
		fmt.Fprintln(w)
		err := c.Move(cmd.Context(), st.Peer, st.Addrs, &protocol.Move{Model: s.Model, Have: m.From, Take: m.To})
		if err != nil {
			return fmt.Errorf("%d of %d moves done: %w", i, len(moves), err)
		}
	}
	fmt.Fprintf(w, "moved: %s\n", plural(len(moves), "node"))
	return nil
}

func writeInventory(path string, inv *inventory.Inventory) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = inventory.Write(f, inv, "A swarm as coordinator plan --from-swarm measured it. Devices are named by peer IDs.")
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
