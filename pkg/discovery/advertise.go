// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	kbucket "github.com/libp2p/go-libp2p-kbucket"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Advertise tells the swarm what this node serves until ctx ends: a signed record and two provider records in the DHT,
// renewed before they expire and as soon as status changes, and a file for this machine's coordinators. While status
// says draining it is silent. advertised is called once, after the first round; others find the node from then on.
func (f *Finder) Advertise(ctx context.Context, status func() *protocol.Status, advertised func()) error {
	f.mu.Lock()
	if f.stopped {
		f.mu.Unlock()
		return nil
	}
	f.advertisings.Add(1)
	f.mu.Unlock()
	defer f.advertisings.Done()
	select {
	case <-f.started:
	case <-ctx.Done():
		return nil
	}
	a := &advertiser{f: f, first: advertised}
	defer a.withdraw()
	for {
		if !sleep(ctx, a.round(ctx, status()), nil) {
			return nil
		}
	}
}

// advertiser is the state of one Advertise.
type advertiser struct {
	f     *Finder
	first func() // to be called after the first round; then nil

	told     claim // last round's
	peers    int   // in the routing table then
	next     time.Time
	seq      uint64
	local    bool // the file is there
	loneLogs bool // "alone" has been logged
}

// claim is what others are told; a change is told at once.
type claim struct {
	model  protocol.ModelID
	layers protocol.LayerRange
	addrs  []multiaddr.Multiaddr
}

func (c *claim) equal(o *claim) bool {
	return c.model == o.model && c.layers == o.layers && slices.EqualFunc(c.addrs, o.addrs, multiaddr.Multiaddr.Equal)
}

// round advertises if it is time, and returns how long to wait for the next look.
func (a *advertiser) round(ctx context.Context, st *protocol.Status) time.Duration {
	if st.Draining {
		a.withdraw()
		a.next = time.Time{}
		return statusPoll
	}
	now := a.f.cfg.Now()
	c := claim{model: st.Model, layers: st.Layers, addrs: a.f.cfg.Host.Addrs()}
	peers := a.f.dht.RoutingTable().Size()
	// While the table is small each new peer is among the closest and should store the records.
	grown := peers > a.peers && a.peers < closest
	if !a.next.After(now) || grown || !c.equal(&a.told) {
		a.tell(ctx, &c)
		a.told, a.peers, a.next = c, peers, now.Add(advertiseEvery)
		if a.first != nil && ctx.Err() == nil {
			a.first()
			a.first = nil
		}
	}
	if peers == 0 {
		return tablePoll
	}
	return statusPoll
}

// closest is how many peers store a record: Kademlia's k.
const closest = 20

// tell advertises a claim everywhere.
func (a *advertiser) tell(ctx context.Context, c *claim) {
	f := a.f
	if f.cfg.LocalDir != "" {
		if err := f.writeLocal(); err != nil {
			f.cfg.Log.Warn("nodes and coordinators of this machine will not see this node", zap.String("dir", f.cfg.LocalDir), zap.Error(err))
		} else {
			a.local = true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	errs := make([]error, 3)
	var puts sync.WaitGroup
	puts.Go(func() { errs[0] = a.putRecord(ctx, c) })
	puts.Go(func() { errs[1] = f.dht.Provide(ctx, swarmKey(f.cfg.Swarm), true) })
	puts.Go(func() { errs[2] = f.dht.Provide(ctx, modelKey(f.cfg.Swarm, c.model), true) })
	puts.Wait()
	switch err := errors.Join(errs...); {
	case err == nil, ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		a.loneLogs = false
	case errors.Is(err, kbucket.ErrLookupFailure):
		if !a.loneLogs {
			f.cfg.Log.Info("no other node known yet: advertised to those who find this one")
			a.loneLogs = true
		}
	default:
		f.cfg.Log.Warn("advertised in part", zap.Error(err))
	}
}

// putRecord stores the signed record.
func (a *advertiser) putRecord(ctx context.Context, c *claim) error {
	f := a.f
	now := f.cfg.Now()
	a.seq = max(a.seq+1, uint64(max(0, now.UnixNano())))
	id := f.cfg.Host.ID()
	r := &Record{Peer: id, Model: c.model, Layers: c.layers, Seq: a.seq, Expiry: now.Add(recordValidity)}
	for _, addr := range c.addrs {
		if len(addr.Bytes()) <= protocol.MaxAddr && len(r.Addrs) < protocol.MaxAddrs {
			r.Addrs = append(r.Addrs, addr)
		}
	}
	for {
		value, err := r.seal(f.cfg.Host.Peerstore().PrivKey(id))
		if err != nil {
			return err
		}
		if len(value) <= maxRecordSize || len(r.Addrs) == 0 {
			return f.dht.PutValue(ctx, recordKey(id), value)
		}
		r.Addrs = r.Addrs[:len(r.Addrs)-1]
	}
}

// withdraw takes the local file away. Records in the DHT cannot be taken back; they expire, and the node answers for
// itself until then.
func (a *advertiser) withdraw() {
	if a.local {
		a.f.removeLocal()
		a.local = false
	}
}
