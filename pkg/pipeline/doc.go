// SPDX-License-Identifier: MIT

// Package pipeline is the coordinator's side of a generation. [PipelineState] is the pure machine: events go in, effects
// come out, time is an argument. [Generate] is its driver: one goroutine that owns the state, one reader per hop. The
// package knows nothing of libp2p; package p2p's hosts are given to it as a [Dialer]. It does not choose routes
// (package placement) and does not tokenise (package tokenizer).
package pipeline
