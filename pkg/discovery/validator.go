// SPDX-License-Identifier: MIT

package discovery

import (
	"errors"
	"fmt"
	"time"

	dhtrecord "github.com/libp2p/go-libp2p-record"
)

// validator decides which signed records the DHT stores and believes.
type validator struct{ now func() time.Time }

var _ dhtrecord.Validator = validator{}

// Validate implements record.Validator: the key's peer has signed the record, and it holds now.
func (v validator) Validate(key string, value []byte) error {
	_, err := v.open(key, value)
	return err
}

// Select implements record.Validator: the valid record with the highest seq.
func (v validator) Select(key string, values [][]byte) (int, error) {
	best, bestSeq := -1, uint64(0)
	for i, value := range values {
		if r, err := v.open(key, value); err == nil && (best < 0 || r.Seq > bestSeq) {
			best, bestSeq = i, r.Seq
		}
	}
	if best < 0 {
		return 0, errors.New("no valid record")
	}
	return best, nil
}

func (v validator) open(key string, value []byte) (*Record, error) {
	id, err := parseRecordKey(key)
	if err != nil {
		return nil, err
	}
	r, err := openRecord(value)
	if err != nil {
		return nil, err
	}
	if r.Peer != id {
		return nil, fmt.Errorf("record of %s under the key of %s", r.Peer, id)
	}
	now := v.now()
	if !r.Expiry.After(now) {
		return nil, fmt.Errorf("record of %s expired %s ago", id, now.Sub(r.Expiry))
	}
	if r.Expiry.After(now.Add(maxRecordAge)) {
		return nil, fmt.Errorf("record of %s expires in %s, at most %s is allowed: is a clock wrong?", id, r.Expiry.Sub(now), maxRecordAge)
	}
	return r, nil
}
