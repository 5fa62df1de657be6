// SPDX-License-Identifier: MIT

// Package protocol defines what shard nodes and coordinators say to each other: frame types, their msgpack encoding,
// limits and error codes. It does no I/O, reads no clock and knows no libp2p; package p2p carries its frames.
// docs/protocol.md is the specification. All functions are safe for concurrent use on distinct values.
package protocol
