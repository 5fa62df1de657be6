// SPDX-License-Identifier: MIT

package discovery

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/statedir"
)

const (
	cachePeers = 64
	cacheEvery = 10 * time.Second
	cacheAge   = 30 * 24 * time.Hour // entries not seen for longer are dropped
	cacheBytes = 1 << 20             // a larger file is not ours
)

// peerCache keeps the peers that answered lately, across runs. It belongs to the refresh loop. Without a path it keeps
// nothing.
type peerCache struct {
	path  string
	log   *zap.Logger
	peers []cachedPeer // latest first
	dirty bool
}

// cachedPeer is an entry of the file, a JSON object with the list "peers".
type cachedPeer struct {
	Peer  string    `json:"peer"`
	Addrs []string  `json:"addrs"`
	Seen  time.Time `json:"seen"`
}

type cacheFile struct {
	Peers []cachedPeer `json:"peers"`
}

// loadCache reads the file. A missing file is empty; so is a damaged one, after a log line.
func (f *Finder) loadCache() *peerCache {
	c := &peerCache{path: f.cfg.CachePath, log: f.cfg.Log}
	if c.path == "" {
		return c
	}
	peers, err := readCache(c.path, f.cfg.Now())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("peers seen last time are not known: starting a new list", zap.String("file", c.path), zap.Error(err))
	}
	c.peers = peers
	return c
}

func readCache(path string, now time.Time) ([]cachedPeer, error) {
	raw, err := readBounded(path, cacheBytes)
	if err != nil {
		return nil, err
	}
	var file cacheFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	for _, p := range file.Peers {
		if _, err := peer.Decode(p.Peer); err != nil {
			return nil, fmt.Errorf("peer %.64q: %w", p.Peer, err)
		}
	}
	peers := slices.DeleteFunc(file.Peers, func(p cachedPeer) bool { return now.Sub(p.Seen) > cacheAge })
	slices.SortStableFunc(peers, func(a, b cachedPeer) int { return cmp.Compare(b.Seen.UnixNano(), a.Seen.UnixNano()) })
	return peers[:min(len(peers), cachePeers)], nil
}

// readBounded reads a small file, whatever its size claims to be.
func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return raw, err
}

// infos returns the candidates in the cache.
func (c *peerCache) infos() []peer.AddrInfo {
	var infos []peer.AddrInfo
	for _, p := range c.peers {
		if id, err := peer.Decode(p.Peer); err == nil {
			infos = append(infos, peer.AddrInfo{ID: id, Addrs: parseAddrs(p.Addrs)})
		}
	}
	return infos
}

// put moves a peer that has just answered to the front.
func (c *peerCache) put(now time.Time, id peer.ID, addrs []multiaddr.Multiaddr) {
	if c.path == "" {
		return
	}
	entry := cachedPeer{Peer: id.String(), Seen: now}
	for _, a := range addrs {
		entry.Addrs = append(entry.Addrs, a.String())
	}
	c.peers = slices.DeleteFunc(c.peers, func(p cachedPeer) bool { return p.Peer == entry.Peer })
	c.peers = slices.Insert(c.peers, 0, entry)
	c.peers = c.peers[:min(len(c.peers), cachePeers)]
	c.dirty = true
}

// save writes the file if something has changed.
func (c *peerCache) save() {
	if !c.dirty {
		return
	}
	c.dirty = false
	raw, err := json.MarshalIndent(cacheFile{Peers: c.peers}, "", " ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(c.path), 0o700)
	}
	if err == nil {
		err = statedir.WriteFile(c.path, append(raw, '\n'), 0o600)
	}
	if err != nil {
		c.log.Warn("peers seen are not kept for the next start", zap.String("file", c.path), zap.Error(err))
	}
}
