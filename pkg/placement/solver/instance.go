// SPDX-License-Identifier: MIT

package solver

import (
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Instance is what is to be placed, on what, and what counts.
type Instance struct {
	Model     Model
	Devices   []Device
	Links     [][]Link // [from][to], devices in their order and then the coordinator; the diagonal is not looked at
	Load      Load
	Objective Objective

	MaxDevices int      // at most so many are used; 0: no limit
	Replicas   int      // devices that serve each layer; 0: 1
	Forbidden  [][2]int // devices that must not be neighbours in a route, either way round; the number of devices is the coordinator
	Patent     Patent   // of objective Patented
}

// Objective is what a plan is judged by.
type Objective string

// The objectives. docs/placement.md has the formulas.
const (
	Latency    Objective = "latency"    // seconds a token of one request, its prompt included
	Throughput Objective = "throughput" // seconds between tokens of all streams together
	Balanced   Objective = "balanced"   // seconds a token that the busiest device works, then latency
	Patented   Objective = "patent"     // the founding patent's sum
)

// Objectives lists all objectives.
var Objectives = []Objective{Latency, Throughput, Balanced, Patented}

// Model is a model by what its parts weigh.
type Model struct {
	Layers    []Layer
	Embedding int64 // bytes, on the device with the first layer
	Head      Layer // final norm and output head, on the device with the last layer; without KV
	Hidden    int64 // bytes of one row of hidden states on the wire
}

// Layer is one transformer layer.
type Layer struct {
	Bytes int64 // of weights: held, and read for each step
	FLOPs int64 // for one row
	KV    int64 // bytes of KV cache for one position of one session
}

// Device is a machine.
type Device struct {
	Name     string        // unique
	Memory   int64         // bytes for weights and KV caches
	Decode   float64       // bytes a second of weights and KV cache that a step of one row gets through
	Prefill  float64       // FLOP a second in steps of many rows
	Overhead time.Duration // of a step beside its arithmetic: framing, copies, wake-ups

	Pinned *protocol.LayerRange // it serves exactly this, nil: whatever is best, or nothing
}

// Link is one direction between two machines.
type Link struct {
	Latency   time.Duration // mean delay of a packet
	Jitter    time.Duration // standard deviation of it
	Loss      float64       // share of packets lost, below 1
	Bandwidth float64       // bytes a second; 0: not a limit
	None      bool          // they cannot reach each other
}

// Load is what the swarm is to serve.
type Load struct {
	Prompt   int // tokens
	Output   int // tokens, at least 1
	Context  int // positions that a session's KV cache has room for; at least Prompt+Output
	Sessions int // whose KV caches each device has room for, at least 1
	Streams  int // generations at once, of objective Throughput; at least 1
}

// Patent has the weights of objective [Patented].
type Patent struct {
	Complexity float64 // w_c
	Jitter     float64 // w1
	Transfer   float64 // w2
	Loss       float64 // w3
	Efficiency float64 // E_p: share of the bandwidth that is used
	Memory     float64 // β: share of a device's memory that may be used
}

// UsualPatent has the patent's typical weights, and all memory in use.
var UsualPatent = Patent{Complexity: 1, Jitter: 10, Transfer: 1, Loss: 10000, Efficiency: 0.3, Memory: 1}

// need is what one layer takes of a device's memory, embedding and head included.
func (in *Instance) need(l int) int64 {
	layer := &in.Model.Layers[l]
	need := layer.Bytes + layer.KV*int64(in.Load.Context)*int64(in.Load.Sessions)
	if l == 0 {
		need += in.Model.Embedding
	}
	if l == len(in.Model.Layers)-1 {
		need += in.Model.Head.Bytes
	}
	return need
}

func (in *Instance) replicas() int { return max(1, in.Replicas) }

// allows reports whether hidden states may go from i to j.
func (in *Instance) allows(i, j int) bool {
	for _, f := range in.Forbidden {
		if f == [2]int{i, j} || f == [2]int{j, i} {
			return false
		}
	}
	return !in.Links[i][j].None
}
