// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

const (
	// lookQuiet is how long nothing new must come before a node believes to have seen the swarm, lookMost how long it looks at the most.
	lookQuiet = time.Second
	lookMost  = 5 * time.Second
	// claimTime is how long a node tells what it is about to load before it does: others are asked every two seconds while one waits.
	claimTime = 3 * time.Second
	// maxClaims bounds how often a node gives way to others that come at the same time.
	maxClaims = 16

	// reviewEvery is the pause between two looks at whether to move. A move has to be worth it twice in a row.
	reviewEvery = time.Minute
	// noticeTime is how long a node tells that it will move before it does. Others look at it every ten seconds.
	noticeTime = 20 * time.Second
)

// anyFits refuses a node that has no room for any layer.
func (n *Node) anyFits() error {
	var last error
	for l := range n.modelConfig.NLayers {
		if _, last = n.planRange(protocol.LayerRange{From: l, To: l + 1}); last == nil {
			return nil
		}
	}
	return fmt.Errorf("no layer of %s fits: %w", n.cfg.ModelName, last)
}

func (n *Node) fits(r protocol.LayerRange) bool {
	_, err := n.planRange(r)
	return err == nil
}

// settle finds the node its first range, and serves it. Others see what it is about to load from appear on, so that nodes which come
// at the same time choose differently: of those that load, the ones with the lower peer IDs go first.
func (n *Node) settle(ctx, asked context.Context, appear func()) error {
	n.log.Info("looking for the layers that the swarm needs most")
	n.listen(asked, lookQuiet, lookMost)
	appeared := false
	for range maxClaims {
		if err := asked.Err(); err != nil {
			return err
		}
		others := n.others(true)
		r, gaps := placement.Place(n.modelConfig.NLayers, others, n.fits)
		if r.Len() == 0 {
			return errors.New("no layers fit any more")
		}
		if old := n.pending.Swap(&r); old != nil && *old == r {
			break
		}
		n.log.Info("layers chosen", zap.Stringer("layers", r), zap.Int("nodes", len(others)), zap.Int("served by nobody", gaps), zap.String("why", why(r, gaps, len(others))))
		if !appeared {
			appear()
			appeared = true
		}
		n.listen(asked, claimTime, claimTime)
	}
	s, err := n.load(asked, *n.pending.Load())
	if err != nil {
		return err
	}
	if err := n.equip(s); err != nil {
		s.model.Close()
		return err
	}
	if ctx.Err() != nil || asked.Err() != nil {
		s.model.Close()
		return context.Cause(asked)
	}
	n.begin(s)
	return nil
}

func why(r protocol.LayerRange, gaps, nodes int) string {
	switch {
	case nodes == 0:
		return "there is no other node of this model"
	case gaps == r.Len():
		return "nobody serves them"
	case gaps > 0:
		return "nobody serves some of them"
	}
	return "they are served worst"
}

// listen looks at the swarm until nothing new has come for quiet, for most at the most.
func (n *Node) listen(ctx context.Context, quiet, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	timer := time.AfterFunc(quiet, cancel)
	defer timer.Stop()
	_ = n.finder.Wait(ctx, func(*discovery.Directory) bool {
		if quiet < most {
			timer.Reset(quiet)
		}
		return false
	})
}

// others are the nodes of this model and arithmetic that serve, as holders of layers; with rivals also those that load and come before
// this node. Who drains is as good as gone.
func (n *Node) others(rivals bool) []placement.Holder {
	var out []placement.Holder
	me := n.host.ID().String()
	for _, other := range n.finder.Directory().Nodes() {
		st := other.Status
		switch {
		case st.Model != n.modelID || int(st.NLayers) != n.modelConfig.NLayers || st.Peer == me || st.Draining:
		case st.Loading && (!rivals || st.Peer > me):
		default:
			out = append(out, placement.Holder{Layers: st.Layers, Speed: float64(st.Decode)})
		}
	}
	return out
}

// othersMove reports whether another node of the model drains or loads: below limits it to peers before this node.
func (n *Node) othersMove(below bool) bool {
	me := n.host.ID().String()
	for _, other := range n.finder.Directory().Nodes() {
		st := other.Status
		if st.Model == n.modelID && st.Peer != me && (st.Draining || st.Loading) && (!below || st.Peer < me) {
			return true
		}
	}
	return false
}

// reviewer remembers what the last review found.
type reviewer struct{ wish protocol.LayerRange }

// review decides whether the node moves, and where. It gives notice before: it returns true only if the move is worth it in two reviews
// and still is after the notice, no other node moves, and none of a lower peer ID has given notice meanwhile. The notice then stands until
// the move is over.
func (n *Node) review(asked context.Context, r *reviewer) (wish protocol.LayerRange, moves bool) {
	wish, gain, ok := n.wish()
	if !ok || n.othersMove(false) || n.moving.Load() {
		r.wish = protocol.LayerRange{}
		return wish, false
	}
	if r.wish != wish {
		r.wish = wish
		n.log.Info("other layers seem to need this node more: looking again", zap.Stringer("layers", wish), zap.String("gain", percent(gain)), zap.Duration("in", reviewEvery))
		return wish, false
	}
	r.wish = protocol.LayerRange{}
	n.about.Store(true)
	defer func() { n.about.Store(moves) }()
	n.listen(asked, noticeTime, noticeTime)
	again, gain, ok := n.wish()
	switch {
	case asked.Err() != nil:
		return wish, false
	case !ok || again != wish:
		n.log.Info("staying: the other layers no longer need this node more", zap.Stringer("layers", wish))
		return wish, false
	case n.othersMove(true):
		n.log.Info("staying: another node moves", zap.Stringer("layers", wish))
		return wish, false
	case n.moving.Swap(true):
		return wish, false
	}
	n.log.Info("other layers need this node more", zap.Stringer("layers", wish), zap.String("gain of the worst served layer", percent(gain)))
	return wish, true
}

// shared reports whether another node serves some of these layers.
func (n *Node) shared(r protocol.LayerRange) bool {
	return slices.ContainsFunc(n.others(false), func(o placement.Holder) bool { return o.Layers.From < r.To && r.From < o.Layers.To })
}

// wish is where the node would be of more use.
func (n *Node) wish() (r protocol.LayerRange, gain float64, ok bool) {
	s := n.current.Load()
	mine := placement.Holder{Layers: s.layers, Speed: float64(n.cfg.Profile.Decode)}
	return placement.Better(n.modelConfig.NLayers, n.others(false), mine, n.fits)
}

func percent(gain float64) string {
	if math.IsInf(gain, 1) {
		return "nobody serves them"
	}
	return fmt.Sprintf("%.0f %%", 100*gain)
}
