// SPDX-License-Identifier: MIT

// Package doctor looks at a machine as a node's operator would: clock, UDP buffers, processor, memory, who else is there, and whether they reach
// this machine. It changes nothing and asks only nodes of the swarm. A [Report] is made by [Examine], once.
package doctor

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/p2p"
)

// State is how a check came out.
type State string

// The states. Only Fail makes a machine unfit.
const (
	OK   State = "ok"
	Warn State = "warn" // it works, and could work better
	Fail State = "fail"
	Skip State = "skip" // it cannot be told here
)

// Check is one thing looked at.
type Check struct {
	Name   string         `json:"name"`
	State  State          `json:"state"`
	Found  string         `json:"found"`            // for people
	Advice string         `json:"advice,omitempty"` // what to do
	Values map[string]any `json:"values,omitempty"`
}

// Report is what `shardnode doctor --json` prints. Fields and checks are only ever added.
type Report struct {
	OK     bool    `json:"ok"` // no check failed
	Checks []Check `json:"checks"`
}

func (r *Report) add(c Check) {
	r.Checks = append(r.Checks, c)
	r.OK = r.OK && c.State != Fail
}

// Config says what to look for.
type Config struct {
	Node      node.Config   // as a node would be started: model, layers, memory, swarm
	StateRoot string        // where known peers are kept; "": nowhere
	Wait      time.Duration // how long to look for nodes
}

// Examine looks at everything. The error is ctx's.
func Examine(ctx context.Context, cfg Config) (*Report, error) {
	r := &Report{OK: true}
	r.add(checkClock())
	r.add(checkBuffers(p2p.UDPBuffers()))
	r.add(checkProcessor(kernel.Path(), cfg.Node.Threads))
	r.add(checkMemory(&cfg.Node))
	examineNetwork(ctx, &cfg, r)
	return r, ctx.Err()
}

// checkBuffers compares the kernel's limits of UDP buffers with what QUIC wants.
func checkBuffers(receive, send, want int, known bool) Check {
	c := Check{Name: "udp buffers", State: OK}
	if !known {
		c.State, c.Found = Skip, "this system does not say how large UDP buffers may be"
		return c
	}
	c.Values = map[string]any{"receive_bytes": receive, "send_bytes": send, "wanted_bytes": want}
	c.Found = fmt.Sprintf("%s to receive, %s to send, wanted are %s", cmdline.FormatBytes(int64(receive)), cmdline.FormatBytes(int64(send)), cmdline.FormatBytes(int64(want)))
	if receive >= want && send >= want {
		return c
	}
	c.Advice = "sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000, and deploy/systemd/90-shardnode.conf keeps it: else prompts may lose packets on the way"
	if c.State = Warn; os.Geteuid() == 0 {
		c.State, c.Found = OK, c.Found+"; they do not hold for root"
	}
	return c
}

// checkProcessor says how fast the arithmetic can be.
func checkProcessor(path string, threads int) Check {
	c := Check{
		Name: "processor", State: OK, Found: fmt.Sprintf("%s arithmetic, %d threads", path, threads),
		Values: map[string]any{"path": path, "threads": threads},
	}
	if path == "generic" {
		c.State = Warn
		c.Advice = "portable arithmetic is many times slower: a machine with AVX2 or AVX-512 serves more layers (SHARDNODE_CPU, if set, chooses a path)"
	}
	return c
}

// checkMemory plans the range that would be served.
func checkMemory(cfg *node.Config) Check {
	c := Check{Name: "memory", State: OK}
	plan, err := node.Plan(*cfg)
	if err != nil {
		c.State, c.Found = Fail, err.Error()
		return c
	}
	c.Found = fmt.Sprintf("layers %s of %s take %s: %s", plan.Layers, cfg.ModelName, cmdline.FormatBytes(plan.Total()), plan)
	c.Values = map[string]any{
		"layers": plan.Layers.String(), "total_bytes": plan.Total(), "weight_bytes": plan.Weights, "kv_budget_bytes": plan.KV,
		"replay_budget_bytes": plan.Replay, "activation_bytes": plan.Step, "buffer_bytes": plan.Buffers, "available_bytes": plan.Available,
	}
	if plan.Available == 0 {
		c.State, c.Advice = Warn, "this system does not say how much memory is available: pass --memory"
		return c
	}
	c.Found += fmt.Sprintf("; %s are available", cmdline.FormatBytes(plan.Available))
	if err := plan.Check(); err != nil {
		c.State, c.Found = Fail, err.Error()
		if cfg.Layers.Len() == 0 {
			c.State, c.Advice = Warn, "a node without --layers takes a range that fits"
		}
	}
	return c
}
