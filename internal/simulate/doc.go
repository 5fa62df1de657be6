// SPDX-License-Identifier: MIT

// Package simulate runs a swarm of thousands of nodes on paper: discrete events in virtual time, one after the other, every draw from one
// seed. What decides is what the programs run: placement.Chooser says which layers a node serves and when it moves, discovery.Directory
// what somebody knows, placement.Route and placement.Repair which way a request takes, placement.History whom to avoid,
// pipeline.PipelineState what a generation does when a hop is lost. Only what these stand on is simulated: the network, the nodes'
// arithmetic as time, people who ask and nodes that come and go. docs/scale.md says what is assumed. The command calls [Run]; it runs in
// one goroutine.
package simulate
