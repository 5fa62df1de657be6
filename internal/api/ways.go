// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/protocol"
)

const (
	waysEvery = 30 * time.Second // between two questions to the nodes
	waysLimit = 5 * time.Second  // that one may take
	maxWays   = 256              // nodes that are asked; others of a large swarm count as not known
)

// ways knows the round trips between nodes that generations went through, as those nodes tell, so that the wire's time can be told by hop.
type ways struct {
	mu    sync.Mutex // guards all following fields
	asked time.Time
	used  map[string]protocol.Hop // since then, by peer
	trips map[[2]string]time.Duration
}

// of returns the round trips of a route's ways, back to the coordinator included, 0 where one is not known; and has the nodes asked for the ways
// between them before long.
func (w *ways) of(c *client.Client, route []protocol.Hop) []time.Duration {
	trips := make([]time.Duration, len(route)+1)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, h := range route {
		if w.used == nil {
			w.used = map[string]protocol.Hop{}
		}
		if len(w.used) < maxWays {
			w.used[h.Peer] = h
		}
		if i > 0 {
			trips[i] = w.trips[[2]string{route[i-1].Peer, h.Peer}]
		}
	}
	trips[0], trips[len(route)] = c.RoundTrip(route[0].Peer), c.RoundTrip(route[len(route)-1].Peer)
	return trips
}

// refresh asks the nodes used lately for what they know, if it is time to.
func (w *ways) refresh(ctx context.Context, c *client.Client) {
	w.mu.Lock()
	used := w.used
	due := time.Since(w.asked) >= waysEvery && len(used) > 0
	if due {
		w.asked, w.used = time.Now(), nil
	}
	w.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, waysLimit)
	defer cancel()
	var mu sync.Mutex
	trips := map[[2]string]time.Duration{}
	var group errgroup.Group
	group.SetLimit(8)
	for _, h := range used {
		group.Go(func() error {
			links, _ := c.AskLinks(ctx, h, nil) // who does not tell is not known
			mu.Lock()
			defer mu.Unlock()
			for _, l := range links {
				trips[[2]string{h.Peer, l.Peer}] = time.Duration(l.RTT)
			}
			return nil
		})
	}
	_ = group.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trips = trips
}
