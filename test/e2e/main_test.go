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

	"github.com/shardnode/shardnode/internal/kernel"
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

// commands are what scripts have beside testscript's own.
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"await":    cmdAwait,
	"busy":     cmdBusy,
	"capture":  cmdCapture,
	"ends":     cmdEnds,
	"exits":    cmdExits,
	"fetch":    cmdFetch,
	"json":     cmdJSON,
	"keys":     cmdKeys,
	"model":    cmdModel,
	"node":     cmdNode,
	"nodes":    cmdNodes,
	"occupy":   cmdOccupy,
	"post":     cmdPost,
	"setenv":   cmdSetenv,
	"signal":   cmdSignal,
	"sparse":   cmdSparse,
	"start":    cmdStart,
	"halt":     cmdHalt,
	"terminal": cmdTerminal,
	"type":     cmdType,
	"until":    cmdUntil,
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
		Cmds:                commands,
	})
}

// TestCommandsAreOurs: a command by the name of one of testscript's own would never be called, and one called stop ends a script.
func TestCommandsAreOurs(t *testing.T) {
	t.Parallel()
	for name := range commands {
		t.Run(name, func(t *testing.T) {
			dir, called := t.TempDir(), false
			if err := os.WriteFile(filepath.Join(dir, "script.txt"), []byte(name+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			record := func(*testscript.TestScript, bool, []string) { called = true }
			t.Run("script", func(t *testing.T) {
				testscript.Run(t, testscript.Params{Dir: dir, Cmds: map[string]func(*testscript.TestScript, bool, []string){name: record}})
			})
			if !called {
				t.Error("testscript has a command of this name")
			}
		})
	}
}

// condition knows [hup]: SIGHUP reaches the programs; under nohup it does not, and they inherit that. And [packs]: the nodes' processor
// wants weights packed.
func condition(name string) (bool, error) {
	switch name {
	case "hup":
		return !signal.Ignored(syscall.SIGHUP), nil
	case "packs":
		return kernel.Path() != "generic", nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// inherited are the variables that background programs get from the script.
var inherited = []string{
	"PATH", "HOME", "TMPDIR", "XDG_STATE_HOME",
	"SHARDNODE_SWARM", "SHARDNODE_SWARM_KEY", "SHARDNODE_THREADS", "SHARDNODE_CPU", "COORDINATOR_SWARM", "COORDINATOR_SWARM_KEY", "COORDINATOR_WAIT",
}

// setup gives a script its state directory, $STATE, its swarm, $SWARM, and where tiny models of other families are, $ARCH.
func setup(env *testscript.Env) error {
	arch, err := filepath.Abs(filepath.Join("..", "..", "pkg", "layers", "testdata", "arch"))
	if err != nil {
		return err
	}
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
		"ARCH":              arch,
	} {
		env.Setenv(name, value)
	}
	return nil
}
