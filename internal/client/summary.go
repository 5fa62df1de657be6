// SPDX-License-Identifier: MIT

package client

import (
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Summary is a [View] as programs read it: `coordinator swarm --json` and the HTTP API print it. docs/cli.md documents its fields, which are
// only ever added to. Lists are never nil.
type Summary struct {
	Swarm  string         `json:"swarm"`
	Nodes  []NodeSummary  `json:"nodes"`
	Models []ModelSummary `json:"models"`
}

// NodeSummary is a node as it last told of itself.
type NodeSummary struct {
	Peer     string   `json:"peer"`
	Layers   string   `json:"layers"`
	Model    string   `json:"model"`
	ModelID  string   `json:"model_id"`
	Numerics []string `json:"numerics"`
	Version  string   `json:"version"`
	RTTMS    float64  `json:"rtt_ms"`
	StepMS   float64  `json:"step_ms"`
	Sessions uint32   `json:"sessions"`
	MaxSess  uint32   `json:"max_sessions"`
	KVUsed   uint64   `json:"kv_used_bytes"`
	KVMax    uint64   `json:"kv_max_bytes"`
	Draining bool     `json:"draining"`
	Addrs    []string `json:"addrs"`
	Loading  bool     `json:"loading"`
	Decode   uint64   `json:"decode_bytes_per_second"`
	Prefill  uint64   `json:"prefill_flops"`
	Memory   uint64   `json:"memory_bytes"`
	AgeMS    float64  `json:"age_ms"` // since it was asked
}

// ModelSummary says how far a model is served.
type ModelSummary struct {
	Model    string   `json:"model"`
	ModelID  string   `json:"model_id"`
	Layers   int      `json:"layers"`
	Complete bool     `json:"complete"`
	Missing  []string `json:"missing"`
	AtRisk   []string `json:"at_risk"`
}

// Summary words the view as of now.
func (v *View) Summary(now time.Time) *Summary {
	out := &Summary{Swarm: v.Swarm, Nodes: []NodeSummary{}, Models: []ModelSummary{}}
	for _, n := range v.Nodes {
		s := n.Status
		out.Nodes = append(out.Nodes, NodeSummary{
			Peer: s.Peer, Layers: s.Layers.String(), Model: s.ModelName, ModelID: s.Model.String(), Numerics: s.Numerics, Version: s.Version,
			RTTMS: milliseconds(n.RTT), StepMS: float64(s.StepNanos) / 1e6, Sessions: s.Sessions, MaxSess: s.MaxSess, KVUsed: s.KVUsed, KVMax: s.KVMax,
			Draining: s.Draining, Addrs: append([]string{}, s.Addrs...), Loading: s.Loading, Decode: s.Decode, Prefill: s.Prefill, Memory: s.Memory,
			AgeMS: milliseconds(max(0, now.Sub(n.Asked))),
		})
	}
	for _, m := range v.Models {
		out.Models = append(out.Models, ModelSummary{
			Model: m.Name, ModelID: m.ID.String(), Layers: m.NLayers, Complete: len(m.Missing) == 0, Missing: words(m.Missing), AtRisk: words(m.AtRisk),
		})
	}
	return out
}

func words(ranges []protocol.LayerRange) []string {
	list := []string{}
	for _, r := range ranges {
		list = append(list, r.String())
	}
	return list
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
