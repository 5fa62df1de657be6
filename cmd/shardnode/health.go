// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/control"
	"github.com/shardnode/shardnode/internal/statedir"
)

func newHealth() *cobra.Command {
	var dataDir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Exit 0 if the daemon has its range loaded and advertised, else 1",
		Long: `Ask the daemon on this machine, over its local control socket, whether its layer range is loaded and advertised.
Without --data-dir all daemons of this user are asked, and all must be ready. Made for container health checks: needs no shell.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dirs, err := runningDirs(dataDir)
			if err != nil {
				return err
			}
			return health(cmd, dirs, asJSON)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "the daemon's data directory")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a daemon")
	return cmd
}

// runningDirs lists the data directories to ask: the named one, else those with a control socket.
func runningDirs(dataDir string) ([]string, error) {
	if dataDir != "" {
		return []string{dataDir}, nil
	}
	root, err := statedir.Root()
	if err != nil {
		return nil, err
	}
	sockets, err := filepath.Glob(filepath.Join(root, "node-*", control.SocketName))
	if err != nil {
		return nil, err
	}
	if len(sockets) == 0 {
		return nil, fmt.Errorf("no shardnode runs under %s; start one: shardnode --layers 0-7", root)
	}
	dirs := make([]string, len(sockets))
	for i, s := range sockets {
		dirs[i] = filepath.Dir(s)
	}
	return dirs, nil
}

func health(cmd *cobra.Command, dirs []string, asJSON bool) error {
	var failed error
	asked := 0
	for _, dir := range dirs {
		h, err := control.Ask(cmd.Context(), dir)
		if err != nil {
			if len(dirs) == 1 || context.Cause(cmd.Context()) != nil {
				return err
			}
			continue // a socket that a dead daemon left
		}
		asked++
		if asJSON {
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(h); err != nil {
				return err
			}
		} else {
			fmt.Fprintln(cmd.OutOrStdout(), describe(h))
		}
		if !h.Ready {
			failed = fmt.Errorf("shardnode %s is not ready: %s", h.Peer, h.Reason)
		}
	}
	if asked == 0 {
		return fmt.Errorf("no shardnode answers; start one: shardnode --layers 0-7")
	}
	if failed != nil && asJSON {
		return cmdline.Silent(failed)
	}
	return failed
}

func describe(h control.Health) string {
	state := "ready"
	if !h.Ready {
		state = "not ready (" + h.Reason + ")"
	}
	return fmt.Sprintf("%s: layers %s of %s, peer %s, %d sessions", state, h.Layers, h.Model, h.Peer, h.Sessions)
}
