// SPDX-License-Identifier: MIT

package protocol_test

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestAppendAndDecodeSamples(t *testing.T) {
	t.Parallel()
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			want := s.body(t)
			got, err := protocol.AppendBody(nil, s.frame)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("body\n%x, %v, want\n%x", got, err, want)
			}
			prefix := []byte("before")
			got, err = protocol.Append(prefix, s.frame)
			if framed := append(binary.AppendUvarint([]byte("before"), uint64(len(want))), want...); err != nil || !bytes.Equal(got, framed) {
				t.Fatalf("frame\n%x, %v, want\n%x", got, err, framed)
			}
			if typ, err := protocol.Peek(want); err != nil || typ != s.frame.FrameType() {
				t.Errorf("peek: %d, %v", typ, err)
			}
			decoded, err := protocol.Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.frame, decoded, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A frame decoded into before keeps nothing of what it held.
func TestDecodeIntoUsedFrame(t *testing.T) {
	t.Parallel()
	all := samples()
	for _, s := range all {
		for _, before := range all {
			if before.frame.FrameType() != s.frame.FrameType() {
				continue
			}
			f := protocol.New(s.frame.FrameType())
			if err := protocol.DecodeInto(before.body(t), f); err != nil {
				t.Fatal(err)
			}
			if err := protocol.DecodeInto(s.body(t), f); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.frame, f, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s after %s: %s", s.name, before.name, diff)
			}
		}
	}
}

func TestDecodeRefusesPrefixesAndMore(t *testing.T) {
	t.Parallel()
	for _, s := range samples() {
		body := s.body(t)
		for n := range body {
			if f, err := protocol.Decode(body[:n:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes decode to %+v", s.name, n, len(body), f)
			}
		}
		if _, err := protocol.Decode(append(slices.Clip(body), 0)); err == nil {
			t.Errorf("%s: decodes with a byte too many", s.name)
		}
	}
}

func TestDecodeRefusesOtherTypes(t *testing.T) {
	t.Parallel()
	for _, s := range samples() {
		for _, other := range samples() {
			if other.frame.FrameType() == s.frame.FrameType() {
				continue
			}
			if err := protocol.DecodeInto(s.body(t), protocol.New(other.frame.FrameType())); err == nil {
				t.Errorf("%s decodes into %s", s.name, other.name)
			}
		}
	}
	for _, head := range []string{"", "91", "9100", "9110", "917f", "91cc80", "81 03", "c0", "dc0001 03", "dd00000001 03", "93 03 00 00"} {
		if f, err := protocol.Decode(unhex(t, head)); err == nil {
			t.Errorf("%q decodes to %+v", head, f)
		}
	}
}

// The msgpack library reads what we write, and writes the same: the format is msgpack, in its shortest form.
func TestBodiesAreMsgpack(t *testing.T) {
	t.Parallel()
	for _, s := range samples() {
		tree := decodeTree(t, s.body(t))
		if got := encodeTree(t, tree); !bytes.Equal(got, s.body(t)) {
			t.Errorf("%s: msgpack/v5 writes\n%x, want\n%x", s.name, got, s.body(t))
		}
		if want := uint64(s.frame.FrameType()); tree.([]any)[0] != want {
			t.Errorf("%s: type %v, want %d", s.name, tree.([]any)[0], want)
		}
	}
}

// decodeTree decodes a body with the msgpack library: integers are uint64, arrays []any.
func decodeTree(t testing.TB, body []byte) any {
	t.Helper()
	r := bytes.NewReader(body)
	v, err := msgpack.NewDecoder(r).DecodeInterface()
	if err != nil || r.Len() > 0 {
		t.Fatalf("%v, %d bytes left", err, r.Len())
	}
	return normalise(v)
}

// normalise makes all integers uint64: the library returns one type a width.
func normalise(v any) any {
	if list, ok := v.([]any); ok {
		for i := range list {
			list[i] = normalise(list[i])
		}
		return list
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return uint64(r.Int())
	case r.CanUint():
		return r.Uint()
	}
	return v
}

func encodeTree(t testing.TB, tree any) []byte {
	t.Helper()
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	e.UseCompactInts(true)
	if err := e.Encode(tree); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// notOnTheWire are the fields that must stay at home: the prompt's text, and its tokens, which every step carries.
var notOnTheWire = []string{"Open.Request.Prompt", "Open.Request.Tokens"}

// Every field of every frame survives the wire: the samples, which do, leave no field zero.
func TestEveryFieldIsOnTheWire(t *testing.T) {
	t.Parallel()
	set, all := map[string]bool{}, map[string]bool{}
	for _, s := range samples() {
		v := reflect.ValueOf(s.frame).Elem()
		leaves(v.Type().Name(), v, set, all)
	}
	for path := range all {
		if !set[path] && !slices.Contains(notOnTheWire, path) {
			t.Errorf("%s is zero in all samples: set it in one of them", path)
		}
	}
	for typ := range protocol.Type(128) {
		if protocol.New(typ) == nil {
			continue
		}
		name := reflect.TypeOf(protocol.New(typ)).Elem().Name()
		if !all[name] {
			t.Errorf("no sample of %s", name)
		}
	}

	open := &protocol.Open{}
	for _, s := range samples() {
		if o, ok := s.frame.(*protocol.Open); ok {
			open = o
		}
	}
	bare, err := protocol.AppendBody(nil, open)
	if err != nil {
		t.Fatal(err)
	}
	open.Request.Prompt, open.Request.Tokens = "a secret", []protocol.TokenID{1, 2, 3}
	if told, err := protocol.AppendBody(nil, open); err != nil || !bytes.Equal(told, bare) {
		t.Errorf("the prompt changes the frame: %x, %v", told, err)
	}
}

// leaves notes the paths below v in all, and in set those that are not zero. Elements of slices share a path.
func leaves(path string, v reflect.Value, set, all map[string]bool) {
	all[path] = true
	if !v.IsZero() {
		set[path] = true
	}
	switch v.Kind() {
	case reflect.Struct:
		set[path] = true // its fields count
		for i := range v.NumField() {
			leaves(path+"."+v.Type().Field(i).Name, v.Field(i), set, all)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				leaves(path+"[]", v.Index(i), set, all)
			}
		}
	}
}

// What decodes shares the body's memory, but appending to it does not write there.
func TestBytesAliasTheBody(t *testing.T) {
	t.Parallel()
	body := unhex(t, `93 06 ce00100003 c403 010203`)
	var f protocol.ModelChunk
	if err := protocol.DecodeInto(body, &f); err != nil {
		t.Fatal(err)
	}
	if &f.Bytes[0] != &body[len(body)-3] {
		t.Error("the bytes were copied")
	}
	if cap(f.Bytes) != 3 {
		t.Errorf("capacity %d reaches beyond the field", cap(f.Bytes))
	}
}
