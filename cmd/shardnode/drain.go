// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/control"
)

func newDrain() *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Make the daemon hand its sessions over and leave",
		Long: `Ask the daemon on this machine, over its local control socket, to leave the swarm: it stops advertising, refuses new sessions, has
those that are open moved to other nodes, and ends when none is left or at its --drain-timeout. The command returns when the daemon
has ended. SIGTERM to the daemon does the same.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dirs, err := runningDirs(dataDir)
			if err != nil {
				return err
			}
			return drain(cmd, dirs)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "the daemon's data directory; needed where several daemons run")
	return cmd
}

// drainPoll is the pause between two looks at a daemon that drains.
const drainPoll = 100 * time.Millisecond

func drain(cmd *cobra.Command, dirs []string) error {
	var running []string
	var last error
	for _, dir := range dirs {
		if _, err := control.Ask(cmd.Context(), dir); err != nil {
			last = err // a socket that a dead daemon left
			continue
		}
		running = append(running, dir)
	}
	switch len(running) {
	case 0:
		return last
	case 1:
	default:
		return cmdline.Usagef("%d daemons run: choose one with --data-dir: %s", len(running), strings.Join(running, ", "))
	}
	h, err := control.Drain(cmd.Context(), running[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "leaving: layers %s of %s, peer %s, %d sessions\n", h.Layers, h.Model, h.Peer, h.Sessions)
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-cmd.Context().Done():
			return fmt.Errorf("the daemon goes on leaving: %w", context.Cause(cmd.Context()))
		}
		if _, err := control.Ask(cmd.Context(), running[0]); err != nil && !errors.Is(err, context.DeadlineExceeded) && cmd.Context().Err() == nil {
			fmt.Fprintln(cmd.OutOrStdout(), "left")
			return nil
		}
	}
}
