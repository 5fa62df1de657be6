// SPDX-License-Identifier: MIT

// Package testnet makes networks of real libp2p hosts for tests: on loopback, or on a simulated network with latency,
// bandwidth and partitions, where a test in a testing/synctest bubble runs in virtual time. Only tests import it. The
// simulated network rests on github.com/marcopolo/simnet and libp2p's quicreuse overrides, both experimental: this
// package is the one place that knows them.
package testnet
