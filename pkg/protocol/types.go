// SPDX-License-Identifier: MIT

package protocol

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// ModelID is the SHA-256 of a model's manifest (docs/protocol.md, "Model identity").
type ModelID [32]byte

// String returns the ID in lower-case hex.
func (id ModelID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight hex digits, for people.
func (id ModelID) Short() string { return hex.EncodeToString(id[:4]) }

// SessionID names one generation's KV cache along a route. Random, 16 bytes.
type SessionID [16]byte

// String returns the ID in lower-case hex.
func (id SessionID) String() string { return hex.EncodeToString(id[:]) }

// Epoch is a route's version within a session. Frames of an older epoch are dropped.
type Epoch uint32

// TokenID indexes the model's vocabulary.
type TokenID uint32

// DefaultChunkRows is how many rows of a prompt a coordinator sends in one step unless it is told otherwise. Nodes size their buffers for it.
const DefaultChunkRows = 64

// DType is the element type of a tensor on the wire.
type DType uint8

// Wire element types. Little-endian, row-major.
const (
	F32 DType = 1 // IEEE 754 binary32
	F16 DType = 2 // IEEE 754 binary16, round to nearest even
)

// Size returns the bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	switch d {
	case F32:
		return 4
	case F16:
		return 2
	}
	return 0
}

// String returns the name used by --wire and --kv.
func (d DType) String() string {
	switch d {
	case F32:
		return "f32"
	case F16:
		return "f16"
	}
	return "dtype(" + strconv.Itoa(int(d)) + ")"
}

// ParseDType reads "f32" or "f16".
func ParseDType(s string) (DType, error) {
	switch strings.ToLower(s) {
	case "f32":
		return F32, nil
	case "f16":
		return F16, nil
	}
	return 0, fmt.Errorf("element type %q: want f32 or f16", s)
}

// LayerRange is a half-open range of transformer layers: From ≤ layer < To.
type LayerRange struct {
	From, To int
}

// ParseLayerRange reads the command line's inclusive form: "8-15" is [8,16), "7" is [7,8).
func ParseLayerRange(s string) (LayerRange, error) {
	lo, hi, isRange := strings.Cut(s, "-")
	from, err := parseLayer(lo)
	if err != nil {
		return LayerRange{}, fmt.Errorf("layer range %q: want FIRST-LAST such as 8-15, both counted from 0", s)
	}
	to := from
	if isRange {
		if to, err = parseLayer(hi); err != nil {
			return LayerRange{}, fmt.Errorf("layer range %q: want FIRST-LAST such as 8-15, both counted from 0", s)
		}
	}
	if to < from {
		return LayerRange{}, fmt.Errorf("layer range %q: the last layer comes before the first (did you mean %d-%d?)", s, to, from)
	}
	return LayerRange{From: from, To: to + 1}, nil
}

func parseLayer(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err
}

// Len returns the number of layers.
func (r LayerRange) Len() int { return r.To - r.From }

// Contains reports whether r covers all of o.
func (r LayerRange) Contains(o LayerRange) bool { return r.From <= o.From && o.To <= r.To }

// Valid reports whether the range is not empty and lies within n layers.
func (r LayerRange) Valid(n int) bool { return 0 <= r.From && r.From < r.To && r.To <= n }

// String returns the inclusive form, "8-15".
func (r LayerRange) String() string {
	if r.Len() <= 0 {
		return "none"
	}
	return strconv.Itoa(r.From) + "-" + strconv.Itoa(r.To-1)
}
