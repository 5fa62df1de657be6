// SPDX-License-Identifier: MIT

// Package p2p connects shard nodes and coordinators: one libp2p host, admission to a swarm, resource limits, framed
// streams, and the status, model and session services that ride on them.
//
// It does not compute, route or discover. A shard node gives it a [Node] to serve ([Host.Serve]); a coordinator asks
// other nodes ([Host.Status], [Host.FetchManifest]) and opens sessions ([Host.OpenHop]); package discovery registers
// its DHT on [Host.Guarded], so that it too is closed to peers which have not passed admission.
//
// Before admission a peer gets the admission protocol and libp2p's identify (listen addresses, protocol names, user
// agent), nothing else, and is cut off after [AdmitTimeout].
//
// A [Host] is safe for concurrent use. A [Stream] and a [HopStream] have one reader; writes may come from several
// goroutines.
package p2p
