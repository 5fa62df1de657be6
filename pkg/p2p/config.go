// SPDX-License-Identifier: MIT

package p2p

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Config describes a [Host]. The zero value is a host of the swarm "default" with a fresh identity, random ports, no
// swarm key, and this machine's private networks as its world.
type Config struct {
	Key      crypto.PrivKey        // identity; nil: a fresh Ed25519 key
	Listen   []multiaddr.Multiaddr // each must succeed; nil: all interfaces, random ports (see [DefaultListen])
	DialOnly bool                  // listen nowhere: for a coordinator that nobody needs to dial
	Swarm    string                // name, ≤ protocol.MaxSwarm bytes; "": [DefaultSwarm]
	SwarmKey []byte                // shared secret of ≥ MinSwarmKey bytes; nil: the swarm has none
	Open     bool                  // without a key: dial and accept public addresses too
	Buffers  int64                 // bytes of receive buffers of all sessions and links; 0: by this machine's memory
	Version  string                // build version in the user agent and Status; "": "dev"
	Log      *zap.Logger           // nil: silent
	Metrics  prometheus.Registerer // of libp2p's metrics; nil: none are kept
	Options  []libp2p.Option       // after the host's own; tests put a simulated network here
}

// DefaultSwarm is the swarm of a node that names none.
const DefaultSwarm = "default"

// MinSwarmKey is the shortest swarm key. A handshake lets a peer without the key test guesses offline, so the key must
// be random and long, not a password.
const MinSwarmKey = 16

func (c Config) withDefaults() (Config, error) {
	if c.Swarm == "" {
		c.Swarm = DefaultSwarm
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	var errs []error
	if len(c.Swarm) > protocol.MaxSwarm {
		errs = append(errs, fmt.Errorf("swarm name of %d bytes: use at most %d", len(c.Swarm), protocol.MaxSwarm))
	}
	if n := len(c.SwarmKey); c.SwarmKey != nil && n < MinSwarmKey {
		errs = append(errs, fmt.Errorf("swarm key of %d bytes: use at least %d random ones", n, MinSwarmKey))
	}
	if c.Buffers < 0 {
		errs = append(errs, fmt.Errorf("%d bytes of receive buffers: want a positive number", c.Buffers))
	}
	if c.DialOnly && len(c.Listen) > 0 {
		errs = append(errs, errors.New("listen addresses on a host that only dials: drop one of the two"))
	}
	if c.Key == nil {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			errs = append(errs, fmt.Errorf("make an identity: %w", err))
		}
		c.Key = key
	}
	return c, errors.Join(errs...)
}

// local reports whether the host keeps to loopback and private addresses.
func (c *Config) local() bool { return len(c.SwarmKey) == 0 && !c.Open }
