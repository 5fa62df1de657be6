// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/statedir"
)

func newID() *cobra.Command {
	return &cobra.Command{
		Use:   "id",
		Short: "Print the peer ID by which nodes know this user's coordinator as an administrator",
		Long: `Print the peer ID by which nodes know this user's coordinator as an administrator: shardnode --admin ID obeys its plan --apply. The key
is made at the first call and kept in the state directory. All other commands join a swarm as nobody in particular.`,
		Args: exactArgs(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := adminKey()
			if err != nil {
				return err
			}
			id, err := peer.IDFromPrivateKey(key)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
			return err
		},
	}
}

// adminKey is the key of this user's coordinator.
func adminKey() (crypto.PrivKey, error) {
	root, err := statedir.Root()
	if err != nil {
		return nil, err
	}
	return statedir.Identity(filepath.Join(root, "coordinator", "identity.key"))
}
