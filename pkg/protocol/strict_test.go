// SPDX-License-Identifier: MIT

package protocol_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// One value, one encoding: msgpack would read all of these as the sample.
func TestDecodeRefusesOtherEncodings(t *testing.T) {
	t.Parallel()
	const (
		session = "c410 000102030405060708090a0b0c0d0e0f"
		rest    = "000102030405060708090a0b0c0d0e0f"
	)
	good := "95 0d " + session + " 01 04 cc81" // truncate
	if _, err := protocol.Decode(unhex(t, good)); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"array 16":               "dc0005 0d " + session + " 01 04 cc81",
		"array 32":               "dd00000005 0d " + session + " 01 04 cc81",
		"map":                    "85 0d " + session + " 01 04 cc81",
		"type as uint 8":         "95 cc0d " + session + " 01 04 cc81",
		"epoch as uint 8":        "95 0d " + session + " cc01 04 cc81",
		"epoch as uint 16":       "95 0d " + session + " cd0001 04 cc81",
		"epoch as uint 32":       "95 0d " + session + " ce00000001 04 cc81",
		"epoch as uint 64":       "95 0d " + session + " cf0000000000000001 04 cc81",
		"epoch as int 8":         "95 0d " + session + " d001 04 cc81",
		"epoch as int 64":        "95 0d " + session + " d30000000000000001 04 cc81",
		"epoch negative":         "95 0d " + session + " ff 04 cc81",
		"epoch nil":              "95 0d " + session + " c0 04 cc81",
		"epoch a bool":           "95 0d " + session + " c3 04 cc81",
		"epoch a float":          "95 0d " + session + " ca3f800000 04 cc81",
		"epoch an extension":     "95 0d " + session + " d40001 04 cc81",
		"position as uint 16":    "95 0d " + session + " 01 04 cd0081",
		"session as bin 16":      "95 0d c50010" + rest + " 01 04 cc81",
		"session as bin 32":      "95 0d c600000010" + rest + " 01 04 cc81",
		"session as str":         "95 0d b0" + rest + " 01 04 cc81",
		"session as str 8":       "95 0d d910" + rest + " 01 04 cc81",
		"session as array":       "95 0d dc0010" + rest + " 01 04 cc81",
		"session as extension":   "95 0d d800" + rest + " 01 04 cc81",
		"session nil":            "95 0d c0 01 04 cc81",
		"session of 15 bytes":    "95 0d c40f" + rest[2:] + " 01 04 cc81",
		"session of 17 bytes":    "95 0d c411" + rest + "00 01 04 cc81",
		"a field less":           "94 0d " + session + " 01 04",
		"a field more":           "96 0d " + session + " 01 04 cc81 00",
		"epoch beyond 32 bits":   "95 0d " + session + " cf0000000100000000 04 cc81",
		"text as bin":            "95 01 01 c403 6c6162 c420" + strings.Repeat("00", 32) + " c2",
		"text as str 8":          "95 01 01 d903 6c6162 c420" + strings.Repeat("00", 32) + " c2",
		"text as str 16":         "95 01 01 da0003 6c6162 c420" + strings.Repeat("00", 32) + " c2",
		"text as str 32":         "95 01 01 db00000003 6c6162 c420" + strings.Repeat("00", 32) + " c2",
		"text nil":               "95 01 01 c0 c420" + strings.Repeat("00", 32) + " c2",
		"text not UTF-8":         "95 01 01 a3 6cff62 c420" + strings.Repeat("00", 32) + " c2",
		"text with escape":       "95 01 01 a3 6c1b62 c420" + strings.Repeat("00", 32) + " c2",
		"bool as integer":        "95 01 01 a3 6c6162 c420" + strings.Repeat("00", 32) + " 00",
		"bool nil":               "95 01 01 a3 6c6162 c420" + strings.Repeat("00", 32) + " c0",
		"list nil":               "98 0b " + session + " 01 03 cc80 93 01 cd012c ce00011170 c0 c3",
		"list as array 16":       "98 0b " + session + " 01 03 cc80 dc0003 01 cd012c ce00011170 92 00 02 c3",
		"list as map":            "98 0b " + session + " 01 03 cc80 93 01 cd012c ce00011170 81 00 02 c3",
		"layers of three":        "98 0f " + session + " 01 03 02 a0 93 08 10 11 a0",
		"layers of one":          "98 0f " + session + " 01 03 02 a0 91 08 a0",
		"float of 64 bits":       strings.Replace(openBody, "ca3f000000", "cb3fe0000000000000", 1),
		"float as integer":       strings.Replace(openBody, "ca3f000000", "01", 1),
		"sampling of thirteen":   strings.Replace(openBody, "9e ca3f000000", "9d", 1),
		"sampling a map":         strings.Replace(openBody, "9e ca3f000000", "8e ca3f000000", 1),
		"hop of two":             strings.Replace(openBody, "90 92 10 20", "92 10 20", 1),
		"hop timing of five":     strings.Replace(resultBody, "96 92 00 10 02", "95 92 00 10", 1),
		"hidden states as array": strings.Replace(resultBody, "c408", "98", 1),
		"hidden states as str":   strings.Replace(resultBody, "c408 003c00c00000ff7b", "a8 6162636465666768", 1),
	} {
		if f, err := protocol.Decode(unhex(t, body)); err == nil {
			t.Errorf("%s: decodes to %+v", name, f)
		}
	}
}

