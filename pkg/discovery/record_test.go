// SPDX-License-Identifier: MIT

package discovery

import (
	"bytes"
	"encoding/hex"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// testRecord is a record of key's peer that expires in half a minute.
func testRecord(tb testing.TB, key crypto.PrivKey) *Record {
	tb.Helper()
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return &Record{
		Peer: id, Model: testModel, Layers: protocol.LayerRange{From: 8, To: 16}, Seq: 7, Expiry: time.Now().Add(30 * time.Second),
		Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/192.0.2.7/udp/4001/quic-v1"), multiaddr.StringCast("/ip6/::1/tcp/4001")},
	}
}

func seal(tb testing.TB, r record.Record, key crypto.PrivKey) []byte {
	tb.Helper()
	envelope, err := record.Seal(r, key)
	if err != nil {
		tb.Fatal(err)
	}
	value, err := envelope.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// TestRecordBytes pins the payload: nodes of other versions read it.
func TestRecordBytes(t *testing.T) {
	t.Parallel()
	r := &Record{
		Peer: "\x00\x01p", Model: protocol.ModelID{0xff}, Layers: protocol.LayerRange{From: 8, To: 200}, Seq: 300, Expiry: time.Unix(0, 1<<40),
		Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/1.2.3.4/udp/5")},
	}
	payload, err := r.MarshalRecord()
	if err != nil {
		t.Fatal(err)
	}
	want := "98" + "01" + "c403000170" + "c420ff" + strings.Repeat("00", 31) + "08" + "ccc8" + "cd012c" + "cf0000010000000000" +
		"91" + "c409" + "0401020304" + "91020005"
	if got := hex.EncodeToString(payload); got != want {
		t.Errorf("payload\n%s, want\n%s", got, want)
	}
	var again Record
	if err := again.UnmarshalRecord(payload); err != nil {
		t.Fatal(err)
	}
	if again.Peer != r.Peer || again.Model != r.Model || again.Layers != r.Layers || again.Seq != r.Seq || !again.Expiry.Equal(r.Expiry) ||
		len(again.Addrs) != 1 || !again.Addrs[0].Equal(r.Addrs[0]) {
		t.Errorf("decoded %+v", again)
	}
	for n := range payload {
		if err := again.UnmarshalRecord(payload[:n]); err == nil {
			t.Errorf("the first %d bytes were accepted", n)
		}
	}
	if err := again.UnmarshalRecord(append(payload, 0)); err == nil {
		t.Error("a byte too many was accepted")
	}
	// The same numbers in a longer form: one value has one encoding.
	longer := bytes.Replace(payload, []byte{0xcd, 0x01, 0x2c}, []byte{0xce, 0, 0, 0x01, 0x2c}, 1)
	if err := again.UnmarshalRecord(longer); err == nil {
		t.Error("a number in more bytes than it needs was accepted")
	}
}

// Not parallel: it counts the process's allocations.
func TestRecordLengthsAreBoundedBeforeAllocation(t *testing.T) {
	for name, text := range map[string]string{
		"array of 2^32 fields":  "ddffffffff",
		"peer ID of 2^32 bytes": "9801c6ffffffff",
		"nil peer ID":           "9801c0",
		"2^32 addresses":        "9801c400c420" + strings.Repeat("00", 32) + "00010101ddffffffff",
		"address of 2^32 bytes": "9801c400c420" + strings.Repeat("00", 32) + "0001010191c6ffffffff",
		"layer 2^63":            "9801c400c420" + strings.Repeat("00", 32) + "cf8000000000000000",
		"negative layer":        "9801c400c420" + strings.Repeat("00", 32) + "ff",
		"another version":       "9802c400",
		"a map":                 "88",
		"nil":                   "c0",
		"nothing":               "",
	} {
		payload, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		var r Record
		if err := r.UnmarshalRecord(payload); err == nil {
			t.Errorf("%s: accepted", name)
		}
		const runs, most = 100, 8 << 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			_ = r.UnmarshalRecord(payload)
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > most {
			t.Errorf("%s: %d bytes allocated to refuse it", name, n)
		}
	}
}

// otherDomain and otherType are records signed for something else.
type (
	otherDomain struct{ *Record }
	otherType   struct{ *Record }
)

func (otherDomain) Domain() string { return "libp2p-peer-record" }
func (otherType) Codec() []byte    { return []byte("/shardnode/record/2") }

func TestValidator(t *testing.T) {
	t.Parallel()
	key, stranger := newKey(t), newKey(t)
	now := time.Now()
	v := validator{now: func() time.Time { return now }}
	good := testRecord(t, key)
	with := func(change func(*Record)) *Record {
		r := *good
		change(&r)
		return &r
	}
	manyAddrs := make([]multiaddr.Multiaddr, protocol.MaxAddrs+1)
	for i := range manyAddrs {
		manyAddrs[i] = good.Addrs[0]
	}
	flipped := seal(t, good, key)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		value []byte
		key   string // "": the record's
		want  string // of the error; "": valid
	}{
		"good":               {value: seal(t, good, key)},
		"no addresses":       {value: seal(t, with(func(r *Record) { r.Addrs = nil }), key)},
		"expires now":        {value: seal(t, with(func(r *Record) { r.Expiry = now }), key), want: "expired"},
		"expired":            {value: seal(t, with(func(r *Record) { r.Expiry = now.Add(-time.Hour) }), key), want: "expired"},
		"lives longest":      {value: seal(t, with(func(r *Record) { r.Expiry = now.Add(maxRecordAge) }), key)},
		"lives too long":     {value: seal(t, with(func(r *Record) { r.Expiry = now.Add(maxRecordAge + time.Second) }), key), want: "clock"},
		"lives for ever":     {value: seal(t, with(func(r *Record) { r.Expiry = time.Unix(0, math.MaxInt64) }), key), want: "clock"},
		"forged":             {value: seal(t, good, stranger), want: "somebody else"},
		"another's key":      {value: seal(t, testRecord(t, stranger), stranger), want: "under the key of"},
		"flipped bit":        {value: flipped, want: "signature"},
		"other domain":       {value: seal(t, otherDomain{good}, key), want: "signature"},
		"other type":         {value: seal(t, otherType{good}, key), want: "type"},
		"no layers":          {value: seal(t, with(func(r *Record) { r.Layers.To = r.Layers.From }), key), want: "layers [8,8)"},
		"layers reversed":    {value: seal(t, with(func(r *Record) { r.Layers.To = 3 }), key), want: "layers [8,3)"},
		"too many layers":    {value: seal(t, with(func(r *Record) { r.Layers.To = protocol.MaxLayers + 1 }), key), want: "at most"},
		"too many addresses": {value: seal(t, with(func(r *Record) { r.Addrs = manyAddrs }), key), want: "17 addresses"},
		"oversized":          {value: append(seal(t, good, key), make([]byte, maxRecordSize)...), want: "at most 2048"},
		"trailing bytes":     {value: append(seal(t, good, key), 0x7a, 0), want: "canonical"},
		"empty":              {value: nil, want: "open signed record"},
		"other namespace":    {value: seal(t, good, key), key: "/pk/" + good.Peer.String(), want: "want /shard/PEERID"},
		"key without a peer": {value: seal(t, good, key), key: "/shard/nobody", want: "does not end in a peer ID"},
		"peer's other form":  {value: seal(t, good, key), key: "/shard/" + peer.ToCid(good.Peer).String(), want: "does not end in a peer ID"},
		"endless key":        {value: seal(t, good, key), key: "/shard/" + strings.Repeat("1", 1<<20), want: "want /shard/PEERID"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.key == "" {
				c.key = recordKey(good.Peer)
			}
			err := v.Validate(c.key, c.value)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestSelectTakesTheNewestValidRecord(t *testing.T) {
	t.Parallel()
	key, stranger := newKey(t), newKey(t)
	v := validator{now: time.Now}
	r := testRecord(t, key)
	old := seal(t, r, key)
	r.Seq++
	newer := seal(t, r, key)
	r.Seq++
	forged := seal(t, r, stranger)
	r.Expiry = time.Now().Add(-time.Second)
	expired := seal(t, r, key)
	k := recordKey(r.Peer)
	for i, c := range []struct {
		values [][]byte
		want   int
	}{
		{[][]byte{old, newer}, 1}, {[][]byte{newer, old}, 0}, {[][]byte{forged, old}, 1}, {[][]byte{expired, forged, newer, old}, 2}, {[][]byte{old, old}, 0},
	} {
		if got, err := v.Select(k, c.values); err != nil || got != c.want {
			t.Errorf("case %d: got %d, %v, want %d", i, got, err, c.want)
		}
	}
	if _, err := v.Select(k, [][]byte{expired, forged, nil}); err == nil {
		t.Error("selected among invalid records")
	}
}

// FuzzRecord feeds the payload decoder: no panic, and what is accepted encodes to the same bytes.
func FuzzRecord(f *testing.F) {
	key := newKey(f)
	payload, err := testRecord(f, key).MarshalRecord()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add(payload[:len(payload)/2])
	f.Add([]byte{0x98, 0x01})
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Record
		if r.UnmarshalRecord(data) != nil {
			return
		}
		again, err := r.MarshalRecord()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x encodes to %x, %v", data, again, err)
		}
	})
}

// FuzzSignedRecord feeds the validator's front: no panic, and what is believed is within limits and signed by its peer.
func FuzzSignedRecord(f *testing.F) {
	key := newKey(f)
	value, err := testRecord(f, key).seal(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add(value[:len(value)-1])
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := openRecord(data)
		if err != nil {
			return
		}
		envelope, err := record.UnmarshalEnvelope(data)
		if err != nil || !r.Peer.MatchesPublicKey(envelope.PublicKey) || len(r.Addrs) > protocol.MaxAddrs || len(data) > maxRecordSize {
			t.Fatalf("believed %+v, %v", r, err)
		}
	})
}
