// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"slices"

	"github.com/shardnode/shardnode/pkg/discovery"
)

// View is what a coordinator sees of a swarm.
type View struct {
	Swarm    string
	Nodes    []*discovery.Node
	Models   []discovery.Model
	Failures []*discovery.Failure
}

// Look returns the swarm once some model is complete and no more news come, or as it is when ctx ends.
func (c *Client) Look(ctx context.Context) (*View, error) {
	err := c.finder.Wait(ctx, func(d *discovery.Directory) bool {
		return slices.ContainsFunc(d.Models(), func(m discovery.Model) bool { return len(m.Missing) == 0 })
	})
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	c.settle(ctx, lookQuiet)
	return c.View(), nil
}

// View returns the swarm as it is known now, without waiting.
func (c *Client) View() *View { return c.view(c.finder.Directory()) }

// Watch shows the swarm to see at once and after each change, until ctx ends. Meanwhile nodes are asked every two seconds.
func (c *Client) Watch(ctx context.Context, see func(*View)) {
	c.finder.Watch(ctx, func(d *discovery.Directory) { see(c.view(d)) })
}

func (c *Client) view(d *discovery.Directory) *View {
	return &View{Swarm: c.host.Swarm(), Nodes: d.Nodes(), Models: d.Models(), Failures: d.Failures()}
}
