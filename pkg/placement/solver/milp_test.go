// SPDX-License-Identifier: MIT

package solver

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// other is a solver of other people that reads MPS.
type other struct {
	program string
	args    func(mps, out string) []string
	value   *regexp.Regexp // of the optimum, in what it prints or writes
	none    *regexp.Regexp // that there is no solution
}

var others = []other{
	{
		"cbc", func(mps, out string) []string {
			return []string{mps, "ratioGap", "0", "allowableGap", "0", "integerTolerance", "1e-9", "sec", "120", "solve", "solution", out}
		},
		regexp.MustCompile(`Optimal - objective value (\S+)`), regexp.MustCompile(`(?i)infeasible`),
	},
	{
		"glpsol", func(mps, out string) []string {
			return []string{"--freemps", mps, "--tmlim", "120", "-o", out}
		},
		regexp.MustCompile(`Status: +INTEGER OPTIMAL\nObjective: +cost = (\S+)`), regexp.MustCompile(`INTEGER (EMPTY|UNDEFINED)|PROBLEM HAS NO (PRIMAL|INTEGER)? ?FEASIBLE`),
	},
}

// TestAgainstOtherSolvers writes instances of up to 6 devices and 12 layers, a quarter of each objective, as MPS files and has CBC and GLPK
// solve 60 that have a plan; with SHARDNODE_EXHAUSTIVE set (make placement) 300.
func TestAgainstOtherSolvers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	wanted := 60
	if exhaustive() {
		wanted = 300
	}
	for _, o := range others {
		t.Run(o.program, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(o.program)
			if err != nil {
				t.Skipf("%s is not installed (apt-get install coinor-cbc glpk-utils): the MPS file was not checked by another solver", o.program)
			}
			r := rand.New(rand.NewPCG(5, 0))
			plans, none := 0, 0
			for k := 0; plans < wanted; k++ {
				in := randomInstance(r, Objectives[k%len(Objectives)], 6, 12)
				plan, err := Solve(t.Context(), in, Options{})
				var no *InfeasibleError
				if err != nil && !errors.As(err, &no) {
					t.Fatal(err)
				}
				got, ok := o.solve(t, path, in)
				if ok != (err == nil) {
					t.Fatalf("instance %d (%s): %v, %s finds one: %v", k, in.Objective, err, o.program, ok)
				}
				if !ok {
					none++
					continue
				}
				plans++
				if want := plan.Cost * 1000; math.Abs(got-want) > 2e-6*want+1e-6 || !plan.Optimal {
					t.Fatalf("instance %d (%s): %v ms, %s says %v", k, in.Objective, want, o.program, got)
				}
			}
			t.Logf("%d instances with the same optimum, %d with none", plans, none)
		})
	}
}

// solve returns the optimum that the other solver finds; false if it says there is no solution.
func (o *other) solve(t *testing.T, path string, in *Instance) (float64, bool) {
	t.Helper()
	dir := t.TempDir()
	mps, out := filepath.Join(dir, "in.mps"), filepath.Join(dir, "out")
	f, err := os.Create(mps)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteMPS(f, in); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	printed, err := exec.CommandContext(t.Context(), path, o.args(mps, out)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", o.program, err, printed)
	}
	written, err := os.ReadFile(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	all := append(printed, written...)
	if m := o.value.FindSubmatch(all); m != nil {
		v, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return v, true
	}
	if !o.none.Match(all) {
		t.Fatalf("%s neither solved it nor said that it cannot be solved:\n%s", o.program, all)
	}
	return 0, false
}

// TestProgrammeIsBounded refuses what would fill a disk.
func TestProgrammeIsBounded(t *testing.T) {
	t.Parallel()
	in := Generate(1000, 126, 1)
	if err := WriteLP(io.Discard, in); err == nil {
		t.Fatal("wrote 126 million variables")
	}
}
