// SPDX-License-Identifier: MIT

//go:build unix

// Package e2e runs both programs as users do: the scripts under testdata/script start real nodes and coordinators, with the
// embedded demo model, and look at output, logs and exit codes. It holds tests only. Scripts run in parallel: each has its own
// state directory and its own swarm.
package e2e

import (
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the texts in the scripts that differ from what the programs print")

// version is stamped into the programs the way a release is.
const version = "v0.0.0-e2e"

var programs string // directory with both programs

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "shardnode-e2e")
	if err == nil {
		programs = dir
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build compiles both programs with the flags of the Makefile.
func build(dir string) error {
	const module = "github.com/shardnode/shardnode"
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X "+module+"/internal/cmdline.version="+version,
		"-o", dir, module+"/cmd/shardnode", module+"/cmd/coordinator")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup:               setup,
		RequireExplicitExec: true,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":  cmdAwait,
			"ends":   cmdEnds,
			"exits":  cmdExits,
			"json":   cmdJSON,
			"keys":   cmdKeys,
			"model":  cmdModel,
			"node":   cmdNode,
			"nodes":  cmdNodes,
			"occupy": cmdOccupy,
			"setenv": cmdSetenv,
			"signal": cmdSignal,
			"start":  cmdStart,
			"stop":   cmdStop,
			"until":  cmdUntil,
		},
	})
}

// condition knows [hup]: SIGHUP reaches the programs. Under nohup it does not, and they inherit that.
func condition(name string) (bool, error) {
	if name == "hup" {
		return !signal.Ignored(syscall.SIGHUP), nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// inherited are the variables that background programs get from the script.
var inherited = []string{
	"PATH", "HOME", "TMPDIR", "XDG_STATE_HOME",
	"SHARDNODE_SWARM", "SHARDNODE_SWARM_KEY", "SHARDNODE_THREADS", "COORDINATOR_SWARM", "COORDINATOR_SWARM_KEY", "COORDINATOR_WAIT",
}

// setup gives a script its state directory, $STATE, and its swarm, $SWARM.
func setup(env *testscript.Env) error {
	// Not under the script's work directory: a unix socket's path is short.
	state, err := os.MkdirTemp("", "sn")
	if err != nil {
		return err
	}
	env.Defer(func() { os.RemoveAll(state) })
	procs := &processes{tb: env.T().(reporter)}
	env.Defer(procs.cleanup)
	env.Values[processesKey{}] = procs

	swarm := "e2e-" + strings.ToLower(rand.Text()[:10])
	for name, value := range map[string]string{
		"PATH":  programs + string(os.PathListSeparator) + env.Getenv("PATH"),
		"STATE": state, "XDG_STATE_HOME": state,
		"SWARM": swarm, "SHARDNODE_SWARM": swarm, "COORDINATOR_SWARM": swarm,
		"SHARDNODE_THREADS": "1",
		"COORDINATOR_WAIT":  "30s", // patience on a busy machine; scripts that wait for an error set less
		"VERSION":           version,
	} {
		env.Setenv(name, value)
	}
	return nil
}
