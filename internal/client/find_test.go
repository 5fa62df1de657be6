// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestMixedKVTypes: a swarm that serves all layers, but not with one KV type, has no route, and the message says why.
func TestMixedKVTypes(t *testing.T) {
	t.Parallel()
	first, _ := startNode(t, "0-15", nil)
	startNode(t, "16-31", func(c *node.Config) {
		c.KV = protocol.F32
		c.Bootstrap = []string{address(first)}
	})
	c := join(t, first, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.Find(ctx, Selector{}, func(what string) {
		if strings.Contains(what, "start every node with the same --kv") {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a route through mixed KV types: %v", err)
	}
}
