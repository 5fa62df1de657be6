// SPDX-License-Identifier: MIT

// Command shardnode serves a range of a model's layers to a swarm.
package main

import (
	"os"

	"github.com/shardnode/shardnode/internal/cmdline"
)

func main() { os.Exit(run()) }

func run() int { return cmdline.Run(newRoot(), "SHARDNODE") }
