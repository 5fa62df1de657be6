// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
)

// minWatch is how often the swarm may be shown at the most: nodes are asked about once a second.
const minWatch = 100 * time.Millisecond

// clearScreen goes to the terminal's upper left corner and wipes what is below.
const clearScreen = "\x1b[H\x1b[J"

// watchSwarm shows the swarm again and again, until ctx ends. On a terminal each view takes the place of the one before.
func watchSwarm(cmd *cobra.Command, c *client.Client, every time.Duration, asJSON bool) error {
	ctx := cmd.Context()
	looking, cancel := context.WithTimeout(ctx, every)
	view, err := c.Look(looking)
	cancel()
	if err != nil && ctx.Err() == nil {
		view = c.View()
	}
	out := cmd.OutOrStdout()
	terminal := cmdline.IsTerminal(out)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		switch {
		case asJSON:
			err = printJSON(out, newSwarmResult(view))
		default:
			head := time.Now().Format(time.TimeOnly) + "\n"
			if terminal {
				head = clearScreen + head
			}
			if _, err = out.Write([]byte(head)); err == nil {
				err = printSwarm(out, view)
			}
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		view = c.View()
	}
	return nil // Ctrl-C ends it as is wanted
}
