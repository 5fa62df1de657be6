// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
	"go.uber.org/zap"
)

// How often a bootstrap name is resolved: soon while that fails, then as addresses of servers change.
const (
	resolveFirst = time.Second
	resolveMost  = time.Minute
	resolveAgain = 10 * time.Minute
)

// parseBootstrap checks what the user gave.
func parseBootstrap(texts []string) ([]multiaddr.Multiaddr, error) {
	var addrs []multiaddr.Multiaddr
	var errs []error
	for _, s := range texts {
		a, err := multiaddr.NewMultiaddr(s)
		if err == nil && !isName(a) {
			_, err = peer.AddrInfoFromP2pAddr(a)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("bootstrap address %q: %w; want a node's address with its peer ID, such as /ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooW…", s, err))
			continue
		}
		addrs = append(addrs, a)
	}
	return addrs, errors.Join(errs...)
}

// isName reports whether the DNS must tell which peers an address means.
func isName(a multiaddr.Multiaddr) bool {
	_, dnsErr := a.ValueForProtocol(multiaddr.P_DNSADDR)
	_, idErr := a.ValueForProtocol(multiaddr.P_P2P)
	return dnsErr == nil && idErr != nil
}

// findBootstrap offers the bootstrap nodes; the refresh loop never gives up on them. Names are resolved here.
func (f *Finder) findBootstrap(ctx context.Context) error {
	var names []multiaddr.Multiaddr
	for _, a := range f.bootstrap {
		if isName(a) {
			names = append(names, a)
			continue
		}
		info, err := peer.AddrInfoFromP2pAddr(a)
		if err != nil {
			return err
		}
		f.offer(ctx, *info, true)
	}
	wait := resolveFirst
	for len(names) > 0 {
		infos, err := resolveNames(ctx, madns.DefaultResolver, names)
		for _, info := range infos {
			f.offer(ctx, info, true)
		}
		if err != nil {
			f.cfg.Log.Warn("bootstrap name not resolved, trying again", zap.Duration("in", wait), zap.Error(err))
		} else {
			wait = resolveAgain
		}
		if !sleep(ctx, wait, nil) {
			break
		}
		wait = min(2*wait, resolveMost)
	}
	return nil
}

// resolveNames looks up the peers behind /dnsaddr names.
func resolveNames(ctx context.Context, resolver *madns.Resolver, names []multiaddr.Multiaddr) ([]peer.AddrInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var found []multiaddr.Multiaddr
	var errs []error
	for _, name := range names {
		addrs, err := resolver.Resolve(ctx, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		before := len(found)
		for _, a := range addrs {
			if _, err := a.ValueForProtocol(multiaddr.P_P2P); err == nil && len(found) < MaxKnown {
				found = append(found, a)
			}
		}
		if len(found) == before {
			errs = append(errs, fmt.Errorf("%s: no TXT record names a peer", name))
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(found...)
	return infos, errors.Join(append(errs, err)...)
}
