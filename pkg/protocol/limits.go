// SPDX-License-Identifier: MIT

package protocol

// Version is the wire protocol's version, in [Hello].
const Version = 1

// Limits of version 1. A frame beyond one of them is refused before memory is allocated for it.
const (
	// MaxFrame bounds any frame's body: the largest tensor and 1 MiB for everything else.
	MaxFrame = MaxTensor + 1<<20

	// MaxTensor bounds the bytes of hidden states or logits in one frame: 512 rows of 32,768 float32, or the logits of 64 rows over a
	// vocabulary of 262,144.
	MaxTensor = 64 << 20

	MaxRows      = 1024      // of one step: twice the largest prefill chunk in use
	MaxPositions = 1 << 24   // of one session: above any model's context
	MaxPrefix    = 1 << 17   // tokens named when a session opens: the contexts in use
	MaxVocab     = 1 << 24   // token IDs are below it
	MaxRoute     = 256       // hops: one layer each of the deepest models known (126), twice
	MaxLayers    = 1 << 12   // layer numbers are below it
	MaxAddrs     = 16        // addresses of one peer
	MaxAddr      = 256       // bytes of one multiaddr
	MaxPeer      = 128       // bytes of a textual peer ID
	MaxRequestID = 64        // bytes
	MaxMessage   = 1024      // bytes of an error's message
	MaxGrammar   = 64 << 10  // bytes of a grammar
	MaxBias      = 1024      // tokens of a bias
	MaxLogprobs  = 21        // log probabilities with one token: OpenAI's 20, and its own
	MaxName      = 256       // bytes of model names, versions and numerics IDs
	MaxNumerics  = 16        // numerics IDs of one node
	MaxSwarm     = 64        // bytes of a swarm's name
	MaxChunk     = 1 << 20   // bytes of a manifest chunk
	MaxManifest  = 256 << 20 // bytes of a manifest

	MaxLinks     = 64             // links of one node that are told or asked for at once
	MaxBurst     = 4 << 20        // bytes of a burst
	MaxBurstPart = 64 << 10       // bytes of a part of it
	MaxDelay     = 60_000_000_000 // ns of a round trip, a jitter or a burst: a minute
	MaxLoss      = 1_000_000      // packets of a million
	MaxSpeed     = 1 << 60        // bytes or FLOP a second, bytes of memory: an exabyte
)
