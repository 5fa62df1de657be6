// SPDX-License-Identifier: MIT

// Command coordinator finds the shards of a model in a swarm and generates through them.
package main

import (
	"os"

	"github.com/shardnode/shardnode/internal/cmdline"
)

func main() { os.Exit(run()) }

func run() int { return cmdline.Run(newRoot(), "COORDINATOR") }
