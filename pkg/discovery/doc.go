// SPDX-License-Identifier: MIT

// Package discovery finds out which node serves which layers. Multicast DNS, bootstrap addresses, the peers seen last
// time, the nodes of this machine and a Kademlia DHT of signed records name candidates; a candidate's own answer to a
// status request, and nothing else, enters the [Directory] that routes are made from. The package dials and asks through
// functions it is given, so it knows neither admission nor framing, and it chooses no route (package placement does).
//
// Nodes and coordinators each run one [Finder]; nodes also [Finder.Advertise] with it. A Finder is safe for concurrent
// use, its refresh loop is the only goroutine that changes what is known; a Directory is a plain value.
package discovery
