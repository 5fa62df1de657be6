// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/bench"
)

const spinCommand = "spin"

// newSpin is what bench --busy starts.
func newSpin() *cobra.Command {
	return &cobra.Command{
		Use:    spinCommand,
		Short:  "Keep one CPU busy until stdin ends",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.Spin(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// withBusy runs f while n processes keep CPUs busy.
func withBusy(n int, f func() error) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	busy, err := bench.StartBusy(n, program, spinCommand)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		_ = busy.Close() // Ctrl-C ends them too
		return err
	}
	if err := busy.Close(); err != nil {
		return errors.Join(errors.New("a busy process ended before the measurements: do not believe them"), err)
	}
	return nil
}
