// SPDX-License-Identifier: MIT

//go:build unix

package main

import (
	"context"
	"syscall"
)

// fault is something that happens to a node while it computes, and what makes it whole again afterwards.
type fault struct {
	name   string
	inject func(context.Context, *swarm, *node) error
	repair func(context.Context, *swarm, *node) error
	loses  bool // the node is lost to its peers
}

// faults returns those that can be made here.
func faults(namespaces bool) []fault {
	again := func(ctx context.Context, s *swarm, n *node) error {
		if err := n.ended(ctx); err != nil {
			return err
		}
		return s.start(ctx, n)
	}
	list := []fault{
		{name: "kill -9", loses: true, inject: func(_ context.Context, _ *swarm, n *node) error { return n.signal(syscall.SIGKILL) }, repair: again},
		{
			name: "freeze", loses: true,
			inject: func(_ context.Context, _ *swarm, n *node) error { return n.signal(syscall.SIGSTOP) },
			repair: func(ctx context.Context, _ *swarm, n *node) error {
				if err := n.signal(syscall.SIGCONT); err != nil {
					return err
				}
				return n.ready(ctx)
			},
		},
		{
			name: "restart", loses: true,
			inject: func(ctx context.Context, s *swarm, n *node) error {
				if err := n.signal(syscall.SIGKILL); err != nil {
					return err
				}
				return again(ctx, s, n)
			},
			repair: func(ctx context.Context, _ *swarm, n *node) error { return n.ready(ctx) },
		},
		{name: "drain", inject: func(_ context.Context, _ *swarm, n *node) error { return n.signal(syscall.SIGTERM) }, repair: again},
	}
	if namespaces {
		list = append(list, fault{
			name: "link down", loses: true,
			inject: func(ctx context.Context, _ *swarm, n *node) error { return n.space.plug(ctx, "down") },
			repair: func(ctx context.Context, _ *swarm, n *node) error {
				if err := n.space.plug(ctx, "up"); err != nil {
					return err
				}
				return n.ready(ctx)
			},
		})
	}
	return list
}
