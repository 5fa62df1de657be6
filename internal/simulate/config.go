// SPDX-License-Identifier: MIT

package simulate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Config is a swarm to simulate.
type Config struct {
	Nodes    int           // that are there at a time; 1 to [MaxNodes]
	Users    float64       // for each node; at least one user asks
	Duration time.Duration // that is measured, after [Warmup]
	Churn    float64       // share of the nodes that leave in an hour; others take their place
	Crash    float64       // share of those that leave without a word
	Network  Network
	Batch    int // steps of several sessions that a node computes at once; 1: none
	Model    Model
	Seed     uint64
}

// Model is the shape of what is served.
type Model struct {
	Layers     int
	LayerBytes int64 // weights of one layer
	Hidden     int   // elements of a row of hidden states, four bytes each
	KVBytes    int64 // of a position and layer
}

// Network says how far members are from each other.
type Network string

// The networks.
const (
	LAN     Network = "lan"     // one room
	Country Network = "country" // homes and labs of twelve cities
	World   Network = "world"   // of twelve cities on each of four continents
)

// Networks are all there are.
var Networks = []Network{LAN, Country, World}

// MaxNodes and MaxUsers bound memory: some KiB a node, some ten a user.
const (
	MaxNodes = 20_000
	MaxUsers = 20_000
)

// Warmup is how long nodes come, and the swarm settles, before anything is measured.
const Warmup = 10 * time.Minute

// Validate says all that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	within := func(what string, ok bool, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: want %s", what, want))
		}
	}
	within(fmt.Sprintf("%d nodes", c.Nodes), c.Nodes >= 1 && c.Nodes <= MaxNodes, fmt.Sprintf("1 to %d", MaxNodes))
	within(fmt.Sprintf("%g users a node", c.Users), c.Users >= 0 && c.Users <= 10, "0 to 10")
	within(fmt.Sprintf("%g users", c.Users*float64(c.Nodes)), !(c.Users*float64(c.Nodes) > MaxUsers), fmt.Sprintf("%d in all at the most", MaxUsers))
	within(c.Duration.String(), c.Duration >= time.Minute && c.Duration <= 1000*time.Hour, "1m to 1000h")
	within(fmt.Sprintf("churn %g", c.Churn), c.Churn >= 0 && c.Churn <= 20, "0 to 20, the share of nodes that leave in an hour")
	within(fmt.Sprintf("crash %g", c.Crash), c.Crash >= 0 && c.Crash <= 1, "0 to 1, a share of the nodes that leave")
	within(fmt.Sprintf("network %q", c.Network), slices.Contains(Networks, c.Network), fmt.Sprintf("one of %v", Networks))
	within(fmt.Sprintf("batches of %d", c.Batch), c.Batch >= 1 && c.Batch <= 256, "1 to 256")
	m := &c.Model
	within(fmt.Sprintf("%d layers", m.Layers), m.Layers >= 1 && m.Layers <= protocol.MaxLayers, fmt.Sprintf("1 to %d", protocol.MaxLayers))
	within(fmt.Sprintf("layers of %d bytes", m.LayerBytes), m.LayerBytes >= 1 && m.LayerBytes <= 1<<40, "1 byte to 1 TiB")
	within(fmt.Sprintf("rows of %d elements", m.Hidden), m.Hidden >= 1 && m.Hidden <= 1<<20, "1 to 1048576")
	within(fmt.Sprintf("%d bytes of KV cache", m.KVBytes), m.KVBytes >= 1 && m.KVBytes <= 1<<30, "1 byte to 1 GiB")
	return errors.Join(errs...)
}
