// SPDX-License-Identifier: MIT

//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait for a condition.
const patience = 30 * time.Second

// processes are the programs that a script runs in the background. They belong to the script's goroutine.
type processes struct {
	tb   reporter
	list []*process
}

type processesKey struct{}

// reporter is what we need of testing.TB.
type reporter interface {
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
	Failed() bool
}

// process is a program in the background. Its stdout and stderr are in the files NAME.out and NAME.log.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	node bool
	tty  *os.File      // of the terminal that it runs in; nil: none
	done chan struct{} // closed when it has ended
}

func background(ts *testscript.TestScript) *processes {
	return ts.Value(processesKey{}).(*processes)
}

// find returns the latest process of that name.
func (p *processes) find(ts *testscript.TestScript, name string) *process {
	for i := len(p.list) - 1; i >= 0; i-- {
		if p.list[i].name == name {
			return p.list[i]
		}
	}
	ts.Fatalf("no process %q was started", name)
	return nil
}

func (p *processes) start(ts *testscript.TestScript, name, program string, args ...string) *process {
	proc := &process{name: name, log: ts.MkAbs(name + ".log"), done: make(chan struct{})}
	stdout, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(proc.log)
	ts.Check(err)
	defer stderr.Close()
	proc.cmd = exec.Command(filepath.Join(programs, program), args...)
	proc.cmd.Dir, proc.cmd.Stdout, proc.cmd.Stderr = ts.MkAbs("."), stdout, stderr
	proc.cmd.Env = environment(ts)
	ts.Check(proc.cmd.Start())
	go func() {
		_ = proc.cmd.Wait() // its state says it all
		close(proc.done)
	}()
	p.list = append(p.list, proc)
	return proc
}

func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range inherited {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// wait returns the exit code, -1 if a signal ended the process.
func (p *process) wait(limit time.Duration) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("%s still runs %v later", p.name, limit)
	}
}

// cleanup ends what a script left running: nodes must leave cleanly whatever happened before.
func (p *processes) cleanup() {
	var left []*process
	for _, proc := range p.list {
		if proc.running() {
			_ = proc.cmd.Process.Signal(syscall.SIGCONT) // a script may have stopped it
			_ = proc.cmd.Process.Signal(syscall.SIGTERM)
			left = append(left, proc)
		}
	}
	for _, proc := range left {
		code, err := proc.wait(patience)
		if err != nil {
			_ = proc.cmd.Process.Kill()
			<-proc.done
		}
		if proc.node && (err != nil || code != 0) {
			p.tb.Errorf("%s at SIGTERM: exit code %d, %v", proc.name, code, err)
		}
	}
	if p.tb.Failed() {
		for _, proc := range p.list {
			raw, _ := os.ReadFile(proc.log)
			p.tb.Logf("%s %v:\n%s", proc.name, proc.cmd.Args[1:], raw)
		}
	}
}

// start NAME PROGRAM ARG...
// It runs in the background.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "start NAME PROGRAM ARG...")
	background(ts).start(ts, args[0], args[1], args[2:]...)
}

// node NAME ARG...
// It runs shardnode in the background, with the data directory $STATE/NAME, and waits until it is ready.
func cmdNode(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "node NAME ARG...")
	background(ts).node(ts, args[0], args[1:]).ready(ts)
}

// nodes [--FLAG=VALUE...] RANGE...
// It starts a node for each range, named n0, n1, … through the whole script, and waits until all are ready.
func cmdNodes(ts *testscript.TestScript, neg bool, args []string) {
	flags := 0
	for flags < len(args) && strings.HasPrefix(args[flags], "-") {
		flags++
	}
	usage(ts, !neg && len(args) > flags, "nodes [--FLAG=VALUE...] RANGE...")
	p := background(ts)
	count := 0
	for _, proc := range p.list {
		if proc.node {
			count++
		}
	}
	var started []*process
	for i, layers := range args[flags:] {
		started = append(started, p.node(ts, "n"+strconv.Itoa(count+i), append([]string{"--layers", layers}, args[:flags]...)))
	}
	for _, proc := range started {
		proc.ready(ts)
	}
}

func (p *processes) node(ts *testscript.TestScript, name string, args []string) *process {
	proc := p.start(ts, name, "shardnode", append([]string{"--data-dir", dataDir(ts, name)}, args...)...)
	proc.node = true
	return proc
}

func dataDir(ts *testscript.TestScript, name string) string {
	return filepath.Join(ts.Getenv("STATE"), name)
}

// ready waits until the node says so itself.
func (p *process) ready(ts *testscript.TestScript) {
	poll(ts, "node "+p.name+" is ready", patience, func() (bool, error) {
		if !p.running() {
			return false, errors.New("it ended")
		}
		health := exec.Command(filepath.Join(programs, "shardnode"), "health", "--data-dir", dataDir(ts, p.name))
		health.Env = environment(ts)
		return health.Run() == nil, nil
	})
}

// busy VAR OTHER NAME NAME
// It waits until one of two nodes has a session, and names it in the first variable, the other node in the second.
func cmdBusy(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 4, "busy VAR OTHER NAME NAME")
	names := args[2:]
	poll(ts, "one of the nodes "+strings.Join(names, ", ")+" has a session", patience, func() (bool, error) {
		for i, name := range names {
			health := exec.Command(filepath.Join(programs, "shardnode"), "health", "--json", "--data-dir", dataDir(ts, name))
			health.Env = environment(ts)
			out, err := health.Output()
			if err != nil {
				return false, fmt.Errorf("health of %s: %w", name, err)
			}
			if sessions.Match(out) {
				ts.Setenv(args[0], name)
				ts.Setenv(args[1], names[1-i])
				return true, nil
			}
		}
		return false, nil
	})
}

// sessions is what the health of a node with sessions says.
var sessions = regexp.MustCompile(`"sessions":[1-9]`)

// signal NAME SIGNAL
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{
		"INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	}
	usage(ts, !neg && len(args) == 2 && signals[args[1]] != nil, "signal NAME INT|HUP|TERM|KILL|STOP|CONT")
	ts.Check(background(ts).find(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// ends NAME CODE LIMIT
// The process ends with that exit code within the limit; -1: by a signal.
func cmdEnds(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "ends NAME CODE LIMIT")
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	limit, err := time.ParseDuration(args[2])
	ts.Check(err)
	code, err := background(ts).find(ts, args[0]).wait(limit)
	ts.Check(err)
	if code != want {
		ts.Fatalf("%s ended with exit code %d, want %d", args[0], code, want)
	}
}

// halt [NAME...]
// The processes, or all nodes, end with exit code 0 at SIGTERM.
func cmdHalt(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "halt [NAME...]")
	p := background(ts)
	var procs []*process
	for _, name := range args {
		procs = append(procs, p.find(ts, name))
	}
	if len(args) == 0 {
		for _, proc := range p.list {
			if proc.node && proc.running() {
				procs = append(procs, proc)
			}
		}
	}
	for _, proc := range procs {
		ts.Check(proc.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, proc := range procs {
		code, err := proc.wait(patience)
		ts.Check(err)
		if code != 0 {
			ts.Fatalf("%s ended with exit code %d at SIGTERM", proc.name, code)
		}
	}
}
