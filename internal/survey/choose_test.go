// SPDX-License-Identifier: MIT

package survey_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestNodesChooseTheirLayers: nodes that start at the same moment and know nothing share the model out among themselves, without a gap and
// without one moving again; one that comes later doubles what is served worst; where a node is lost another moves into the gap only if
// nothing else is left to nobody. In virtual time.
func TestNodesChooseTheirLayers(t *testing.T) {
	room := roomFor(t, layerRange("1-8")) // eight layers of the middle, and the ends weigh no more
	synctest.Test(t, func(t *testing.T) {
		net := testnet.NewSim(t, 5*time.Millisecond, 100_000_000)
		defer net.Close()
		core, logs := observer.New(zapcore.InfoLevel)
		choose := func(c *node.Config) {
			c.Layers, c.Memory, c.Log, c.StepCost, c.Sleep = protocol.LayerRange{}, room, zap.New(core), nil, nil
		}
		nodes, c, stop := swarm(t, net, []member{{"0-0", 0, choose}, {"0-0", 0, choose}, {"0-0", 0, choose}})
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for served(nodes) < 3 && ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
		view, err := c.Look(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(view.Models) != 1 || len(view.Models[0].Missing) > 0 {
			t.Fatalf("layers are missing: %+v", view.Models)
		}
		copies := make([]int, modelLayers)
		for _, n := range nodes {
			st := n.Status()
			t.Logf("%s serves %s", st.Peer, st.Layers)
			for l := st.Layers.From; l < st.Layers.To; l++ {
				copies[l]++
			}
		}
		time.Sleep(10 * time.Minute) // ten reviews
		if n := logs.FilterMessage("moving to other layers").Len(); n > 0 {
			t.Errorf("%d moves for nothing", n)
		}
		if n := logs.FilterMessage("layers chosen").Len(); n < 3 {
			t.Errorf("the log tells of %d choices", n)
		}
	})
}

// TestNodeMovesIntoAGap: when the holder of layers leaves, a node whose own layers somebody else has too moves there, after two reviews and a
// notice, and says why; where nobody else has them it stays.
func TestNodeMovesIntoAGap(t *testing.T) {
	room := roomFor(t, layerRange("1-8"))
	for name, c := range map[string]struct {
		fixed       [2]string
		first, last string
		moves       int
	}{
		"others have its layers": {[2]string{"0-7", "8-15"}, "1-8", "8-15", 1},
		"nobody else has them":   {[2]string{"0-7", "0-15"}, "8-15", "8-15", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := testnet.NewSim(t, 5*time.Millisecond, 100_000_000)
				defer net.Close()
				core, logs := observer.New(zapcore.InfoLevel)
				nodes, _, stop := swarm(t, net, []member{{c.fixed[0], 0, nil}, {c.fixed[1], 0, nil}, {"0-0", 0, func(c *node.Config) {
					c.Layers, c.Memory, c.Log, c.StepCost, c.Sleep = protocol.LayerRange{}, room, zap.New(core), nil, nil
				}}})
				defer stop()
				time.Sleep(20 * time.Second)
				if got := nodes[2].Status().Layers; got != layerRange(c.first) {
					t.Errorf("first it serves %s, want %s", got, c.first)
				}
				nodes[1].Leave()
				time.Sleep(10 * time.Minute)
				if got := nodes[2].Status().Layers; got != layerRange(c.last) {
					t.Errorf("at last it serves %s, want %s", got, c.last)
				}
				told := logs.FilterMessage("other layers need this node more").Len()
				if n := logs.FilterMessage("moving to other layers").Len(); n != c.moves || told != c.moves {
					t.Errorf("%d moves, %d told of, want %d", n, told, c.moves)
				}
			})
		})
	}
}

func served(nodes []*node.Node) int {
	count := 0
	for _, n := range nodes {
		if n.Plan() != nil {
			count++
		}
	}
	return count
}

