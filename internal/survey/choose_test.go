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

// TestTwoWouldMove: two nodes that serve the same layers would both gain by moving to others that nobody serves any more. One moves and the
// other stays, whoever looks first, and though loading takes minutes; nor does a node move away from layers while an administrator
// moves the other one that has them. Layers that were served are served all the time. In virtual time.
func TestTwoWouldMove(t *testing.T) {
	room := roomFor(t, layerRange("1-8")) // or 0-6, with the embedding
	for name, c := range map[string]struct {
		apart time.Duration // between the two, and so between their looks
		moved bool          // the other one is moved by an administrator, and could not move by itself
	}{
		"at the same time":                       {0, false},
		"one looks while the other gives notice": {5 * time.Second, false},
		"one looks after the other's notice":     {25 * time.Second, false},
		"one looks just before the other":        {55 * time.Second, false},
		"an administrator moves the other":       {0, true},
		"an administrator moves it, apart":       {25 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := testnet.NewSim(t, 5*time.Millisecond, 100_000_000)
				defer net.Close()
				core, logs := observer.New(zapcore.InfoLevel)
				slow := func(first time.Duration) func(*node.Config) {
					return func(cfg *node.Config) {
						cfg.Log, cfg.StepCost, cfg.Sleep, cfg.Progress = zap.New(core), nil, nil, slowly(first, 4*time.Minute)
					}
				}
				chooses := func(first time.Duration) func(*node.Config) {
					return func(cfg *node.Config) {
						slow(first)(cfg)
						cfg.Layers, cfg.Memory = protocol.LayerRange{}, room
					}
				}
				members := []member{{"8-11", 0, nil}, {"8-15", 0, nil}, {"0-0", 0, chooses(0)}, {"0-0", 0, chooses(c.apart)}}
				if c.moved {
					members[2] = member{"0-7", 0, slow(0)}
				}
				nodes, _, stop := swarm(t, net, members)
				defer stop()
				time.Sleep(2 * time.Minute)
				for _, n := range nodes[2:] {
					if r := n.Status().Layers; !r.Contains(layerRange("0-6")) {
						t.Fatalf("layers %s were chosen", r)
					}
				}
				nodes[1].Leave()
				if c.moved {
					order := &protocol.Move{Model: nodes[2].Status().Model, Have: layerRange("0-7"), Take: layerRange("8-15")}
					if err := nodes[2].Move(order); err != nil {
						t.Fatal(err)
					}
				}
				for range 1200 {
					time.Sleep(time.Second)
					for l := range 7 {
						if !serve(nodes[2:], l) {
							t.Fatalf("nobody serves layer %d any more", l)
						}
					}
				}
				if n := logs.FilterMessage("moving to other layers").Len(); n != 1 {
					t.Errorf("%d moves, want one", n)
				}
				for l := 12; l < modelLayers; l++ {
					if !serve(nodes[2:], l) {
						t.Errorf("nobody moved to layer %d", l)
					}
				}
			})
		})
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
		return !st.Loading && st.Layers.From <= layer && layer < st.Layers.To
	})
}
