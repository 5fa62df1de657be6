// SPDX-License-Identifier: MIT

package discovery

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestOneMachineNeedsNoConfiguration: nodes and coordinator share nothing but a directory. Not parallel: it takes the
// time.
func TestOneMachineNeedsNoConfiguration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	local := func(c *Config) { c.LocalDir = dir }
	nodes := []*member{startNode(t, "0-15", local), startNode(t, "16-31", local)}
	stranger := startNode(t, "0-31", func(c *Config) { c.LocalDir, c.Swarm = dir, "other" })
	for _, n := range append(nodes, stranger) {
		<-n.told
	}
	began := time.Now()
	c := startCoordinator(t, local)
	c.waitFor(t, "all layers", complete)
	if took := time.Since(began); took > coldStart && !raceDetector {
		t.Errorf("complete after %s, want at most %s", took, coldStart)
	}
	d := c.Directory()
	if len(d.Nodes()) != 2 || len(d.Failures()) != 0 {
		t.Errorf("%d nodes, %d failures: a node of another swarm was asked", len(d.Nodes()), len(d.Failures()))
	}
	nodes[0].stop()
	if _, err := os.Stat(nodes[0].localPath()); !os.IsNotExist(err) {
		t.Errorf("the file of a node that left: %v", err)
	}
	if _, err := os.Stat(nodes[1].localPath()); err != nil {
		t.Errorf("the file of a node that stays: %v", err)
	}
}

// TestLocalFilesThatDoNotCount writes files that must not lead anywhere, and one that must.
func TestLocalFilesThatDoNotCount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := startCoordinator(t, func(c *Config) { c.LocalDir = dir })
	dead := exec.Command(os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	newID := func() string {
		id, err := peer.IDFromPrivateKey(newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		return id.String()
	}
	write := func(name string, n localNode) {
		raw, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addrs := []string{"/ip4/127.0.0.1/udp/9/quic-v1", "nonsense"}
	good, gone, other, renamed, negative := newID(), newID(), newID(), newID(), newID()
	write(good+".json", localNode{Peer: good, PID: os.Getpid(), Swarm: testSwarm, Addrs: addrs})
	write(gone+".json", localNode{Peer: gone, PID: dead.ProcessState.Pid(), Swarm: testSwarm, Addrs: addrs})
	write(other+".json", localNode{Peer: other, PID: os.Getpid(), Swarm: "other", Addrs: addrs})
	write("another.json", localNode{Peer: renamed, PID: os.Getpid(), Swarm: testSwarm, Addrs: addrs})
	write(negative+".json", localNode{Peer: negative, PID: -1, Swarm: testSwarm, Addrs: addrs})
	write("."+newID()+".json", localNode{Peer: newID(), PID: os.Getpid(), Swarm: testSwarm, Addrs: addrs})
	for name, content := range map[string]string{"broken.json": "{", "notes.txt": "x", newID() + ".json": "[]"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	infos := c.readLocal()
	if len(infos) != 1 || infos[0].ID.String() != good || len(infos[0].Addrs) != 1 {
		t.Errorf("got %v", infos)
	}
}

func TestLocalDirectoryMayBeMissing(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t, func(c *Config) { c.LocalDir = filepath.Join(t.TempDir(), "never", "made") })
	if infos := c.readLocal(); infos != nil {
		t.Errorf("got %v", infos)
	}
}