// TestTwoWouldMove: two nodes would both gain by moving to layers that nobody serves any more. One moves and the other stays, whoever looks
// first, and though loading takes minutes. In virtual time.
func TestTwoWouldMove(t *testing.T) {
	room := roomFor(t, layerRange("1-8"))              // or 0-6, with the embedding
	for name, apart := range map[string]time.Duration{ // between the looks of the two
		"at the same time": 0, "one looks while the other gives notice": 5 * time.Second, "after the other's notice": 25 * time.Second,
		"just before the other": 55 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := testnet.NewSim(t, 5*time.Millisecond, 100_000_000)
				defer net.Close()
				core, logs := observer.New(zapcore.InfoLevel)
				nodes, _, stop := swarm(t, net, []member{
					{"0-7", 0, nil}, {"8-15", 0, nil}, {"8-15", 0, nil},
					{"0-0", 0, chooses(room, core, 0)}, {"0-0", 0, chooses(room, core, apart)},
				})
				defer stop()
				time.Sleep(2 * time.Minute)
				for _, n := range nodes[3:] {
					if r := n.Status().Layers; r.Len() == 0 || r.To > 9 {
						t.Fatalf("layers %s were chosen", r)
					}
				}
				nodes[1].Leave()
				nodes[2].Leave()
				time.Sleep(20 * time.Minute)
				if n := logs.FilterMessage("moving to other layers").Len(); n != 1 {
					t.Errorf("%d moves, want one", n)
				}
				for l := 8; l < modelLayers; l++ {
					if !serve(nodes[3:], l) {
						t.Errorf("nobody moved to layer %d", l)
					}
				}
			})
		})
	}
}

// TestNoMoveBesideAnAdministrators: a node does not leave layers while an administrator moves the only other one that has them, which loads
// first and goes on serving for minutes. In virtual time.
func TestNoMoveBesideAnAdministrators(t *testing.T) {
	room := roomFor(t, layerRange("1-8"))
	synctest.Test(t, func(t *testing.T) {
		net := testnet.NewSim(t, 5*time.Millisecond, 100_000_000)
		defer net.Close()
		core, logs := observer.New(zapcore.InfoLevel)
		nodes, _, stop := swarm(t, net, []member{
			{"0-0", 0, nil}, {"9-15", 0, nil}, {"1-8", 0, func(cfg *node.Config) { cfg.Log, cfg.Progress = zap.New(core), slowly(0, 4*time.Minute) }},
			{"0-0", 0, chooses(room, core, 0)},
		})
		defer stop()
		time.Sleep(time.Minute)
		if got := nodes[3].Status().Layers; got != layerRange("1-8") {
			t.Fatalf("layers %s were chosen", got)
		}
		nodes[1].Leave()
		order := &protocol.Move{Model: nodes[2].Status().Model, Have: layerRange("1-8"), Take: layerRange("9-15")}
		if err := nodes[2].Move(order); err != nil {
			t.Fatal(err)
		}
		for range 600 {
			time.Sleep(time.Second)
			for l := 1; l < 9; l++ {
				if !serve(nodes, l) {
					t.Fatalf("nobody serves layer %d any more", l)
				}
			}
		}
		if n := logs.FilterMessage("moving to other layers").Len(); n != 1 || !serve(nodes[2:], 15) {
			t.Errorf("%d moves, want the administrator's; the last layer is served: %t", n, serve(nodes[2:], 15))
		}
	})
}

// chooses makes a node choose its layers, and take so long for its first load, and minutes for others.
func chooses(room int64, core zapcore.Core, first time.Duration) func(*node.Config) {
	return func(cfg *node.Config) {
		cfg.Layers, cfg.Memory, cfg.Log, cfg.StepCost, cfg.Sleep = protocol.LayerRange{}, room, zap.New(core), nil, nil
		cfg.Progress = slowly(first, 4*time.Minute)
	}
}

// slowly is the progress of loading that takes its time: so long the first time, so long later.
func slowly(first, later time.Duration) func(done, total int64) {
	last, takes := int64(math.MaxInt64), first
	return func(done, _ int64) {
		if done < last { // a load begins
			time.Sleep(takes)
			takes = later
		}
		last = done
	}
}

// serve reports whether one of the nodes serves a layer.
func serve(nodes []*node.Node, layer int) bool {
	return slices.ContainsFunc(nodes, func(n *node.Node) bool {
		st := n.Status()
		return n.Plan() != nil && !st.Loading && st.Layers.From <= layer && layer < st.Layers.To
	})
}
