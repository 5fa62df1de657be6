// SPDX-License-Identifier: MIT

// Package cmdline holds what the command lines of shardnode and coordinator share: environment variables for flags,
// exit codes, build information, byte sizes and progress. The cmd packages use it, and internal/node for sizes in its errors.
package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/internal/kernel"
)

// Exit codes of both programs.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// UsageError marks an error as the caller's: exit code 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a [UsageError].
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// OwnInterrupts is the annotation of a command that takes SIGINT itself: [Run] does not end it for one.
const OwnInterrupts = "own-interrupts"

// Run executes root until it ends or the process is told to (SIGINT, SIGTERM, SIGHUP; a second signal kills at once), prints its
// error to stderr and returns the exit code. envPrefix names the environment variables, such as "SHARDNODE".
func Run(root *cobra.Command, envPrefix string) int {
	signals := []os.Signal{syscall.SIGTERM}
	if cmd, _, err := root.Find(os.Args[1:]); err != nil || cmd.Annotations[OwnInterrupts] == "" {
		signals = append(signals, os.Interrupt)
	}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup it is
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, stop)

	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = Version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{err} })
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := kernel.PathError(); err != nil {
			return &UsageError{err}
		}
		return bindEnv(cmd, envPrefix)
	}

	err := unknownCommand(root, os.Args[1:])
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return ExitOK
	}
	return report(os.Stderr, root.Name(), err)
}

// unknownCommand returns an error if args name a command that a group of commands does not have. Left alone, cobra prints the group's
// help and succeeds.
func unknownCommand(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	cmd, rest, err := root.Find(args)
	if err != nil || cmd.Runnable() || len(rest) == 0 {
		return nil // cobra says what is wrong, if anything is
	}
	name := rest[0]
	if strings.HasPrefix(name, "-") || name == cobra.ShellCompRequestCmd || name == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return Usagef("unknown command %q for %q%s", name, cmd.CommandPath(), hint)
}

func report(w io.Writer, name string, err error) int {
	var silent *silentError
	if !errors.As(err, &silent) {
		fmt.Fprintf(w, "%s: %v\n", name, err)
	}
	var usage *UsageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag") {
		fmt.Fprintf(w, "Run '%s --help' for usage.\n", name)
		return ExitUsage
	}
	return ExitFailed
}

// silentError fails the program without another word.
type silentError struct{ error }

// Silent wraps an error that was already told to the user.
func Silent(err error) error { return &silentError{err} }

// bindEnv sets each flag not given on the command line from its environment variable: --swarm-key is PREFIX_SWARM_KEY. Flags that
// repeat take a comma-separated list.
func bindEnv(cmd *cobra.Command, prefix string) error {
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Name == "version" {
			return
		}
		if f.NoOptDefVal != "" && f.Value.Type() == "string" {
			return // giving the flag at all means something: the command looks for itself
		}
		name := prefix + "_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			errs = append(errs, Usagef("environment variable %s=%q: %v", name, value, err))
		}
	})
	return errors.Join(errs...)
}

// version is set by the release build: -ldflags "-X …/internal/cmdline.version=v1.2.3".
var version string

// Version describes the build: release, commit, Go version and platform.
func Version() string {
	v, revision := version, ""
	info, ok := debug.ReadBuildInfo()
	if ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				revision = s.Value[:12] + revision
			case s.Key == "vcs.modified" && s.Value == "true":
				revision += "+changes"
			}
		}
	}
	if v == "" {
		v = "(devel)"
	}
	if revision != "" {
		revision = " commit " + revision
	}
	return fmt.Sprintf("%s%s %s %s/%s", v, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// ShortVersion is the release alone.
func ShortVersion() string {
	short, _, _ := strings.Cut(Version(), " ")
	return short
}
