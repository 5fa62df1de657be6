// SPDX-License-Identifier: MIT

package p2p

import (
	"context"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
)

// guarded is the host as other protocols see it: streams come from admitted peers only, and a stream or connection to
// a peer passes admission first.
type guarded struct {
	host.Host
	h *Host
}

// Guarded returns the host for protocols that set their own handlers, such as the DHT.
func (h *Host) Guarded() host.Host { return guarded{Host: h.raw, h: h} }

// Connect implements host.Host. A lookup asks many peers, and does without one that is silent: no sign of life is asked of them before, which would be a second stream
// for each message.
func (g guarded) Connect(ctx context.Context, pi peer.AddrInfo) error {
	if pi.ID == g.h.ID() {
		return errSelf
	}
	return g.h.reach(ctx, pi)
}

// NewStream implements host.Host.
func (g guarded) NewStream(ctx context.Context, p peer.ID, ids ...libp2pproto.ID) (network.Stream, error) {
	if noDial, _ := network.GetNoDial(ctx); noDial {
		if err := g.h.admission.ensure(ctx, p); err != nil {
			return nil, err
		}
	} else if err := g.h.reach(ctx, peer.AddrInfo{ID: p}); err != nil {
		return nil, err
	}
	// A connection dialed from here on would not be admitted: let the caller come again.
	return g.Host.NewStream(network.WithNoDial(ctx, "admitted connections only"), p, ids...)
}

// SetStreamHandler implements host.Host.
func (g guarded) SetStreamHandler(id libp2pproto.ID, f network.StreamHandler) {
	g.Host.SetStreamHandler(id, g.guard(f))
}

// SetStreamHandlerMatch implements host.Host.
func (g guarded) SetStreamHandlerMatch(id libp2pproto.ID, m func(libp2pproto.ID) bool, f network.StreamHandler) {
	g.Host.SetStreamHandlerMatch(id, m, g.guard(f))
}

func (g guarded) guard(f network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) {
		if !g.h.admission.settled(s.Conn().RemotePeer()) {
			_ = s.ResetWithError(network.StreamGated)
			return
		}
		f(s)
	}
}