var openBody, resultBody = hexOf("open"), hexOf("hidden-states")

func hexOf(name string) string {
	for _, s := range samples() {
		if s.name == name {
			return s.hex
		}
	}
	panic("no sample " + name)
}

// at is a place in a decoded body: indices from the outside in.
type at []int

func replace(t *testing.T, s sample, place at, v any) []byte {
	t.Helper()
	tree := decodeTree(t, s.body(t))
	inner := tree.([]any)
	for _, i := range place[:len(place)-1] {
		inner = inner[i].([]any)
	}
	inner[place[len(place)-1]] = v
	return encodeTree(t, tree)
}

func repeat[T any](n int, v T) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = v
	}
	return list
}

// Each limit, met and passed by one, in bodies that the msgpack library wrote.
func TestDecodeKeepsLimits(t *testing.T) {
	t.Parallel()
	text := func(n int) any { return strings.Repeat("x", n) }
	hop := func(i int) any { return []any{"p", []any{}, []any{uint64(i), uint64(i + 1)}} }
	hops := func(n int) []any {
		list := make([]any, n)
		for i := range list {
			list[i] = hop(i)
		}
		return list
	}
	biases := func(n int) []any {
		list := make([]any, n)
		for i := range list {
			list[i] = []any{uint64(i), float32(1)}
		}
		return list
	}
	wanted := func(n int) []any {
		list := make([]any, n)
		for i := range list {
			list[i] = []any{"p", []any{}}
		}
		return list
	}
	links := func(n int) []any {
		list := make([]any, n)
		for i := range list {
			list[i] = []any{"p", uint64(1), uint64(0), uint64(0), uint64(0)}
		}
		return list
	}
	timings := func(n int) []any {
		list := make([]any, n)
		for i := range list {
			list[i] = []any{[]any{uint64(i), uint64(i + 1)}, uint64(1), uint64(0), uint64(0), uint64(0), uint64(0)}
		}
		return list
	}
	for _, c := range []struct {
		sample     string
		place      at
		most, more any
		want       string // in the error
	}{
		{"hello", at{2}, text(protocol.MaxSwarm), text(protocol.MaxSwarm + 1), "swarm has 65 bytes"},
		{"status", at{1}, text(protocol.MaxPeer), text(protocol.MaxPeer + 1), "peer has 129 bytes"},
		{"status", at{2}, text(protocol.MaxName), text(protocol.MaxName + 1), "version has"},
		{"status", at{5}, text(protocol.MaxName), text(protocol.MaxName + 1), "model name has"},
		{"status", at{6}, uint64(protocol.MaxLayers), uint64(protocol.MaxLayers + 1), "layers of the model is"},
		{"status", at{8}, repeat(protocol.MaxNumerics, "n1"), repeat(protocol.MaxNumerics+1, "n1"), "numerics has 17"},
		{"status", at{8, 0}, text(protocol.MaxName), text(protocol.MaxName + 1), "numerics ID has"},
		{"status", at{9}, uint64(protocol.MaxPositions), uint64(protocol.MaxPositions + 1), "context is"},
		{"status", at{16}, repeat(protocol.MaxAddrs, "/a"), repeat(protocol.MaxAddrs+1, "/a"), "addresses has 17"},
		{"status", at{16, 0}, text(protocol.MaxAddr), text(protocol.MaxAddr + 1), "address has"},
		{"model-request", at{2}, uint64(protocol.MaxManifest), uint64(protocol.MaxManifest + 1), "offset is"},
		{"model-chunk", at{1}, uint64(protocol.MaxManifest), uint64(protocol.MaxManifest + 1), "total is"},
		{"model-chunk", at{2}, make([]byte, protocol.MaxChunk), make([]byte, protocol.MaxChunk+1), "chunk has"},
		{"open", at{7}, hops(protocol.MaxRoute), hops(protocol.MaxRoute + 1), "route has 257"},
		{"open", at{7, 1, 1}, repeat(protocol.MaxAddrs, "/a"), repeat(protocol.MaxAddrs+1, "/a"), "addresses has 17"},
		{"open", at{7, 1, 2, 1}, uint64(protocol.MaxLayers), uint64(protocol.MaxLayers + 1), "end layer is"},
		{"open", at{9}, uint64(protocol.MaxPositions), uint64(protocol.MaxPositions + 1), "positions is"},
		{"open", at{10}, text(protocol.MaxRequestID), text(protocol.MaxRequestID + 1), "request ID has"},
		{"open", at{14}, repeat(256, uint64(7)), repeat(protocol.MaxPrefix+1, uint64(7)), "prefix has 131073"},
		{"opened", at{4}, uint64(protocol.MaxPositions), uint64(protocol.MaxPositions + 1), "cached positions is"},
		{"attach", at{3}, uint64(protocol.MaxRoute - 1), uint64(protocol.MaxRoute), "index is"},
		{"step", at{5}, repeat(protocol.MaxRows, uint64(7)), repeat(protocol.MaxRows+1, uint64(7)), "tokens has 1025"},
		{"step", at{5, 0}, uint64(protocol.MaxVocab - 1), uint64(protocol.MaxVocab), "token is"},
		{"step", at{4}, uint64(protocol.MaxPositions - 3), uint64(protocol.MaxPositions - 2), "the last position is"},
		{"hidden-states", at{13}, timings(protocol.MaxRoute), timings(protocol.MaxRoute + 1), "hops has 257"},
		{"token-and-logits", at{10}, repeat(1, uint64(2)), repeat(protocol.MaxRows+1, uint64(2)), "generated tokens has"},
		{"token-and-logits", at{12}, repeat(protocol.MaxLogprobs, []any{uint64(2), float32(-1)}), repeat(protocol.MaxLogprobs+1, []any{uint64(2), float32(-1)}), "log probabilities has 22"},
		{"open", at{12, 9}, biases(protocol.MaxBias), biases(protocol.MaxBias + 1), "bias has 1025"},
		{"open", at{12, 11}, make([]byte, protocol.MaxGrammar), make([]byte, protocol.MaxGrammar+1), "grammar has"},
		{"open", at{12, 12}, uint64(protocol.MaxPositions), uint64(protocol.MaxPositions + 1), "prompt is"},
		{"open", at{12, 13}, uint64(protocol.MaxLogprobs), uint64(protocol.MaxLogprobs + 1), "log probabilities is"},
		{"truncate", at{4}, uint64(protocol.MaxPositions), uint64(protocol.MaxPositions + 1), "position is"},
		{"error", at{4}, uint64(255), uint64(256), "code is"},
		{"error", at{5}, text(protocol.MaxMessage), text(protocol.MaxMessage + 1), "message has"},
		{"error", at{8}, text(protocol.MaxPeer), text(protocol.MaxPeer + 1), "lost peer has 129"},
		{"open-moving", at{15, 0, 0}, text(protocol.MaxPeer), text(protocol.MaxPeer + 1), "peer has 129"},
		{"open-moving", at{16}, uint64(256), uint64(257), "257 rows to take over into 256 positions"},
		{"export", at{2, 1}, uint64(protocol.MaxLayers), uint64(protocol.MaxLayers + 1), "end layer is"},
		{"export", at{3}, text(protocol.MaxName), text(protocol.MaxName + 1), "numerics ID has"},
		{"export", at{5}, uint64(protocol.MaxPositions), uint64(protocol.MaxPositions + 1), "end is"},
		{"kv-rows", at{3}, uint64(protocol.MaxPositions - 2), uint64(protocol.MaxPositions - 1), "the last position is"},
		{"kv-rows", at{5, 0}, uint64(protocol.MaxVocab - 1), uint64(protocol.MaxVocab), "token is"},
		{"status", at{18}, uint64(protocol.MaxSpeed), uint64(protocol.MaxSpeed + 1), "decode speed is"},
		{"status", at{19}, uint64(protocol.MaxSpeed), uint64(protocol.MaxSpeed + 1), "prefill speed is"},
		{"status", at{20}, uint64(protocol.MaxSpeed), uint64(protocol.MaxSpeed + 1), "memory is"},
		{"links-request", at{1}, wanted(protocol.MaxLinks), wanted(protocol.MaxLinks + 1), "peers has 65"},
		{"links", at{1}, links(protocol.MaxLinks), links(protocol.MaxLinks + 1), "links has 65"},
		{"links", at{1, 0, 1}, uint64(protocol.MaxDelay), uint64(protocol.MaxDelay + 1), "round-trip time is"},
		{"links", at{1, 0, 2}, uint64(protocol.MaxDelay), uint64(protocol.MaxDelay + 1), "jitter is"},
		{"links", at{1, 0, 3}, uint64(protocol.MaxLoss), uint64(protocol.MaxLoss + 1), "loss is"},
		{"links", at{1, 0, 4}, uint64(protocol.MaxSpeed), uint64(protocol.MaxSpeed + 1), "bandwidth is"},
		{"burst", at{1}, uint64(protocol.MaxBurst), uint64(protocol.MaxBurst + 1), "rest is"},
		{"burst", at{2}, make([]byte, protocol.MaxBurstPart), make([]byte, protocol.MaxBurstPart+1), "pad has"},
		{"burst-taken", at{1}, uint64(protocol.MaxBurst), uint64(protocol.MaxBurst + 1), "bytes is"},
		{"burst-taken", at{2}, uint64(protocol.MaxDelay), uint64(protocol.MaxDelay + 1), "time is"},
		{"move", at{3, 1}, uint64(protocol.MaxLayers), uint64(protocol.MaxLayers + 1), "end layer is"},
		{"kv-rows", at{6}, make([]byte, protocol.MaxTensor), make([]byte, protocol.MaxTensor+4), "keys and values has"},
	} {
		for _, s := range samples() {
			if s.name != c.sample {
				continue
			}
			body := replace(t, s, c.place, c.most)
			f, err := protocol.Decode(body)
			if err != nil {
				t.Errorf("%s %v at the limit: %v", c.sample, c.place, err)
			} else if again, err := protocol.AppendBody(nil, f); err != nil || !bytes.Equal(again, body) {
				t.Errorf("%s %v at the limit: encodes to other bytes, %v", c.sample, c.place, err)
			}
			if _, err := protocol.Decode(replace(t, s, c.place, c.more)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s %v beyond the limit: %v, want %q", c.sample, c.place, err, c.want)
			}
		}
	}
}

