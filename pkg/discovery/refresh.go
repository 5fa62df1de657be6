// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// answer is the outcome of one question.
type answer struct {
	id     peer.ID
	asked  time.Time
	status *protocol.Status
	rtt    time.Duration
	addrs  []multiaddr.Multiaddr // where the peer is
	err    error
}

// refresh is the one loop that decides whom to ask and enters the answers.
func (f *Finder) refresh(ctx context.Context) error {
	list := newKnown(f.cfg.Host.ID())
	cache := f.loadCache()
	for _, info := range cache.infos() {
		list.add(f.cfg.Now(), info, false)
	}
	answers := make(chan answer, maxAsking)
	cut := map[peer.ID]context.CancelFunc{} // ends a question under way
	var asking sync.WaitGroup
	defer asking.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	save := time.NewTicker(cacheEvery)
	defer save.Stop()
	defer cache.save()
	for {
		rises := f.interest.next()
		now := f.cfg.Now()
		f.expire(now)
		due, next := list.due(now, f.pace())
		for _, info := range due {
			askCtx, cancel := context.WithTimeout(ctx, AskTimeout)
			cut[info.ID] = cancel
			asking.Go(func() { answers <- f.ask(askCtx, info, now) })
		}
		if !next.IsZero() {
			timer.Reset(max(0, next.Sub(now)))
		}
		select {
		case <-ctx.Done():
			return nil
		case x := <-f.found:
			if list.add(f.cfg.Now(), x.info, x.keep) {
				cut[x.info.ID]()
			}
		case a := <-answers:
			cut[a.id]()
			delete(cut, a.id)
			f.enter(list, cache, &a)
		case id := <-f.lost:
			if f.cfg.Host.Network().Connectedness(id) != network.Connected {
				list.lost(id)
				f.forget(id)
			}
		case <-rises:
		case <-timer.C:
		case <-save.C:
			cache.save()
		}
		f.up.Store(int64(list.ups()))
	}
}

// ask puts the question to one candidate.
func (f *Finder) ask(ctx context.Context, info peer.AddrInfo, now time.Time) answer {
	a := answer{id: info.ID, asked: now}
	// The swarm refuses to dial a peer that failed for up to five minutes; here the list of candidates decides when.
	if s, ok := f.cfg.Host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(info.ID)
	}
	if a.err = f.cfg.Connect(ctx, info); a.err != nil {
		return a
	}
	if a.status, a.rtt, a.err = f.cfg.Status(ctx, info); a.err != nil {
		return a
	}
	switch {
	case a.status.Peer != info.ID.String():
		a.err = fmt.Errorf("node %s answers as %.128q", info.ID, a.status.Peer)
	case a.status.Swarm != f.cfg.Swarm:
		a.err = fmt.Errorf("node %s is of the swarm %.64q; join that with --swarm", info.ID, a.status.Swarm)
	}
	// The address that works first, then those the node gives.
	for _, c := range f.cfg.Host.Network().ConnsToPeer(info.ID) {
		if c.Stat().Direction == network.DirOutbound {
			a.addrs = append(a.addrs, c.RemoteMultiaddr())
		}
	}
	a.addrs = append(a.addrs, parseAddrs(a.status.Addrs)...)
	return a
}

// enter records an answer.
func (f *Finder) enter(list *known, cache *peerCache, a *answer) {
	now := f.cfg.Now()
	if a.err == nil {
		f.update(func(d *Directory) { a.err = d.Put(a.asked, a.status, a.rtt) })
	}
	if !list.answered(now, a.id, a.err == nil, a.addrs) {
		return
	}
	if a.err != nil {
		f.cfg.Log.Debug("candidate does not answer", zap.Stringer("peer", a.id), zap.Error(a.err))
		f.update(func(d *Directory) { d.Fail(a.asked, a.id.String(), a.err) })
		return
	}
	cache.put(now, a.id, list.peers[a.id].info.Addrs)
}

func (f *Finder) expire(now time.Time) {
	f.mu.Lock()
	expired := f.dir.Expire(now)
	f.mu.Unlock()
	if expired {
		f.changed.broadcast()
	}
}

func (f *Finder) forget(id peer.ID) {
	f.mu.Lock()
	removed := f.dir.Remove(id.String())
	f.mu.Unlock()
	if removed {
		f.changed.broadcast()
	}
}

// parseAddrs returns the addresses that make sense and can be dialled.
func parseAddrs(texts []string) []multiaddr.Multiaddr {
	var addrs []multiaddr.Multiaddr
	for _, s := range texts[:min(len(texts), maxAddrs)] {
		if a, err := multiaddr.NewMultiaddr(s); err == nil {
			addrs = append(addrs, a)
		}
	}
	return dialable(addrs)
}

// dialable drops a relay's addresses: hidden states do not travel through one.
func dialable(addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a multiaddr.Multiaddr) bool {
		_, err := a.ValueForProtocol(multiaddr.P_CIRCUIT)
		return err == nil
	})
}
