// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"sync"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	dhtrecord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"
)

// newDHT joins the swarm's DHT. Nodes serve it; the automatic mode would make every node of a LAN a client, and nobody
// would store anything. It keeps nothing but provider records and our signed records.
func (f *Finder) newDHT() (*dht.IpfsDHT, error) {
	mode := dht.ModeClient
	if f.cfg.ServeDHT {
		mode = dht.ModeServer
	}
	return dht.New(f.cfg.Host,
		dht.ProtocolPrefix(dhtPrefix(f.cfg.Swarm)),
		dht.Mode(mode),
		dht.Validator(dhtrecord.NamespacedValidator{recordNamespace: validator{now: f.cfg.Now}}),
		dht.MaxRecordAge(maxRecordAge),
		dht.ValueGCInterval(maxRecordAge),
		dht.ProviderManagerOpts(
			records.ProvideValidity(providerValidity), records.ProviderAddrTTL(providerValidity), records.CleanupInterval(providerValidity)),
	)
}

// lookups asks the DHT for the swarm's nodes, as often as somebody cares.
func (f *Finder) lookups(ctx context.Context) error {
	for {
		rises := f.interest.next()
		p := f.pace()
		wait := map[pace]time.Duration{paceWaiting: LookupWaiting, paceWatched: lookupWatched, paceLooked: LookupLooked, paceIdle: lookupIdle}[p]
		switch {
		case f.dht.RoutingTable().Size() == 0:
			wait = tablePoll
			if p == paceIdle {
				wait = statusPoll
			}
		case worthLookup(p, int(f.up.Load())):
			f.lookup(ctx)
		}
		if !sleep(ctx, wait, rises) {
			return nil
		}
	}
}

// worthLookup reports whether to look for more nodes where so many candidates are up. Beyond what is kept, an answer helps nobody, and in a
// swarm of thousands it is long.
func worthLookup(p pace, up int) bool {
	if p == paceIdle {
		return up < enoughPeers
	}
	return up < MaxKnown
}

// lookup streams the swarm's nodes out of the DHT: the stream gives the first within a round trip, while the query's end
// waits for twenty peers, dead ones included. For nodes that are not known their signed records are searched, for as many as there is room for.
func (f *Finder) lookup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	room := MaxKnown - int(f.up.Load())
	slots := make(chan struct{}, recordSearch)
	var searches sync.WaitGroup
	for provider := range f.dht.FindProvidersAsync(ctx, swarmKey(f.cfg.Swarm), 0) {
		if provider.ID == f.cfg.Host.ID() || f.knows(provider.ID) {
			continue
		}
		if room--; room < 0 {
			break
		}
		searches.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f.findRecord(ctx, provider)
		})
	}
	searches.Wait()
}

// knows reports whether the directory has a peer.
func (f *Finder) knows(id peer.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dir.Node(id.String()) != nil
}

// findRecord offers a provider with the addresses it has signed, each time a newer record turns up. A provider without
// a valid record (its clock may be wrong) is offered with the addresses that came with the provider record.
func (f *Finder) findRecord(ctx context.Context, provider peer.AddrInfo) {
	values, err := f.dht.SearchValue(ctx, recordKey(provider.ID))
	if err != nil {
		f.cfg.Log.Debug("signed record not searched", zap.Stringer("peer", provider.ID), zap.Error(err))
		return
	}
	signed := false
	for value := range values {
		// The DHT's validator has checked it; here it is decoded again.
		r, err := openRecord(value)
		if err != nil || r.Peer != provider.ID {
			continue
		}
		signed = true
		f.offer(ctx, peer.AddrInfo{ID: r.Peer, Addrs: dialable(r.Addrs)}, false)
	}
	if !signed {
		f.cfg.Log.Debug("no signed record of a provider", zap.Stringer("peer", provider.ID))
		f.offer(ctx, peer.AddrInfo{ID: provider.ID, Addrs: dialable(provider.Addrs)}, false)
	}
}