// The largest tensors fit into a frame with everything else at its largest.
func TestLargestFrame(t *testing.T) {
	t.Parallel()
	f := &protocol.IntermediateResult{
		Session: rising[protocol.SessionID](0xf0), Epoch: 1 << 31, Step: 1 << 31, Position: protocol.MaxPositions - protocol.MaxRows,
		DType: protocol.F32, Sample: true,
	}
	for i := range uint32(protocol.MaxRows) {
		f.Tokens = append(f.Tokens, protocol.MaxVocab-1)
		f.Generated = append(f.Generated, protocol.MaxVocab-1)
		f.Logits = append(f.Logits, i)
	}
	for i := range protocol.MaxRoute {
		f.Hops = append(f.Hops, protocol.HopTiming{
			Layers: protocol.LayerRange{From: 3000 + i, To: 3001 + i}, Rows: protocol.MaxRows, Processing: 1 << 63, Queue: 1 << 63, Decode: 1 << 63, Encode: 1 << 63,
		})
	}
	f.LogitRows = make([]byte, protocol.MaxTensor)
	body, err := protocol.AppendBody(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.DecodeInto(body, new(protocol.IntermediateResult)); err != nil {
		t.Error(err)
	}
	f.LogitRows = make([]byte, protocol.MaxTensor+4*protocol.MaxRows)
	if _, err := protocol.AppendBody(nil, f); err == nil {
		t.Error("a tensor beyond MaxTensor is encoded")
	}
	if err := protocol.DecodeInto(make([]byte, protocol.MaxFrame+1), f); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a body beyond MaxFrame: %v", err)
	}
}

