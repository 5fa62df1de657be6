// SPDX-License-Identifier: MIT

//go:build unix

// Command chaos runs a swarm of real processes with a replica for every range of layers, and hurts them while generations run: it kills,
// freezes, restarts and drains nodes, and, as root, pulls their network cables. It prints how long a loss took to be noticed, how long
// the user saw a pause, and whether the tokens were those of an undisturbed run. `make chaos` runs it; it exits 1 when a request was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	bin        string
	layers     string
	replicas   int
	users      int
	rounds     int
	rolling    int
	prompt     int
	cost       int
	seed       uint64
	threads    int
	only       string
	namespaces bool
	keep       bool
}

func main() {
	o := &options{}
	flag.StringVar(&o.bin, "bin", "bin", "directory with shardnode")
	flag.StringVar(&o.layers, "layers", "0-7,8-15,16-23,24-31", "ranges of layers, of which the route is made")
	flag.IntVar(&o.replicas, "replicas", 2, "nodes for each range")
	flag.IntVar(&o.users, "users", 8, "generations at once, beside the measured one")
	flag.IntVar(&o.rounds, "rounds", 3, "times that each fault happens to each hop in each phase")
	flag.IntVar(&o.rolling, "rolling", 200, "requests to be answered during a rolling restart of all nodes; 0: no rolling restart")
	flag.IntVar(&o.prompt, "prompt", 300, "tokens of a prompt")
	flag.IntVar(&o.cost, "cost", 0, "measure instead, in so many rounds, what recovery costs for each 1,000 tokens of context")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the order of faults and questions")
	flag.IntVar(&o.threads, "threads", 1, "compute threads of each node")
	flag.StringVar(&o.only, "faults", "", "only these, by name, separated by commas")
	flag.BoolVar(&o.namespaces, "netns", os.Geteuid() == 0, "put each node into a network namespace of its own, which needs root: only then can links fail")
	flag.BoolVar(&o.keep, "keep", false, "keep the nodes' logs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) (err error) {
	fmt.Printf("seed %d\n", o.seed)
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return err
	}
	defer func() {
		if o.keep {
			fmt.Println("logs are in", dir)
		} else {
			_ = os.RemoveAll(dir)
		}
	}()
	s := &swarm{bin: o.bin, dir: dir, name: filepath.Base(dir), threads: o.threads}
	defer s.stop()
	clean := context.WithoutCancel(ctx)
	if o.namespaces {
		if _, err := exec.LookPath("ip"); err != nil {
			return fmt.Errorf("%w; -netns=false does without network namespaces", err)
		}
		removeBridge(clean)
		if err := makeBridge(ctx); err != nil {
			return err
		}
		defer removeBridge(clean)
	}
	host := 10
	for _, layers := range strings.Split(o.layers, ",") {
		for r := range o.replicas {
			n := &node{name: fmt.Sprintf("%s-%c", layers, 'a'+r), layers: layers, ip: "127.0.0.1", port: 4001}
			n.dir = filepath.Join(dir, n.name)
			if o.namespaces {
				host++
				n.ip = fmt.Sprintf("%s%d", network, host)
				(&namespace{name: fmt.Sprintf("chaos%d", host), link: fmt.Sprintf("chaos-v%d", host)}).remove(clean)
				if n.space, err = newNamespace(ctx, host); err != nil {
					return err
				}
				defer n.space.remove(clean)
			} else if n.port, err = freePort(); err != nil {
				return err
			}
			s.nodes = append(s.nodes, n)
		}
	}
	for _, n := range s.nodes {
		if err := s.start(ctx, n); err != nil {
			return err
		}
	}
	u, err := newUser(ctx, s)
	if err != nil {
		return err
	}
	defer u.client.Close()
	if o.cost > 0 {
		return u.measureCost(ctx, s, o)
	}
	if u.questions, err = u.learn(ctx, 8, o.prompt); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(o.seed, 0))
	loadCtx, stopLoad := context.WithCancel(ctx)
	var users sync.WaitGroup
	for range o.users {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		users.Go(func() { u.load(loadCtx, own) })
	}
	defer users.Wait()
	defer stopLoad()

	table := newTable()
	for _, t := range trials(o, random) {
		outcome, err := u.try(ctx, s, t)
		if err != nil {
			return errors.Join(err, table.print(os.Stdout))
		}
		table.add(t, outcome)
		fmt.Println(t, outcome)
	}
	if o.rolling > 0 {
		if err := u.rollingRestart(ctx, s, o.rolling); err != nil {
			return err
		}
	}
	stopLoad()
	users.Wait()
	asked, failed := u.counts()
	fmt.Printf("beside the measured generations: %d requests, %d lost\n", asked, len(failed))
	for _, err := range failed[:min(len(failed), 5)] {
		fmt.Println("lost:", err)
	}
	if err := table.print(os.Stdout); err != nil {
		return err
	}
	if table.lost+len(failed) > 0 {
		return fmt.Errorf("%d requests were lost or answered otherwise", table.lost+len(failed))
	}
	return nil
}

// trials lists every fault at every hop in every phase, as often as wanted, in random order.
func trials(o *options, random *rand.Rand) []trial {
	var list []trial
	for _, f := range faults(o.namespaces) {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), f.name) {
			continue
		}
		for hop := range len(strings.Split(o.layers, ",")) {
			for _, phase := range []string{"prefill", "decode"} {
				for range o.rounds {
					list = append(list, trial{f, hop, phase, random.Uint64()})
				}
			}
		}
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// rollingRestart drains and restarts every node, one after another, until the users have had so many answers meanwhile.
func (u *user) rollingRestart(ctx context.Context, s *swarm, requests int) error {
	before, failedBefore := u.counts()
	start := time.Now()
	restarts := 0
	for asked := before; asked-before < requests; asked, _ = u.counts() {
		for _, n := range s.nodes {
			if err := n.signal(syscall.SIGTERM); err != nil {
				return err
			}
			if err := n.ended(ctx); err != nil {
				return err
			}
			if err := s.start(ctx, n); err != nil {
				return err
			}
			restarts++
		}
	}
	asked, failed := u.counts()
	fmt.Printf("rolling restart: %d restarts in %.1f s, %d requests meanwhile, %d lost\n",
		restarts, time.Since(start).Seconds(), asked-before, len(failed)-len(failedBefore))
	return nil
}
