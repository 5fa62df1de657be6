// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/statedir"
)

// On one machine nodes and coordinators find each other through a directory: multicast may be off, and a loopback
// address is of no use to others. Each node writes PEERID.json there and takes it away when it leaves; the file of a
// process that is gone is ignored.

const (
	localSuffix = ".json"
	localBytes  = 16 << 10
	localFiles  = 256 // looked at
)

// localNode is the file's content.
type localNode struct {
	Peer  string   `json:"peer"`
	PID   int      `json:"pid"`
	Swarm string   `json:"swarm"`
	Addrs []string `json:"addrs"`
}

func (f *Finder) localPath() string {
	return filepath.Join(f.cfg.LocalDir, f.cfg.Host.ID().String()+localSuffix)
}

// writeLocal tells this machine of this node: its loopback addresses, or all it has when it does not listen there.
func (f *Finder) writeLocal() error {
	addrs, err := f.cfg.Host.Network().InterfaceListenAddresses()
	if err != nil {
		return err
	}
	n := localNode{Peer: f.cfg.Host.ID().String(), PID: os.Getpid(), Swarm: f.cfg.Swarm}
	for _, loopback := range []bool{true, false} {
		for _, a := range addrs {
			if manet.IsIPLoopback(a) == loopback && len(n.Addrs) < maxAddrs {
				n.Addrs = append(n.Addrs, a.String())
			}
		}
		if len(n.Addrs) > 0 {
			break
		}
	}
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.cfg.LocalDir, 0o700); err != nil {
		return err
	}
	return statedir.WriteFile(f.localPath(), append(raw, '\n'), 0o600)
}

func (f *Finder) removeLocal() {
	if err := os.Remove(f.localPath()); err != nil && !os.IsNotExist(err) {
		f.cfg.Log.Warn("this machine still lists this node", zap.String("file", f.localPath()), zap.Error(err))
	}
}

// findLocal offers the nodes of this machine.
func (f *Finder) findLocal(ctx context.Context) error {
	for {
		rises := f.interest.next()
		for _, info := range f.readLocal() {
			f.offer(ctx, info, false)
		}
		wait := localIdle
		if f.pace() == paceWaiting {
			wait = localWaiting
		}
		if !sleep(ctx, wait, rises) {
			return nil
		}
	}
}

// readLocal reads the directory. What is not a live node of this swarm is passed over.
func (f *Finder) readLocal() []peer.AddrInfo {
	entries, err := os.ReadDir(f.cfg.LocalDir)
	if err != nil {
		return nil // no node has run here yet
	}
	var infos []peer.AddrInfo
	for _, e := range entries[:min(len(entries), localFiles)] {
		name, ok := strings.CutSuffix(e.Name(), localSuffix)
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		info, err := f.readLocalFile(name)
		if err != nil {
			f.cfg.Log.Debug("local node passed over", zap.String("file", e.Name()), zap.Error(err))
			continue
		}
		infos = append(infos, *info)
	}
	return infos
}

func (f *Finder) readLocalFile(name string) (*peer.AddrInfo, error) {
	raw, err := readBounded(filepath.Join(f.cfg.LocalDir, name+localSuffix), localBytes)
	if err != nil {
		return nil, err
	}
	var n localNode
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, err
	}
	id, err := peer.Decode(n.Peer)
	switch {
	case err != nil:
		return nil, err
	case n.Peer != name:
		return nil, fmt.Errorf("it speaks of %.64q", n.Peer)
	case n.Swarm != f.cfg.Swarm:
		return nil, fmt.Errorf("it is of the swarm %.64q", n.Swarm)
	case !processAlive(n.PID):
		return nil, fmt.Errorf("process %d is gone", n.PID)
	}

	return &peer.AddrInfo{ID: id, Addrs: parseAddrs(n.Addrs)}, nil
}
