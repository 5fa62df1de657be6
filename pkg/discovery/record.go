// SPDX-License-Identifier: MIT

package discovery

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/multiformats/go-multiaddr"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Record is a node's signed word on what it serves and where, as the DHT keeps it. It names a candidate; only the node's
// status is the truth.
type Record struct {
	Peer   peer.ID
	Model  protocol.ModelID
	Layers protocol.LayerRange
	Seq    uint64    // of records of one peer the highest counts; ns since 1970 when it was made
	Expiry time.Time // whole ns since 1970
	Addrs  []multiaddr.Multiaddr
}

var _ record.Record = (*Record)(nil)

const (
	recordVersion = 1
	recordFields  = 8
)

// Domain implements record.Record: a signature made for something else does not fit here.
func (*Record) Domain() string { return "shardnode/record" }

// Codec implements record.Record.
func (*Record) Codec() []byte { return []byte("/shardnode/record/1") }

// MarshalRecord implements record.Record. The payload is a msgpack array: version, peer ID, model ID, first layer, layer
// after the last, seq, expiry, addresses, in that order; byte values are bin, numbers unsigned and as short as possible.
func (r *Record) MarshalRecord() ([]byte, error) {
	var buf bytes.Buffer
	enc := msgpack.NewEncoder(&buf)
	err := errors.Join(
		enc.EncodeArrayLen(recordFields),
		enc.EncodeUint(recordVersion),
		enc.EncodeBytes([]byte(r.Peer)),
		enc.EncodeBytes(r.Model[:]),
		enc.EncodeUint(uint64(r.Layers.From)),
		enc.EncodeUint(uint64(r.Layers.To)),
		enc.EncodeUint(r.Seq),
		enc.EncodeUint(uint64(r.Expiry.UnixNano())),
		enc.EncodeArrayLen(len(r.Addrs)),
	)
	for _, a := range r.Addrs {
		err = errors.Join(err, enc.EncodeBytes(a.Bytes()))
	}
	return buf.Bytes(), err
}

// UnmarshalRecord implements record.Record. It accepts exactly what MarshalRecord makes.
func (r *Record) UnmarshalRecord(payload []byte) error {
	if len(payload) > maxRecordSize {
		return fmt.Errorf("record of %d bytes, at most %d are allowed", len(payload), maxRecordSize)
	}
	d := recordDecoder{in: bytes.NewReader(payload)}
	d.Decoder = msgpack.NewDecoder(d.in)
	if err := d.record(r); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	again, err := r.MarshalRecord()
	if err != nil || !bytes.Equal(again, payload) {
		return errors.New("decode record: not in canonical encoding")
	}
	return nil
}

// recordDecoder reads msgpack values whose length is checked before memory is taken for them.
type recordDecoder struct {
	*msgpack.Decoder
	in *bytes.Reader
}

func (d recordDecoder) record(r *Record) error {
	n, err := d.DecodeArrayLen()
	if err == nil && n != recordFields {
		err = fmt.Errorf("%d fields, want %d", n, recordFields)
	}
	if err != nil {
		return err
	}
	version := d.number(&err, math.MaxUint64)
	if err == nil && version != recordVersion {
		return fmt.Errorf("version %d, want %d", version, recordVersion)
	}
	r.Peer = peer.ID(d.bytes(&err, protocol.MaxPeer))
	model := d.bytes(&err, len(r.Model))
	if err == nil && len(model) != len(r.Model) {
		return fmt.Errorf("model ID of %d bytes, want %d", len(model), len(r.Model))
	}
	copy(r.Model[:], model)
	r.Layers.From = int(d.number(&err, protocol.MaxLayers))
	r.Layers.To = int(d.number(&err, protocol.MaxLayers))
	r.Seq = d.number(&err, math.MaxUint64)
	r.Expiry = time.Unix(0, int64(d.number(&err, math.MaxInt64)))
	if err != nil {
		return err
	}
	if n, err = d.DecodeArrayLen(); err != nil {
		return err
	}
	if n < 0 || n > protocol.MaxAddrs {
		return fmt.Errorf("%d addresses, at most %d are allowed", n, protocol.MaxAddrs)
	}
	r.Addrs = make([]multiaddr.Multiaddr, n)
	for i := range r.Addrs {
		b := d.bytes(&err, protocol.MaxAddr)
		if err == nil {
			r.Addrs[i], err = multiaddr.NewMultiaddrBytes(b)
		}
		if err != nil {
			return err
		}
	}
	if d.in.Len() > 0 {
		return fmt.Errorf("%d bytes too many", d.in.Len())
	}
	return nil
}

func (d recordDecoder) number(err *error, limit uint64) uint64 {
	if *err != nil {
		return 0
	}
	var v uint64
	if v, *err = d.DecodeUint64(); *err == nil && v > limit {
		*err = fmt.Errorf("number %d, at most %d is allowed", v, limit)
	}
	return v
}

func (d recordDecoder) bytes(err *error, limit int) []byte {
	if *err != nil {
		return nil
	}
	n, lenErr := d.DecodeBytesLen()
	switch {
	case lenErr != nil:
		*err = lenErr
	case n < 0 || n > limit:
		*err = fmt.Errorf("%d bytes, at most %d are allowed", n, limit)
	case n > d.in.Len():
		*err = io.ErrUnexpectedEOF
	}
	if *err != nil {
		return nil
	}
	b := make([]byte, n)
	*err = d.ReadFull(b)
	return b
}

// seal signs a record.
func (r *Record) seal(key crypto.PrivKey) ([]byte, error) {
	envelope, err := record.Seal(r, key)
	if err != nil {
		return nil, fmt.Errorf("sign record: %w", err)
	}
	return envelope.Marshal()
}

// openRecord checks size, signature and form of a signed record, and that the peer it speaks of has signed it. Whether
// it holds now is for the caller.
func openRecord(value []byte) (*Record, error) {
	if len(value) > maxRecordSize {
		return nil, fmt.Errorf("signed record of %d bytes, at most %d are allowed", len(value), maxRecordSize)
	}
	var r Record
	envelope, err := record.ConsumeTypedEnvelope(value, &r)
	if err != nil {
		return nil, fmt.Errorf("open signed record: %w", err)
	}
	if again, err := envelope.Marshal(); err != nil || !bytes.Equal(again, value) {
		return nil, errors.New("signed record: not in canonical encoding")
	}
	if !bytes.Equal(envelope.PayloadType, r.Codec()) {
		return nil, fmt.Errorf("signed record of type %.32q, want %q", envelope.PayloadType, r.Codec())
	}
	if !r.Peer.MatchesPublicKey(envelope.PublicKey) {
		return nil, errors.New("signed record: somebody else has signed it")
	}
	if !r.Layers.Valid(protocol.MaxLayers) {
		return nil, fmt.Errorf("signed record: layers [%d,%d)", r.Layers.From, r.Layers.To)
	}
	return &r, nil
}
