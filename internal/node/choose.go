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
// at the same time choose differently.
func (n *Node) settle(ctx, asked context.Context, choose *placement.Chooser, appear func()) error {
	n.log.Info("looking for the layers that the swarm needs most")
	n.listen(asked, placement.LookQuiet, placement.LookMost)
	appeared := false
	for {
		if err := asked.Err(); err != nil {
			return err
		}
		c := choose.Claim(n.members())
		if c.Layers.Len() == 0 {
			return errors.New("no layers fit any more")
		}
		n.pending.Store(&c.Layers)
		if c.Settled {
			break
		}
		n.log.Info("layers chosen", zap.Stringer("layers", c.Layers), zap.Int("nodes", c.Others), zap.Int("served by nobody", c.Gaps), zap.String("why", why(c)))
		if !appeared {
			appear()
			appeared = true
		}
		n.listen(asked, placement.ClaimTime, placement.ClaimTime)
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

func why(c placement.Choice) string {
	switch {
	case c.Others == 0:
		return "there is no other node of this model"
	case c.Gaps == c.Layers.Len():
		return "nobody serves them"
	case c.Gaps > 0:
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

// chooser decides for this node.
func (n *Node) chooser() *placement.Chooser {
	return &placement.Chooser{Peer: n.host.ID().String(), NLayers: n.modelConfig.NLayers, Speed: float64(n.cfg.Profile.Decode), Fits: n.fits}
}

// members are the nodes of this model.
func (n *Node) members() []placement.Member {
	var out []placement.Member
	for _, other := range n.finder.Directory().Nodes() {
		st := other.Status
		if st.Model != n.modelID || int(st.NLayers) != n.modelConfig.NLayers {
			continue
		}
		out = append(out, placement.Member{
			Peer: st.Peer, Holder: placement.Holder{Layers: st.Layers, Speed: float64(st.Decode)}, Draining: st.Draining, Loading: st.Loading,
		})
	}
	return out
}

// review decides whether the node moves, and where. It gives notice before it says so; the notice then stands until the move is over.
func (n *Node) review(asked context.Context, choose *placement.Chooser) (wish protocol.LayerRange, moves bool) {
	if n.moving.Load() {
		return protocol.LayerRange{}, false
	}
	mine := n.current.Load().layers
	wish, gain, verdict := choose.Review(n.members(), mine)
	switch verdict {
	case placement.Stay:
		return wish, false
	case placement.LookAgain:
		n.log.Info("other layers seem to need this node more: looking again", zap.Stringer("layers", wish), zap.String("gain", percent(gain)), zap.Duration("in", placement.ReviewEvery))
		return wish, false
	case placement.GiveNotice:
	}
	n.about.Store(true)
	defer func() { n.about.Store(moves) }()
	n.listen(asked, placement.NoticeTime, placement.NoticeTime)
	gain, stays := choose.Confirm(n.members(), mine, wish)
	switch {
	case asked.Err() != nil:
		return wish, false
	case stays != "":
		n.log.Info("staying", zap.String("why", stays), zap.Stringer("layers", wish))
		return wish, false
	case n.moving.Swap(true):
		return wish, false
	}
	n.log.Info("other layers need this node more", zap.Stringer("layers", wish), zap.String("gain of the worst served layer", percent(gain)))
	return wish, true
}

// shared reports whether another node serves some of these layers.
func (n *Node) shared(r protocol.LayerRange) bool {
	return slices.ContainsFunc(n.members(), func(m placement.Member) bool {
		return m.Peer != n.host.ID().String() && !m.Draining && !m.Loading && m.Layers.From < r.To && r.From < m.Layers.To
	})
}

func percent(gain float64) string {
	if math.IsInf(gain, 1) {
		return "nobody serves them"
	}
	return fmt.Sprintf("%.0f %%", 100*gain)
}
