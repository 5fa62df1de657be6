// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// ID returns the peer ID of this coordinator: that of its key.
func (c *Client) ID() string { return c.host.ID().String() }

const (
	// moveTime bounds a move: sessions leave, layers are loaded.
	moveTime = 10 * time.Minute
	movePoll = 200 * time.Millisecond
)

// Move makes a node serve other layers, and returns when it does. The node's operator must have named this coordinator.
func (c *Client) Move(ctx context.Context, id string, addrs []string, move *protocol.Move) error {
	ctx, cancel := context.WithTimeout(ctx, moveTime)
	defer cancel()
	pi, err := addrInfo(id, addrs)
	if err != nil {
		return err
	}
	if err := c.host.Move(ctx, pi, move); err != nil {
		return err
	}
	ticker := time.NewTicker(movePoll)
	defer ticker.Stop()
	for {
		st, _, err := c.host.Status(ctx, pi)
		switch {
		case err != nil && ctx.Err() == nil: // it may be busy: ask again, as long as it lives
			if err = c.host.Connect(ctx, pi); err != nil {
				return fmt.Errorf("node %s was lost while it moved: %w", id, err)
			}
		case err != nil:
			return fmt.Errorf("node %s has not moved to layers %s: %w", id, move.Take, err)
		case st.Moving:
		case st.Layers != move.Take:
			return fmt.Errorf("node %s could not load layers %s and serves %s again: its log says why", id, move.Take, st.Layers)
		case !st.Draining:
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("node %s has not moved to layers %s: %w", id, move.Take, context.Cause(ctx))
		}
	}
}
