// SPDX-License-Identifier: MIT

package protocol_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestCodes(t *testing.T) {
	t.Parallel()
	seen := map[string]protocol.Code{}
	for code := protocol.CodeInternal; code <= protocol.CodeBadRequest; code++ {
		name := code.String()
		if other, ok := seen[name]; ok || name == fmt.Sprintf("code(%d)", uint8(code)) {
			t.Errorf("code %d has name %q, code %d as well", code, name, other)
		}
		seen[name] = code
		err := fmt.Errorf("open: %w", protocol.Errorf(code, "no %s", "way"))
		if !errors.Is(err, &protocol.Error{Code: code}) || errors.Is(err, &protocol.Error{Code: code + 1}) {
			t.Errorf("code %s is not told from others", code)
		}
		var wire *protocol.Error
		if !errors.As(err, &wire) || wire.Message != "no way" {
			t.Errorf("code %s: %v", code, wire)
		}
	}
	if past := (protocol.CodeBadRequest + 1).String(); past != "code(16)" {
		t.Errorf("a code beyond the last is %q: raise this test's bound", past)
	}
}

func TestErrorWords(t *testing.T) {
	t.Parallel()
	e := protocol.Errorf(protocol.CodeBusy, "all %d slots are in use", 4)
	if got, want := e.Error(), "all 4 slots are in use (busy)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e.Layers, e.Peer = protocol.LayerRange{From: 8, To: 16}, "12D3KooWA"
	if got, want := e.Error(), "shard 8-15 at 12D3KooWA: all 4 slots are in use (busy)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLayerRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want protocol.LayerRange
	}{{"8-15", protocol.LayerRange{From: 8, To: 16}}, {"0-0", protocol.LayerRange{From: 0, To: 1}}, {"7", protocol.LayerRange{From: 7, To: 8}}} {
		got, err := protocol.ParseLayerRange(c.in)
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.in, got, err)
		}
		if back, err := protocol.ParseLayerRange(got.String()); err != nil || back != got {
			t.Errorf("%q is written %q and read %+v, %v", c.in, got, back, err)
		}
	}
	for _, in := range []string{"", "-", "1-", "-1", "15-8", "a-b", "1-2-3", "70000", "+1", " 1", "0x1"} {
		if got, err := protocol.ParseLayerRange(in); err == nil {
			t.Errorf("%q is read as %+v", in, got)
		}
	}
	r := protocol.LayerRange{From: 8, To: 16}
	if !r.Contains(protocol.LayerRange{From: 8, To: 16}) || r.Contains(protocol.LayerRange{From: 7, To: 9}) || r.Contains(protocol.LayerRange{From: 15, To: 17}) {
		t.Error("contains")
	}
	if !r.Valid(16) || r.Valid(15) || (protocol.LayerRange{From: 3, To: 3}).Valid(16) || (protocol.LayerRange{From: -1, To: 3}).Valid(16) {
		t.Error("valid")
	}
}

func TestDType(t *testing.T) {
	t.Parallel()
	for _, d := range []protocol.DType{protocol.F32, protocol.F16} {
		if got, err := protocol.ParseDType(d.String()); err != nil || got != d || d.Size() == 0 {
			t.Errorf("%s: %v, %v", d, got, err)
		}
	}
	if _, err := protocol.ParseDType("q8"); err == nil || protocol.DType(0).Size() != 0 || protocol.DType(9).String() != "dtype(9)" {
		t.Errorf("unknown types: %v", err)
	}
}
