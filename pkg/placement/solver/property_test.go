// SPDX-License-Identifier: MIT

package solver

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestProperties: the order of devices changes nothing, more memory or bandwidth never hurts a certified optimum, and no bound is above its value,
// whatever the effort.
func TestProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for _, o := range Objectives {
			in := randomInstance(r, o, 6, 10)
			plan, err := Solve(t.Context(), in, Options{})
			if err != nil {
				continue
			}
			if !plan.Optimal || plan.Bound > plan.Cost {
				t.Fatalf("not proven: %+v of %+v", plan, in)
			}
			if again, err := Solve(t.Context(), in, Options{}); err != nil || !reflect.DeepEqual(plan, again) {
				t.Fatalf("a second time: %+v, then %+v, %v", plan, again, err)
			}
			// The patent's first device stays the first.
			first := 0
			if o == Patented {
				first = 1
			}
			v, moved := permuted(in, r, first)
			if got, err := Solve(t.Context(), v, Options{}); err != nil || got.Cost != plan.Cost || !sameRoutes(plan.Routes, got.Routes, moved) {
				t.Fatalf("permuted by %v: %+v, %v instead of %+v", moved, got, err, plan)
			}
			more := in.WithMemory(r.IntN(len(in.Devices)), 1<<28)
			more.Links = slices.Clone(in.Links)
			for i := range more.Links {
				more.Links[i] = slices.Clone(in.Links[i])
				for j := range more.Links[i] {
					more.Links[i][j].Bandwidth *= 2
				}
			}
			if got, err := Solve(t.Context(), more, Options{}); err != nil || got.Cost > plan.Cost*(1+1e-12) {
				t.Fatalf("with more memory and bandwidth: %+v, %v instead of %+v", got, err, plan)
			}
			little, err := Solve(t.Context(), in, Options{Nodes: 1 + r.Int64N(400)})
			var no *InfeasibleError
			switch {
			case errors.As(err, &no):
				t.Fatalf("with little effort: %v, though there is a plan", err)
			case err == nil && (little.Bound > little.Cost || little.Cost < plan.Cost || little.Bound > plan.Cost):
				t.Fatalf("with little effort: %+v, the optimum is %+v", little, plan)
			}
		}
	})
}

// permuted returns the instance with its devices from first on in another order, and where each of the old ones is.
func permuted(in *Instance, r *rand.Rand, first int) (*Instance, []int) {
	n := len(in.Devices)
	order := make([]int, n+1) // of old devices
	for i := range order {
		order[i] = i
	}
	r.Shuffle(n-first, func(a, b int) { order[first+a], order[first+b] = order[first+b], order[first+a] })
	v := *in
	v.Devices = make([]Device, n)
	v.Links = make([][]Link, n+1)
	moved := make([]int, n+1)
	for k, i := range order {
		moved[i] = k
		if k < n {
			v.Devices[k] = in.Devices[i]
		}
		for _, j := range order {
			v.Links[k] = append(v.Links[k], in.Links[i][j])
		}
	}
	v.Forbidden = nil
	for _, f := range in.Forbidden {
		v.Forbidden = append(v.Forbidden, [2]int{moved[f[0]], moved[f[1]]})
	}
	return &v, moved
}

func sameRoutes(a, b [][]Hop, moved []int) bool {
	want := make([][]Hop, len(a))
	for k, route := range a {
		for _, h := range route {
			want[k] = append(want[k], Hop{moved[h.Device], h.Layers})
		}
	}
	return reflect.DeepEqual(want, b)
}

// TestCancelled: a solve that is cancelled, or has little effort, says how far from the best its plan can be.
func TestCancelled(t *testing.T) {
	t.Parallel()
	in := Generate(24, 80, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Solve(ctx, in, Options{}); err != nil && !errors.Is(err, ErrNoPlan) {
		t.Fatal(err)
	}
	plan, err := Solve(t.Context(), in, Options{Nodes: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	if !plan.Cancelled || plan.Optimal || plan.Bound <= 0 || plan.Bound >= plan.Cost || plan.Gap <= 0 {
		t.Fatalf("a plan of little effort has a bound and a gap: %+v", plan)
	}
}

// TestInfeasible: which constraint fails, and by how much.
func TestInfeasible(t *testing.T) {
	t.Parallel()
	base := func() *Instance { return Generate(8, 16, 3) }
	for name, c := range map[string]struct {
		change     func(*Instance)
		constraint string
	}{
		"memory":   {func(in *Instance) { in.Devices = slices.Clone(in.Devices); shrink(in) }, "memory"},
		"devices":  {func(in *Instance) { in.MaxDevices = 1 }, "max-devices"},
		"replicas": {func(in *Instance) { in.Replicas = 2; grow(in, 1<<26) }, "memory"},
		"pairs": {func(in *Instance) {
			for i := range in.Devices {
				in.Forbidden = append(in.Forbidden, [2]int{i, len(in.Devices)})
			}
		}, "forbidden"},
	} {
		in := base()
		c.change(in)
		_, err := Solve(t.Context(), in, Options{})
		var no *InfeasibleError
		if !errors.As(err, &no) || no.Constraint != c.constraint || no.Detail == "" {
			t.Errorf("%s: %v, want one about %s", name, err, c.constraint)
		}
	}
}

func shrink(in *Instance) {
	for i := range in.Devices {
		in.Devices[i].Memory /= 4
	}
}

func grow(in *Instance, bytes int64) {
	for i := range in.Devices {
		in.Devices[i].Memory += bytes
	}
}
