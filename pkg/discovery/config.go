// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Config of a [Finder].
type Config struct {
	Host    host.Host                                                                     // the DHT runs on it: the one that checks admission
	Connect func(context.Context, peer.AddrInfo) error                                    // dials and passes admission
	Status  func(context.Context, peer.AddrInfo) (*protocol.Status, time.Duration, error) // asks a node what it serves; also gives the round-trip time
	Swarm   string                                                                        // name; swarms do not see each other

	Bootstrap []string         // multiaddrs of nodes of the swarm, ending in /p2p/PEERID, or /dnsaddr/NAME
	CachePath string           // file with the peers seen last time; "": none
	LocalDir  string           // directory in which the nodes of this machine tell of themselves; "": none
	MDNS      bool             // look for nodes by multicast; with ServeDHT answer too
	ServeDHT  bool             // store others' records: for nodes, which others can dial; without it a client of the DHT
	Now       func() time.Time // nil: time.Now
	Log       *zap.Logger      // nil: silent
}

func (c Config) withDefaults() (Config, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	var errs []error
	if c.Host == nil || c.Connect == nil || c.Status == nil {
		errs = append(errs, errors.New("discovery needs Host, Connect and Status"))
	}
	if c.Swarm == "" || len(c.Swarm) > protocol.MaxSwarm {
		errs = append(errs, fmt.Errorf("swarm name of %d bytes: want 1 to %d", len(c.Swarm), protocol.MaxSwarm))
	}
	return c, errors.Join(errs...)
}
