// SPDX-License-Identifier: MIT

//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/shardnode/shardnode/internal/control"
)

// patience bounds the wait for a node to be ready or to end.
const patience = 60 * time.Second

// node is a shardnode process that comes back with its identity, address and data directory.
type node struct {
	name   string
	layers string
	dir    string
	ip     string
	port   int
	peer   string     // known once it has been ready
	space  *namespace // nil: this one

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// addr is what others bootstrap from.
func (n *node) addr() string {
	return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1/p2p/%s", n.ip, n.port, n.peer)
}

// swarm are the nodes of one run.
type swarm struct {
	bin     string
	dir     string
	name    string
	threads int
	extra   []string // further flags of each node
	nodes   []*node
}

// start runs a node and returns when it is ready. It knows the addresses of all nodes that have been ready before.
func (s *swarm) start(ctx context.Context, n *node) error {
	args := []string{
		"--layers", n.layers, "--data-dir", n.dir, "--listen", fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", n.ip, n.port),
		"--no-mdns", "--swarm", s.name, "--threads", fmt.Sprint(s.threads),
	}
	for _, other := range s.nodes {
		if other != n && other.peer != "" {
			args = append(args, "--bootstrap", other.addr())
		}
	}
	argv := append([]string{filepath.Join(s.bin, "shardnode")}, append(args, s.extra...)...)
	if n.space != nil {
		argv = append([]string{"ip", "netns", "exec", n.space.name}, argv...)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, n.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd = exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	n.cmd.Stderr = log
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("start node %s: %w", n.name, err)
	}
	n.done = make(chan struct{})
	go func() {
		_ = n.cmd.Wait() // how it ended is in its log
		close(n.done)
	}()
	return n.ready(ctx)
}

// ready waits until the node says so itself.
func (n *node) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if h, err := control.Ask(ctx, n.dir); err == nil && h.Ready {
			n.peer = h.Peer
			return nil
		}
		select {
		case <-tick.C:
		case <-n.done:
			return fmt.Errorf("node %s ended: see its log", n.name)
		case <-ctx.Done():
			return fmt.Errorf("node %s is not ready: %w", n.name, ctx.Err())
		}
	}
}

func (n *node) signal(s syscall.Signal) error { return n.cmd.Process.Signal(s) }

// ended waits for the process to end.
func (n *node) ended(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-n.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("node %s does not end: %w", n.name, ctx.Err())
	}
}

// stop ends all nodes.
func (s *swarm) stop() {
	for _, n := range s.nodes {
		if n.cmd != nil {
			_ = n.signal(syscall.SIGCONT)
			_ = n.signal(syscall.SIGKILL)
			<-n.done
		}
	}
}

// freePort finds a UDP port of the loopback interface.
func freePort() (int, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}

// namespace is a network namespace of its own, behind a link that can be taken down.
type namespace struct {
	name string
	link string // our end
}

// bridge is the network of all namespaces; this process has its first address.
const (
	bridge  = "chaos0"
	network = "10.213.7."
)

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// bridged lets packets through from one node to another where the machine's firewall looks at what is bridged, as it does beside Docker.
// Where there is no iptables there is nothing to be let through.
func bridged(ctx context.Context, action string) {
	_ = exec.CommandContext(ctx, "iptables", action, "FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT").Run()
}

// makeBridge makes the network, which needs root.
func makeBridge(ctx context.Context) error {
	bridged(ctx, "-I")
	return errors.Join(
		ip(ctx, "link", "add", bridge, "type", "bridge"),
		ip(ctx, "addr", "add", network+"1/24", "dev", bridge),
		ip(ctx, "link", "set", bridge, "up"),
	)
}

func removeBridge(ctx context.Context) {
	bridged(ctx, "-D")
	_ = ip(ctx, "link", "del", bridge)
}

// newNamespace makes a namespace with the address network+host.
func newNamespace(ctx context.Context, host int) (*namespace, error) {
	s := &namespace{name: fmt.Sprintf("chaos%d", host), link: fmt.Sprintf("chaos-v%d", host)}
	inner := s.link + "p"
	in := func(args ...string) error { return ip(ctx, append([]string{"-n", s.name}, args...)...) }
	return s, errors.Join(
		ip(ctx, "netns", "add", s.name),
		ip(ctx, "link", "add", s.link, "type", "veth", "peer", "name", inner),
		ip(ctx, "link", "set", inner, "netns", s.name),
		ip(ctx, "link", "set", s.link, "master", bridge),
		ip(ctx, "link", "set", s.link, "up"),
		in("addr", "add", fmt.Sprintf("%s%d/24", network, host), "dev", inner),
		in("link", "set", inner, "up"),
		in("link", "set", "lo", "up"),
	)
}

// plug takes the link down or up: a cable that is pulled, and put back.
func (s *namespace) plug(ctx context.Context, state string) error {
	return ip(ctx, "link", "set", s.link, state)
}

func (s *namespace) remove(ctx context.Context) {
	_ = ip(ctx, "netns", "del", s.name)
	_ = ip(ctx, "link", "del", s.link)
}
