// SPDX-License-Identifier: MIT

package protocol_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// sample is a frame and its body, written out. docs/protocol.md shows the same samples as test vectors.
type sample struct {
	name  string
	frame protocol.Frame
	hex   string
}

func (s *sample) body(t testing.TB) []byte {
	t.Helper()
	return unhex(t, s.hex)
}

// unhex reads hex digits with blanks between them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rising returns the n bytes from, from+1, …
func rising[T protocol.SessionID | protocol.ModelID | [32]byte](from byte) (id T) {
	for i := range len(id) {
		switch p := any(&id).(type) {
		case *protocol.SessionID:
			p[i] = from + byte(i)
		case *protocol.ModelID:
			p[i] = from + byte(i)
		case *[32]byte:
			p[i] = from + byte(i)
		}
	}
	return id
}

// samples returns new frames at each call: at least one a type, together with every field set.
func samples() []sample {
	session, model := rising[protocol.SessionID](0), rising[protocol.ModelID](0x20)
	return []sample{
		{
			"hello",
			&protocol.Hello{Version: 1, Swarm: "lab", Nonce: rising[[32]byte](0x40), HasKey: true},
			`95 01 01 a3 6c6162
			c420 404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f c3`,
		},
		{
			"proof",
			&protocol.Proof{MAC: rising[[32]byte](0x60)},
			`92 02 c420 606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f`,
		},
		{"status-request", &protocol.StatusRequest{}, `91 03`},
		{
			"status",
			&protocol.Status{
				Peer: "12D3KooWA", Version: "v0.1.0", Swarm: "lab", Model: model, ModelName: "demo", NLayers: 32,
				Layers: protocol.LayerRange{From: 8, To: 16}, Numerics: []string{"n1/kv-f16/wire-f32", "n1/kv-f16/wire-f16"},
				Context: 2048, Sessions: 1, MaxSess: 16, KVUsed: 1 << 20, KVMax: 1 << 32, StepNanos: 200000, Draining: true,
				Addrs: []string{"/ip4/10.0.0.2/udp/4001/quic-v1"}, Loading: true, Decode: 12e9, Prefill: 3e11, Memory: 1 << 33, Moving: true,
			},
			`dc0016 04 a9 313244334b6f6f5741 a6 76302e312e30 a3 6c6162
			c420 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
			a4 64656d6f 20 92 08 10
			92 b2 6e312f6b762d6631362f776972652d663332 b2 6e312f6b762d6631362f776972652d663136
			cd0800 01 10 ce00100000 cf0000000100000000 ce00030d40 c3
			91 be 2f6970342f31302e302e302e322f7564702f343030312f717569632d7631
			c3 cf00000002cb417800 cf00000045d964b800 cf0000000200000000 c3`,
		},
		{
			"model-request",
			&protocol.ModelRequest{Model: model, Offset: 1 << 20},
			`93 05 c420 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f ce00100000`,
		},
		{
			"model-chunk",
			&protocol.ModelChunk{Total: 1<<20 + 3, Bytes: []byte{1, 2, 3}},
			`93 06 ce00100003 c403 010203`,
		},
		{
			"open",
			&protocol.Open{
				Session: session, Epoch: 1, Model: model, Numerics: "n1/kv-f16/wire-f16", Wire: protocol.F16, Path: protocol.PathRelay,
				Route: []protocol.Hop{
					{Peer: "12D3KooWA", Addrs: []string{"/ip4/10.0.0.2/tcp/9"}, Layers: protocol.LayerRange{From: 0, To: 16}},
					{Peer: "12D3KooWB", Layers: protocol.LayerRange{From: 16, To: 32}},
				},
				Index: 1, Positions: 256,
				Request: protocol.InferenceRequest{
					RequestID: "r-1", MaxTokens: 64,
					Sampling: protocol.Sampling{Temperature: 0.5, TopK: 40, TopP: 0.75, MinP: 0.25, RepeatPenalty: 1.5, RepeatLastN: 64, Seed: 1 << 63,
						PresencePenalty: 0.5, FrequencyPenalty: -0.25, Bias: []protocol.Bias{{Token: 5, Value: -1}},
						Language: 1, Grammar: []byte(`root ::= "x"`), Prompt: 9, Logprobs: 3},
				},
				Rounds: []uint32{16},
				Prefix: []protocol.TokenID{7, 300, 70000},
			},
			`dc0011 07 c410 000102030405060708090a0b0c0d0e0f 01
			c420 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
			b2 6e312f6b762d6631362f776972652d663136 02 01
			92 93 a9 313244334b6f6f5741 91 b3 2f6970342f31302e302e302e322f7463702f39 92 00 10
			   93 a9 313244334b6f6f5742 90 92 10 20
			01 cd0100
			a3 722d31 40
			9e ca3f000000 28 ca3f400000 ca3e800000 ca3fc00000 40 cf8000000000000000
			   ca3f000000 cabe800000 91 92 05 cabf800000 01 c40c 726f6f74203a3a3d20227822 09 03
			91 10 93 07 cd012c ce00011170 90 00`,
		},
		{
			"open-moving",
			&protocol.Open{
				Session: session, Epoch: 2, Model: model, Numerics: "n1/kv-f16/wire-f32", Wire: protocol.F32, Path: protocol.PathDirect,
				Route:     []protocol.Hop{{Peer: "12D3KooWA", Layers: protocol.LayerRange{From: 0, To: 32}}},
				Positions: 256,
				Request:   protocol.InferenceRequest{RequestID: "r-1", MaxTokens: 64},
				Sources: []protocol.Hop{
					{Peer: "12D3KooWB", Addrs: []string{"/ip4/10.0.0.3/tcp/9"}, Layers: protocol.LayerRange{From: 0, To: 24}},
					{Peer: "12D3KooWC", Layers: protocol.LayerRange{From: 24, To: 32}},
				},
				Rows: 200,
			},
			`dc0011 07 c410 000102030405060708090a0b0c0d0e0f 02
			c420 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
			b2 6e312f6b762d6631362f776972652d663332 01 00
			91 93 a9 313244334b6f6f5741 90 92 00 20
			00 cd0100
			a3 722d31 40
			9e ca00000000 00 ca00000000 ca00000000 ca00000000 00 00 ca00000000 ca00000000 90 00 c400 00 00 90 90
			92 93 a9 313244334b6f6f5742 91 b3 2f6970342f31302e302e302e332f7463702f39 92 00 18
			   93 a9 313244334b6f6f5743 90 92 18 20
			ccc8`,
		},
		{
			"opened",
			&protocol.Opened{Session: session, Epoch: 1, KVBytes: 65536, CachedTo: 7, KeptTo: 5},
			`96 08 c410 000102030405060708090a0b0c0d0e0f 01 ce00010000 07 05`,
		},
		{
			"attach",
			&protocol.Attach{Session: session, Epoch: 1, Index: 1},
			`94 09 c410 000102030405060708090a0b0c0d0e0f 01 01`,
		},
		{
			"attached",
			&protocol.Attached{Session: session, Epoch: 1},
			`93 0a c410 000102030405060708090a0b0c0d0e0f 01`,
		},
		{
			"step",
			&protocol.Step{
				Session: session, Epoch: 1, Step: 3, Position: 128, Tokens: []protocol.TokenID{1, 300, 70000}, Logits: []uint32{0, 2}, Sample: true,
			},
			`98 0b c410 000102030405060708090a0b0c0d0e0f 01 03 cc80 93 01 cd012c ce00011170 92 00 02 c3`,
		},
		{
			"hidden-states",
			&protocol.IntermediateResult{
				Session: session, Epoch: 1, Step: 3, Position: 128, Tokens: []protocol.TokenID{1, 300}, Logits: []uint32{1}, Sample: true,
				DType: protocol.F16, Hidden: []byte{0, 0x3c, 0, 0xc0, 0, 0, 0xff, 0x7b},
				Hops:   []protocol.HopTiming{{Layers: protocol.LayerRange{From: 0, To: 16}, Rows: 2, Processing: 100000, Queue: 5, Decode: 300, Encode: 7}},
				Digest: [16]byte{0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef},
			},
			`9f 0c c410 000102030405060708090a0b0c0d0e0f 01 03 cc80 92 01 cd012c 91 01 c3
			02 c408 003c00c00000ff7b 90 c400 90
			91 96 92 00 10 02 ce000186a0 05 cd012c 07
			c410 e0e1e2e3e4e5e6e7e8e9eaebecedeeef`,
		},
		{
			"token-and-logits",
			&protocol.IntermediateResult{
				Session: session, Epoch: 1, Step: 3, Position: 128, Tokens: []protocol.TokenID{1, 300}, Logits: []uint32{1}, Sample: true,
				DType: protocol.F32, Generated: []protocol.TokenID{2}, LogitRows: []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40},
				Logprobs: []protocol.Logprob{{Token: 2, Value: -0.5}, {Token: 1, Value: -1}},
				Hops: []protocol.HopTiming{
					{Layers: protocol.LayerRange{From: 0, To: 16}, Rows: 2, Processing: 1, Queue: 2, Decode: 3, Encode: 4},
					{Layers: protocol.LayerRange{From: 16, To: 32}, Rows: 2, Processing: 5, Queue: 6, Decode: 7, Encode: 8},
				},
			},
			`9f 0c c410 000102030405060708090a0b0c0d0e0f 01 03 cc80 92 01 cd012c 91 01 c3
			01 c400 91 02 c40c 0000803f0000000000000040 92 92 02 cabf000000 92 01 cabf800000
			92 96 92 00 10 02 01 02 03 04 96 92 10 20 02 05 06 07 08
			c410 00000000000000000000000000000000`,
		},
		{
			"truncate",
			&protocol.Truncate{Session: session, Epoch: 1, Step: 4, Position: 129},
			`95 0d c410 000102030405060708090a0b0c0d0e0f 01 04 cc81`,
		},
		{
			"close",
			&protocol.Close{Session: session, Epoch: 1},
			`93 0e c410 000102030405060708090a0b0c0d0e0f 01`,
		},
		{
			"error",
			&protocol.Error{
				Session: session, Epoch: 1, Step: 3, Code: protocol.CodeBusy, Message: "no session slot: try another node",
				Layers: protocol.LayerRange{From: 8, To: 16}, Peer: "12D3KooWA", Lost: "12D3KooWB",
			},
			`99 0f c410 000102030405060708090a0b0c0d0e0f 01 03 02
			d921 6e6f2073657373696f6e20736c6f743a2074727920616e6f74686572206e6f6465 92 08 10 a9 313244334b6f6f5741
			a9 313244334b6f6f5742`,
		},
		{
			"resume",
			&protocol.Resume{Session: session, Epoch: 2, Step: 1, Rows: []uint32{300, 0, 300}},
			`95 14 c410 000102030405060708090a0b0c0d0e0f 02 01 93 cd012c 00 cd012c`,
		},
		{
			"links-request",
			&protocol.LinksRequest{Want: []protocol.Contact{{Peer: "12D3KooWB", Addrs: []string{"/ip4/10.0.0.3/tcp/9"}}}},
			`92 15 91 92 a9 313244334b6f6f5742 91 b3 2f6970342f31302e302e302e332f7463702f39`,
		},
		{
			"links",
			&protocol.Links{Links: []protocol.LinkEstimate{
				{Peer: "12D3KooWB", RTT: 24_000_000, Jitter: 3_000_000, Loss: 1000, Bandwidth: 6_250_000},
				{Peer: "12D3KooWC", RTT: 200},
			}},
			`92 16 92 95 a9 313244334b6f6f5742 ce016e3600 ce002dc6c0 cd03e8 ce005f5e10
			95 a9 313244334b6f6f5743 ccc8 00 00 00`,
		},
		{"burst", &protocol.Burst{Rest: 65536, Pad: []byte{1, 2, 3}}, `93 17 ce00010000 c403 010203`},
		{"burst-taken", &protocol.BurstTaken{Bytes: 65536, Nanos: 5_242_880}, `93 18 ce00010000 ce00500000`},
		{
			"move",
			&protocol.Move{Model: model, Have: protocol.LayerRange{From: 4, To: 16}, Take: protocol.LayerRange{From: 8, To: 16}},
			`94 19 c420 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f 92 04 10 92 08 10`,
		},
		{"moving", &protocol.Moving{Take: protocol.LayerRange{From: 8, To: 16}}, `92 1a 92 08 10`},
		{
			"beat",
			&protocol.Beat{Number: 300, Pad: [protocol.BeatPad]byte{0xff, 1}},
			`93 10 cd012c c440 ff01` + strings.Repeat("00", protocol.BeatPad-2),
		},
		{
			"leaving",
			&protocol.Leaving{Session: session, Epoch: 1, Grace: 30_000_000_000},
			`94 11 c410 000102030405060708090a0b0c0d0e0f 01 cf00000006fc23ac00`,
		},
		{
			"export",
			&protocol.Export{Session: session, Layers: protocol.LayerRange{From: 8, To: 16}, Numerics: "n1/kv-f16/wire-f32", Position: 128, End: 300},
			`96 12 c410 000102030405060708090a0b0c0d0e0f 92 08 10 b2 6e312f6b762d6631362f776972652d663332 cc80 cd012c`,
		},
		{
			"kv-rows",
			&protocol.KVRows{
				Session: session, Layers: protocol.LayerRange{From: 30, To: 32}, Position: 128, Rows: 2, Tokens: []protocol.TokenID{1, 300},
				KV:     []byte{0, 0x3c, 0, 0xc0, 1, 0x3c, 1, 0xc0, 2, 0x3c, 2, 0xc0, 3, 0x3c, 3, 0xc0},
				Digest: [16]byte{0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef},
			},
			`98 13 c410 000102030405060708090a0b0c0d0e0f 92 1e 20 cc80 02 92 01 cd012c
			c410 003c00c0013c01c0023c02c0033c03c0 c410 e0e1e2e3e4e5e6e7e8e9eaebecedeeef`,
		},
	}
}
