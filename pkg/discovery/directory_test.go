// SPDX-License-Identifier: MIT

package discovery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestDirectory walks testdata/directory: each file is one behaviour. Regenerate with -rewrite.
//
//	new ttl=30s
//	put peer=a layers=0-7 [of=32] at=1s [rtt=2ms] [model=m] [numerics=v1] [sessions=1] [max=4] [step=8ms] [draining]
//	fail peer=a at=1s          remove peer=a          expire at=40s
//	candidates [model=m] [numerics=v1]                models                failures
func TestDirectory(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/directory", func(t *testing.T, path string) {
		var d *Directory
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			if td.Cmd == "new" {
				d = NewDirectory(duration(t, td, "ttl"))
				return ""
			}
			return directoryCommand(t, d, td)
		})
	})
}

func directoryCommand(t *testing.T, d *Directory, td *datadriven.TestData) string {
	t.Helper()
	var peer, numerics string
	td.MaybeScanArgs(t, "peer", &peer)
	td.MaybeScanArgs(t, "numerics", &numerics)
	at := time.Unix(0, 0).Add(duration(t, td, "at"))
	switch td.Cmd {
	case "put":
		if err := d.Put(at, testStatus(t, td), duration(t, td, "rtt")); err != nil {
			return err.Error() + "\n"
		}
		return ""
	case "fail":
		d.Fail(at, peer, errors.New("refused"))
		return ""
	case "remove":
		return fmt.Sprintln(d.Remove(peer))
	case "expire":
		return fmt.Sprintln(d.Expire(at))
	case "failures":
		var b strings.Builder
		for _, f := range d.Failures() {
			fmt.Fprintf(&b, "%s: %v\n", f.Peer, f.Err)
		}
		return b.String()
	case "candidates":
		var b strings.Builder
		for _, c := range d.Candidates(testModelID(t, td), numerics) {
			fmt.Fprintf(&b, "%s %s step=%s rtt=%s sessions=%d/%d draining=%t\n", c.Layers, c.Peer, c.StepCost, c.RTT, c.Sessions, c.MaxSessions, c.Draining)
		}
		return b.String()
	case "models":
		var b strings.Builder
		for _, m := range d.Models() {
			fmt.Fprintf(&b, "%s: %d layers, %d nodes, missing %v\n", m.Name, m.NLayers, m.Nodes, m.Missing)
		}
		return b.String()
	}
	t.Fatalf("unknown command %s", td.Cmd)
	return ""
}

func testStatus(t *testing.T, td *datadriven.TestData) *protocol.Status {
	t.Helper()
	st := &protocol.Status{NLayers: 32, Model: testModelID(t, td), Draining: td.HasArg("draining")}
	var layers string
	numerics := "v1"
	td.ScanArgs(t, "peer", &st.Peer)
	td.ScanArgs(t, "layers", &layers)
	td.MaybeScanArgs(t, "of", &st.NLayers)
	td.MaybeScanArgs(t, "numerics", &numerics)
	td.MaybeScanArgs(t, "sessions", &st.Sessions)
	td.MaybeScanArgs(t, "max", &st.MaxSess)
	st.Numerics = strings.Split(numerics, "+")
	st.StepNanos = uint64(duration(t, td, "step"))
	st.ModelName = "m"
	td.MaybeScanArgs(t, "model", &st.ModelName)
	var err error
	if st.Layers, err = protocol.ParseLayerRange(layers); err != nil {
		t.Fatal(err)
	}
	return st
}

func testModelID(t *testing.T, td *datadriven.TestData) (id protocol.ModelID) {
	t.Helper()
	name := "m"
	td.MaybeScanArgs(t, "model", &name)
	copy(id[:], name)
	return id
}

func duration(t *testing.T, td *datadriven.TestData, arg string) time.Duration {
	t.Helper()
	var s string
	td.MaybeScanArgs(t, arg, &s)
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDirectoryBoundsFailures(t *testing.T) {
	t.Parallel()
	d := NewDirectory(time.Hour)
	for i := range 2 * maxFailures {
		d.Fail(time.Unix(int64(i), 0), fmt.Sprintf("peer%03d", i), errors.New("refused"))
	}
	f := d.Failures()
	if len(f) != maxFailures || f[0].Peer != fmt.Sprintf("peer%03d", maxFailures) {
		t.Errorf("%d failures kept, the first of %s", len(f), f[0].Peer)
	}
}

func TestDirectoryCopyIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	d := NewDirectory(time.Hour)
	st := &protocol.Status{Peer: "a", NLayers: 8, Layers: protocol.LayerRange{From: 0, To: 8}}
	if err := d.Put(time.Unix(0, 0), st, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	c := d.clone()
	c.Remove("a")
	c.Fail(time.Unix(0, 0), "b", errors.New("refused"))
	if d.Node("a") == nil || len(d.Failures()) > 0 {
		t.Error("a change of the copy shows in the original")
	}
}
