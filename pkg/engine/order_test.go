// SPDX-License-Identifier: MIT

package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestOrder walks testdata/order. Commands, one a block; each prints its verdict and the state after it:
//
//	open epoch=E positions=N            a fresh session
//	reopen epoch=E kept=N positions=N   a new epoch of it
//	rows epoch=E step=S position=P n=N  [session=other]
//	truncate epoch=E step=S position=P  [session=other]
func TestOrder(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/order", func(t *testing.T, path string) {
		var o order
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			arg := func(name string) (v uint32) {
				d.MaybeScanArgs(t, name, &v)
				return v
			}
			session := o.session
			if d.HasArg("session") {
				session[0]++
			}
			epoch := protocol.Epoch(arg("epoch"))
			var out string
			switch d.Cmd {
			case "open":
				o = order{epoch: epoch, limit: arg("positions")}
				out = "opened"
			case "reopen":
				next, err := o.reopen(epoch, arg("kept"), arg("positions"))
				if out = "reopened"; err != nil {
					out = err.Error()
				} else {
					o = next
				}
			case "rows":
				out = outcome(o.rows(session, epoch, arg("step"), arg("position"), int(arg("n"))))
			case "truncate":
				out = outcome(o.truncate(session, epoch, arg("step"), arg("position")))
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			return fmt.Sprintf("%s\nepoch %d, step %d, next %d/%d\n", strings.TrimSpace(out), o.epoch, o.step, o.next, o.limit)
		})
	})
}

func outcome(v verdict, err *protocol.Error) string {
	if err != nil {
		return err.Error()
	}
	return [...]string{accept: "accept", stale: "drop: stale epoch", duplicate: "drop: duplicate"}[v]
}
