// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"fmt"

	"github.com/shardnode/shardnode/internal/control"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Status is the node's word on what it serves.
func (n *Node) Status() *protocol.Status {
	st := &protocol.Status{
		Peer: n.host.ID().String(), Version: n.cfg.Version, Swarm: n.host.Swarm(),
		Model: n.modelID, ModelName: n.cfg.ModelName, NLayers: uint32(n.modelConfig.NLayers),
		Numerics: n.numerics(), Context: uint32(n.modelConfig.Context), MaxSess: uint32(n.cfg.MaxSessions), KVMax: uint64(n.cfg.KVBudget),
		Decode: n.cfg.Profile.Decode, Prefill: n.cfg.Profile.Prefill, Moving: n.moving.Load(),
	}
	if s := n.current.Load(); s != nil {
		stats := s.engine.Stats()
		st.Layers, st.Sessions, st.KVUsed = s.layers, uint32(stats.Sessions), uint64(stats.KVUsed)
		st.StepNanos, st.Draining = uint64(stats.MeanStep), stats.Draining || n.about.Load()
		st.Memory = s.plan.room()
	} else if r := n.pending.Load(); r != nil {
		st.Layers, st.Loading = *r, true
	}
	for _, a := range n.host.Addrs() {
		st.Addrs = append(st.Addrs, a.String())
	}
	return st
}

// numerics lists the IDs that the node computes with.
func (n *Node) numerics() []string {
	f32, f16 := layers.Numerics(n.cfg.KV, protocol.F32), layers.Numerics(n.cfg.KV, protocol.F16)
	return []string{f32, f16, f32 + protocol.LocalEnds, f16 + protocol.LocalEnds}
}

// ready reports whether the node takes sessions and others can find it.
func (n *Node) ready() bool {
	s := n.current.Load()
	return s != nil && n.advertised.Load() && !s.engine.Stats().Draining
}

// Health is the node's word to its operator.
func (n *Node) Health() control.Health {
	st := n.Status()
	h := control.Health{
		Ready: n.ready(), Advertised: n.advertised.Load() && !st.Draining, Peer: st.Peer, Model: st.ModelName, ModelID: st.Model.String(),
		Addrs: st.Addrs, Version: st.Version, Sessions: int(st.Sessions), Draining: st.Draining,
	}
	if st.Layers.Len() > 0 {
		h.Layers = st.Layers.String()
	}
	if s := n.current.Load(); s != nil {
		h.Loaded = true
		stats := s.engine.Stats()
		h.Memory = control.Memory{
			Weights: s.plan.Weights, KVBudget: s.plan.KV, KVUsed: stats.KVUsed, KVCached: stats.KVCached, Replay: s.plan.Replay, ReplayUsed: stats.KeptUsed + stats.KeptCached,
			Activations: s.plan.Step, Buffers: s.plan.Buffers, Program: programBytes,
		}
	}
	switch {
	case h.Draining:
		h.Reason = fmt.Sprintf("the node is leaving, %d sessions are open", h.Sessions)
	case !h.Loaded && h.Layers == "":
		h.Reason = "the node looks for the layers that the swarm needs most"
	case !h.Loaded:
		h.Reason = "the layer range is chosen but not loaded yet"
	case !h.Advertised:
		h.Reason = "the layer range is loaded but not advertised yet"
	}
	return h
}

// served is the node as package p2p sees it.
type served struct{ n *Node }

func (s served) Status() *protocol.Status { return s.n.Status() }
func (s served) Manifest() []byte         { return s.n.cfg.Manifest.Bytes }

func (s served) OpenSession(from string, o *protocol.Open, deliver func(protocol.Frame) error) (p2p.Session, *protocol.Opened, error) {
	now := s.n.current.Load()
	if now == nil {
		return nil, nil, s.n.loading()
	}
	if s.n.metrics != nil {
		deliver = s.n.metrics.session(o, deliver)
	}
	session, opened, err := now.engine.Open(from, o, deliver)
	if err != nil {
		return nil, nil, err
	}
	return session, opened, nil
}

func (s served) Export(ctx context.Context, f *protocol.Export, send func(*protocol.KVRows) error) error {
	now := s.n.current.Load()
	if now == nil {
		return s.n.loading()
	}
	return now.engine.Export(ctx, f, send)
}

// loading refuses what comes while no range is served.
func (n *Node) loading() *protocol.Error {
	err := protocol.Errorf(protocol.CodeDraining, "this node is loading layers: choose another, or ask again soon")
	err.Peer = n.host.ID().String()
	return err
}