// A few bytes cannot make the decoder take much memory, whatever length they claim.
func TestClaimsTakeNoMemory(t *testing.T) { // not parallel: measures the heap
	const head = "c410 000102030405060708090a0b0c0d0e0f 01 03 cc80 "
	for _, body := range []string{
		"98 0b " + head + "ddffffffff",                                               // tokens
		"98 0b " + head + "dc0400",                                                   // within the limit
		"9e 0c " + head + "91 01 90 c2 01 c6ffffffff",                                // hidden states
		"9e 0c " + head + "91 01 90 c2 01 c604000000",                                // within the limit
		"9e 0c " + head + "91 01 90 c2 01 c404 00000000 90 c400 dc0100",              // timings
		"93 06 ce00100000 c600100000",                                                // chunk
		"95 01 01 dbffffffff",                                                        // text
		"98 13 c410 000102030405060708090a0b0c0d0e0f 92 1e 20 cc80 02 90 c604000000", // keys and values
		"98 13 c410 000102030405060708090a0b0c0d0e0f 92 1e 20 cc80 02 dc0400",        // tokens
		strings.Replace(openBody, "92 93 a9", "dc0100 93 a9", 1),                     // route
		strings.Replace(openBody, "91 b3 2f6970342f", "ddffffffff 2f6970", 1),        // addresses
	} {
		b := unhex(t, body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := protocol.Decode(b)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s decodes", body)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s took %d bytes", body, n)
		}
	}
}
