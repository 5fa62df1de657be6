// SPDX-License-Identifier: MIT

package discovery

import "time"

// What the DHT's nodes store and for how long. These are constants of the swarm's protocol: the storing node enforces
// them, so all must agree.
const (
	providerValidity = 60 * time.Second  // of an unsigned "this peer is a node of the swarm"
	recordValidity   = 60 * time.Second  // of a signed record, from its making
	maxRecordAge     = 120 * time.Second // the farthest expiry that is accepted: leaves a minute for clocks that differ
	advertiseEvery   = 20 * time.Second  // two rounds may be lost before a record expires
	maxRecordSize    = 2 << 10           // bytes of an envelope
)

// How the directory is kept fresh.
const (
	NodeTTL        = 30 * time.Second // an answer's life: three missed rounds at the slower pace
	RefreshWaiting = 2 * time.Second  // between questions to a node while somebody waits or watches
	RefreshLooked  = 10 * time.Second // and while somebody looked lately
	lookedLately   = time.Minute
	AskTimeout     = 5 * time.Second // for dialling, admission and the answer
	maxAsking      = 16              // questions under way at once
	retryFirst     = 200 * time.Millisecond
	retryMost      = 15 * time.Second
	reaskLeast     = time.Second      // between a lost connection's question and the one before
	forgetAfter    = 10 * time.Minute // of silence and no mention
	MaxKnown       = 1024             // candidates
	maxAddrs       = 16               // of one candidate
	enoughPeers    = 8                // a node that nobody looks through keeps these; the DHT needs no more
)

// How often sources are asked.
const (
	LookupWaiting = 300 * time.Millisecond // after the last lookup's end
	lookupWatched = 5 * time.Second        // a node that comes is to be seen before long
	LookupLooked  = 15 * time.Second
	lookupIdle    = time.Minute
	tablePoll     = 20 * time.Millisecond // for the first peer in the DHT's routing table
	statusPoll    = time.Second           // for a change of what a node serves
	lookupTimeout = 10 * time.Second
	recordSearch  = 8 // signed records searched at once
	localWaiting  = 200 * time.Millisecond
	localIdle     = 2 * time.Second
)
