// SPDX-License-Identifier: MIT

package cmdline

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestByteSize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]ByteSize{
		"0": 0, "1024": 1024, "512MiB": 512 << 20, "2 GiB": 2 << 30, "1.5GiB": 3 << 29, "10MB": 10e6, "7B": 7,
	} {
		var b ByteSize
		if err := b.Set(in); err != nil || b != want {
			t.Errorf("Set(%q) = %d, %v; want %d", in, b, err, want)
		}
		var again ByteSize
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("Set(String(%d) = %q) = %d, %v", b, b.String(), again, err)
		}
	}
	for _, in := range []string{"", "-1", "x", "1XB", "NaN", "9999999TiB", "1e400"} {
		var b ByteSize
		if err := b.Set(in); err == nil {
			t.Errorf("Set(%q) = %d, want an error", in, b)
		}
	}
}

func TestEnvironmentSetsFlags(t *testing.T) {
	var layers string
	var peers []string
	cmd := &cobra.Command{Use: "x", RunE: func(cmd *cobra.Command, _ []string) error { return bindEnv(cmd, "SHARDTEST") }}
	cmd.Flags().StringVar(&layers, "layers", "", "")
	cmd.Flags().StringSliceVar(&peers, "swarm-peer", nil, "")
	t.Setenv("SHARDTEST_LAYERS", "0-7")
	t.Setenv("SHARDTEST_SWARM_PEER", "a,b")
	cmd.SetArgs([]string{"--layers", "8-15"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if layers != "8-15" {
		t.Errorf("layers = %q: the command line must win over the environment", layers)
	}
	if strings.Join(peers, " ") != "a b" {
		t.Errorf("peers = %q", peers)
	}
}

func TestEnvironmentErrorsNameTheVariable(t *testing.T) {
	cmd := &cobra.Command{Use: "x", SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, _ []string) error { return bindEnv(cmd, "SHARDTEST") }}
	cmd.Flags().Int("threads", 0, "")
	t.Setenv("SHARDTEST_THREADS", "many")
	cmd.SetArgs([]string{})
	err := cmd.Execute()
	if err == nil || !strings.Contains(err.Error(), "SHARDTEST_THREADS") {
		t.Fatalf("err = %v, want one that names SHARDTEST_THREADS", err)
	}
}

func TestUnknownCommand(t *testing.T) {
	t.Parallel()
	run := func(*cobra.Command, []string) error { return nil }
	for line, want := range map[string]string{
		"":             "",
		"--version":    "",
		"infer hello":  "",
		"model":        "",
		"model look x": "",
		"help":         "",
		"completion":   "",
		"__complete i": "",
		"bogus":        `unknown command "bogus" for "root"`,
		"infre hello":  `unknown command "infre" for "root"; did you mean infer?`,
		"model bogus":  `unknown command "bogus" for "root model"`,
		"model lok":    `unknown command "lok" for "root model"; did you mean look?`,
	} {
		root := &cobra.Command{Use: "root", Args: cobra.NoArgs}
		model := &cobra.Command{Use: "model", Args: cobra.NoArgs}
		model.AddCommand(&cobra.Command{Use: "look", RunE: run})
		root.AddCommand(&cobra.Command{Use: "infer", RunE: run}, model)
		got := ""
		if err := unknownCommand(root, strings.Fields(line)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
