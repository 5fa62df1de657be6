// SPDX-License-Identifier: MIT

package p2p

import (
	"math"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// How the limits are built. The resource manager charges a stream to the system, its peer, its protocol, its service,
// and protocol and service per peer; all of them must agree. Memory is what [Stream] reserves for receive buffers; a
// limit of 0 would refuse every reservation, so every entry below sets it.
//
// libp2p's defaults allow about 75 inbound streams per peer and protocol: the 76th opens, writes, and fails on its
// first read. A coordinator has one session stream per session and hop, so we allow what QUIC itself does: 256 streams
// per connection, less some for everything else.
const (
	maxStreams     = 1024 // sessions or links at once
	maxPeerStreams = 240  // of one peer: QUIC's 256 per connection, less status, model, DHT and identify

	// minSessionMemory is for receive buffers of all sessions on a small machine; larger ones give an eighth of
	// their memory. It is a bound, not a reservation: a decode step needs 64 KiB a stream.
	minSessionMemory = 256 << 20

	// controlMemory is what all other protocols have beside the sessions' buffers, where these are bounded by
	// configuration: hundreds of requests at a time.
	controlMemory = 4 << 20
)

// streamMemory is the most one stream can reserve: a frame of the largest size and its buffered reader.
const streamMemory = protocol.MaxFrame + readBuffer

type protocolLimit struct {
	in, peerIn, out int
	memory, peerMem int64
}

// newLimits derives the limits from the memory for the receive buffers of sessions and links; 0: from this machine's.
func newLimits(buffers int64) rcmgr.ConcreteLimitConfig {
	base := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&base)
	scaled := base.AutoScale()
	session := max(minSessionMemory, 2*streamMemory, int64(scaled.ToPartialLimitConfig().System.Memory))
	service := 2 * session
	windows := service // QUIC's, which the system and each peer are charged: they promise room and take it seldom
	if buffers > 0 {
		session, service = buffers, buffers+controlMemory
	}

	table := map[libp2pproto.ID]protocolLimit{
		// Strangers come this far: a stream each, a kilobyte each.
		AdmitProtocol:  {in: 2 * maxPending, peerIn: 4, out: 2 * maxPending, memory: 1 << 20, peerMem: 64 << 10},
		StatusProtocol: {in: 256, peerIn: 16, out: 1024, memory: 64 << 20, peerMem: 2 << 20},
		// The answers are slices of one manifest; only requests are buffered.
		ModelProtocol:   {in: 64, peerIn: 4, out: 64, memory: 64 << 20, peerMem: 8 << 20},
		MoveProtocol:    {in: 64, peerIn: 16, out: 64, memory: session, peerMem: session},
		MeasureProtocol: {in: 32, peerIn: 4, out: 64, memory: 16 << 20, peerMem: 2 << 20},
		AdminProtocol:   {in: 16, peerIn: 4, out: 16, memory: 1 << 20, peerMem: 256 << 10},
		// One stream a connection and direction.
		BeatProtocol:    {in: 512, peerIn: 8, out: 512, memory: 1 << 20, peerMem: 16 << 10},
		SessionProtocol: {in: maxStreams, peerIn: maxPeerStreams, out: maxStreams, memory: session, peerMem: session},
		LinkProtocol:    {in: maxStreams, peerIn: maxPeerStreams, out: maxStreams, memory: session, peerMem: session},
	}
	// The connection manager trims above 256; the rest is room for strangers and for dials in progress.
	total := resource(4*maxStreams, 4*maxStreams, windows+service)
	total.ConnsInbound, total.ConnsOutbound, total.Conns = 384, 384, 512
	perPeer := resource(4*maxPeerStreams, 4*maxPeerStreams, windows+service)
	partial := rcmgr.PartialLimitConfig{
		System:       total,
		PeerDefault:  perPeer,
		Service:      map[string]rcmgr.ResourceLimits{serviceName: resource(4*maxStreams, 4*maxStreams, service)},
		ServicePeer:  map[string]rcmgr.ResourceLimits{serviceName: resource(4*maxPeerStreams, 4*maxPeerStreams, service)},
		Protocol:     make(map[libp2pproto.ID]rcmgr.ResourceLimits, len(table)),
		ProtocolPeer: make(map[libp2pproto.ID]rcmgr.ResourceLimits, len(table)),
		Stream:       rcmgr.ResourceLimits{Memory: streamMemory},
	}
	for id, l := range table {
		partial.Protocol[id] = resource(l.in, l.out, l.memory)
		partial.ProtocolPeer[id] = resource(l.peerIn, min(l.out, maxPeerStreams), l.peerMem)
	}
	return partial.Build(scaled)
}

func resource(in, out int, memory int64) rcmgr.ResourceLimits {
	return rcmgr.ResourceLimits{
		StreamsInbound: rcmgr.LimitVal(in), StreamsOutbound: rcmgr.LimitVal(out), Streams: rcmgr.LimitVal(in + out),
		Memory: rcmgr.LimitVal64(memory),
	}
}

// newResourceManager applies the limits, and bounds connections by address. libp2p allows 8 connections of one IPv4
// address, 16 at once and one more every 5 s: too few for a home behind one address or a machine with many nodes.
func newResourceManager(metrics bool, buffers int64) (network.ResourceManager, error) {
	unlimited := func(prefixes ...string) (limits []rcmgr.NetworkPrefixLimit, rates []rate.PrefixLimit) {
		for _, s := range prefixes {
			p := netip.MustParsePrefix(s)
			limits = append(limits, rcmgr.NetworkPrefixLimit{Network: p, ConnCount: math.MaxInt})
			rates = append(rates, rate.PrefixLimit{Prefix: p})
		}
		return limits, rates
	}
	limits4, rates4 := unlimited("127.0.0.0/8")
	limits6, rates6 := unlimited("::1/128")
	opts := []rcmgr.Option{
		rcmgr.WithNetworkPrefixLimit(limits4, limits6),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: maxPending}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 64, ConnCount: maxPending}, {PrefixLength: 48, ConnCount: 4 * maxPending}},
		),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: append(rates4, rates6...),
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: 4, Burst: maxPending}}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 64, Limit: rate.Limit{RPS: 4, Burst: maxPending}}},
				GracePeriod:      time.Minute,
			},
		}),
	}
	if !metrics {
		opts = append(opts, rcmgr.WithMetricsDisabled())
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(newLimits(buffers)), opts...)
}
