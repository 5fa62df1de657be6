// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
)

// Host is one member of a swarm.
type Host struct {
	// Constant after construction.
	cfg       Config
	raw       host.Host
	swarm     *swarm.Swarm
	admission *admission
	sessions  *sessionTable
	watches   watches
	proofs    proofs
	links     links
	traffic   traffic
	peersLost atomic.Uint64
	leaveBy   atomic.Pointer[time.Time] // set by Leave
	ctx       context.Context           //nolint:containedctx // ends with Close; parent of every handler's context
	cancel    context.CancelFunc

	mu       sync.Mutex // guards all following fields
	closed   bool
	handlers sync.WaitGroup // running stream handlers; Add only under mu while not closed
	served   []libp2pproto.ID
}

// NewHost starts a host: it listens when NewHost returns.
func NewHost(cfg Config) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	warnUDPBuffer(cfg.Log)
	opts, err := hostOptions(&cfg)
	if err != nil {
		return nil, err
	}
	raw, err := libp2p.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("start libp2p: %w", err)
	}
	sw, ok := raw.Network().(*swarm.Swarm)
	if !ok {
		_ = raw.Close()
		return nil, fmt.Errorf("start libp2p: unexpected network %T", raw.Network())
	}
	h := &Host{cfg: cfg, raw: raw, swarm: sw}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.sessions = newSessionTable()
	h.watches.m = make(map[network.Conn]*watch)
	h.proofs.h, h.proofs.m = h, make(map[network.Conn]*proof)
	h.links.bursting, h.links.measuring, h.links.m = make(chan struct{}, 1), make(chan struct{}, 1), make(map[peer.ID]*measured)
	h.admission = newAdmission(h)
	raw.Network().Notify(h.admission)
	raw.Network().Notify(&h.proofs)
	raw.Network().Notify(&h.traffic)
	raw.SetStreamHandler(AdmitProtocol, h.admission.serve)
	h.handle(BeatProtocol, beatLimits, func(_ context.Context, s *Stream) { answerBeats(s) })
	h.handle(MeasureProtocol, measureLimits, h.serveMeasure)
	if !cfg.DialOnly {
		if err := h.listen(cfg.Listen); err != nil {
			_ = h.Close()
			return nil, err
		}
	}
	return h, nil
}

// hostOptions names everything we rely on; libp2p.New adds only the peer store, dial ranker and DNS resolver.
func hostOptions(cfg *Config) ([]libp2p.Option, error) {
	rm, err := newResourceManager(cfg.Metrics != nil, cfg.Buffers)
	if err != nil {
		return nil, fmt.Errorf("resource manager: %w", err)
	}
	// Peers with a session are protected; the rest is trimmed, oldest first, above the high mark.
	cm, err := connmgr.NewConnManager(192, 256)
	if err != nil {
		return nil, fmt.Errorf("connection manager: %w", err)
	}
	opts := []libp2p.Option{
		libp2p.Identity(cfg.Key),
		libp2p.NoListenAddrs,
		// QUIC first: one round trip to connect, no head-of-line blocking. TCP where UDP is blocked; without
		// SO_REUSEPORT, or a second node would silently share the port.
		libp2p.Transport(quic.NewTransport),
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.DefaultSecurity,
		libp2p.DefaultMuxers,
		libp2p.ResourceManager(rm),
		libp2p.ConnectionManager(cm),
		libp2p.UserAgent("shardnode/" + cfg.Version),
		libp2p.DisableRelay(),
		libp2p.Ping(false),
		// The black hole detectors stop dialing UDP after many failures; nodes that come and go look just like that.
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.IPv6BlackHoleSuccessCounter(nil),
		libp2p.SwarmOpts(swarm.WithDialTimeout(dialTimeoutPublic), swarm.WithDialTimeoutLocal(dialTimeoutLocal)),
	}
	if cfg.Metrics != nil {
		opts = append(opts, libp2p.PrometheusRegisterer(cfg.Metrics))
	} else {
		opts = append(opts, libp2p.DisableMetrics())
	}
	if cfg.local() {
		opts = append(opts, libp2p.ConnectionGater(&localGater{log: cfg.Log}))
	}
	opts = append(opts, cfg.Options...)
	if cfg.local() {
		opts = append(opts, announceLocal)
	}
	return opts, nil
}

// announceLocal leaves public addresses, which the gater would refuse, out of what the host tells others. It comes after
// the caller's options: they may choose the addresses.
func announceLocal(cfg *libp2p.Config) error {
	choose := cfg.AddrsFactory
	cfg.AddrsFactory = func(addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
		if choose != nil {
			addrs = choose(addrs)
		}
		local := make([]multiaddr.Multiaddr, 0, len(addrs))
		for _, a := range addrs {
			if localAddr(a) {
				local = append(local, a)
			}
		}
		return local
	}
	return nil
}

// ID returns the host's peer ID.
func (h *Host) ID() peer.ID { return h.raw.ID() }

// Addrs returns the addresses to reach the host at, wildcards resolved.
func (h *Host) Addrs() []multiaddr.Multiaddr { return h.raw.Addrs() }

// AddrInfo returns ID and Addrs together.
func (h *Host) AddrInfo() peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// Swarm returns the name of the swarm.
func (h *Host) Swarm() string { return h.cfg.Swarm }

// Libp2p returns the host below, without the admission check: register no protocol on it, use [Host.Guarded].
func (h *Host) Libp2p() host.Host { return h.raw }

// Close ends every session with [protocol.CodeDraining], closes all connections so that peers notice at once, and
// waits for the handlers. Close the DHT first. Calling it again is harmless.
func (h *Host) Close() error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	served := h.served
	h.mu.Unlock()
	if !first {
		return nil
	}
	for _, id := range append(served, AdmitProtocol) {
		h.raw.RemoveStreamHandler(id)
	}
	h.cancel()
	h.handlers.Wait()
	h.admission.close()
	return h.raw.Close()
}

// enter registers a running handler; the caller defers exit when it returns true.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.handlers.Add(1)
	return true
}

func (h *Host) exit() { h.handlers.Done() }

// handle serves a protocol to admitted peers. The handler owns the stream and leaves it closed or reset.
func (h *Host) handle(id libp2pproto.ID, limits streamLimits, f func(ctx context.Context, s *Stream)) {
	h.Guarded().SetStreamHandler(id, func(ns network.Stream) {
		if !h.enter() {
			_ = ns.ResetWithError(network.StreamShutdown)
			return
		}
		defer h.exit()
		if err := ns.Scope().SetService(serviceName); err != nil {
			_ = ns.ResetWithError(network.StreamResourceLimitExceeded)
			return
		}
		s := newStream(ns, limits)
		stop := s.bind(h.ctx, network.StreamShutdown)
		defer stop()
		f(h.ctx, s)
	})
	h.mu.Lock()
	h.served = append(h.served, id)
	h.mu.Unlock()
}
