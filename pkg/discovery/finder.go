// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// Finder keeps a [Directory] up to date. Run does the work; the other methods may be called before it.
type Finder struct {
	// Constant after construction.
	cfg       Config
	bootstrap []multiaddr.Multiaddr
	found     chan found   // from the sources to the loop
	lost      chan peer.ID // last connection to a peer ended
	interest  signal       // the pace has risen
	changed   signal       // the directory has changed

	// Set by Run before started is closed.
	dht     *dht.IpfsDHT
	started chan struct{}

	up atomic.Int64 // candidates that are up

	mu           sync.Mutex // guards all following fields
	dir          *Directory
	waiting      int
	watching     int
	looked       time.Time
	stopped      bool           // Run is leaving
	advertisings sync.WaitGroup // Add only under mu while not stopped
}

// found is a candidate a source came across.
type found struct {
	info peer.AddrInfo
	keep bool // the user named it
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Finder, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &Finder{
		cfg: cfg, found: make(chan found, 64), lost: make(chan peer.ID, 64), started: make(chan struct{}), dir: NewDirectory(NodeTTL),
	}
	if f.bootstrap, err = parseBootstrap(cfg.Bootstrap); err != nil {
		return nil, err
	}
	return f, nil
}

// Run looks for nodes until ctx ends, then lets [Finder.Advertise] finish, saves the peers seen and leaves the DHT. It
// may be called once.
func (f *Finder) Run(ctx context.Context) error {
	var err error
	if f.dht, err = f.newDHT(); err != nil {
		return fmt.Errorf("start the DHT: %w", err)
	}
	close(f.started)
	notifee := &network.NotifyBundle{DisconnectedF: f.disconnected}
	f.cfg.Host.Network().Notify(notifee)
	defer f.cfg.Host.Network().StopNotify(notifee)

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.refresh(groupCtx) })
	group.Go(func() error { return f.lookups(groupCtx) })
	group.Go(func() error { return f.findBootstrap(groupCtx) })
	if f.cfg.LocalDir != "" {
		group.Go(func() error { return f.findLocal(groupCtx) })
	}
	if f.cfg.MDNS {
		group.Go(func() error { return f.findMDNS(groupCtx) })
	}
	err = group.Wait()

	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.advertisings.Wait()
	if closeErr := f.dht.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("leave the DHT: %w", closeErr)
	}
	return err
}

// Directory returns what is known now: a copy, the caller's own. Looking keeps it fresh for a minute.
func (f *Finder) Directory() *Directory {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.look()
}

// Peek returns what is known now as [Finder.Directory] does, but keeps nothing fresh for it.
func (f *Finder) Peek() *Directory {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dir.Expire(f.cfg.Now())
	return f.dir.clone()
}

// Wait returns when ready says so of the directory, which it is shown at once and after each change. While somebody waits
// sources and nodes are asked more often. The error is ctx's.
func (f *Finder) Wait(ctx context.Context, ready func(*Directory) bool) error {
	f.mu.Lock()
	f.waiting++
	f.mu.Unlock()
	f.interest.broadcast()
	defer func() {
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
	}()
	for {
		changed := f.changed.next()
		if ready(f.Directory()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Watch shows the directory to see at once and after each change, until ctx ends. While somebody watches, nodes are asked as often as for
// [Finder.Wait], and sources now and then: it may go on for hours.
func (f *Finder) Watch(ctx context.Context, see func(*Directory)) {
	f.mu.Lock()
	f.watching++
	f.mu.Unlock()
	f.interest.broadcast()
	defer func() {
		f.mu.Lock()
		f.watching--
		f.mu.Unlock()
	}()
	for ctx.Err() == nil {
		changed := f.changed.next()
		see(f.Directory())
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// look copies the directory; mu is held.
func (f *Finder) look() *Directory {
	now := f.cfg.Now()
	if now.Sub(f.looked) > lookedLately && f.waiting == 0 {
		defer f.interest.broadcast()
	}
	f.looked = now
	f.dir.Expire(now)
	return f.dir.clone()
}

// pace is how eagerly to ask now.
func (f *Finder) pace() pace {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.waiting > 0:
		return paceWaiting
	case f.watching > 0:
		return paceWatched
	case f.cfg.Now().Sub(f.looked) <= lookedLately:
		return paceLooked
	}
	return paceIdle
}

// update changes the directory and wakes who waits.
func (f *Finder) update(change func(*Directory)) {
	f.mu.Lock()
	change(f.dir)
	f.mu.Unlock()
	f.changed.broadcast()
}

// offer hands a candidate to the refresh loop.
func (f *Finder) offer(ctx context.Context, info peer.AddrInfo, keep bool) {
	select {
	case f.found <- found{info, keep}:
	case <-ctx.Done():
	}
}

// sleep waits for d, or for the pace to rise where rises is not nil; it reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration, rises <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-rises:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// disconnected is called by the network, which must not be kept waiting: a loss that finds the channel full is noticed at
// the next question.
func (f *Finder) disconnected(n network.Network, c network.Conn) {
	if n.Connectedness(c.RemotePeer()) == network.Connected {
		return
	}
	select {
	case f.lost <- c.RemotePeer():
	default:
		f.cfg.Log.Debug("lost connection not noted", zap.Stringer("peer", c.RemotePeer()))
	}
}
