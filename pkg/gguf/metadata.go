// SPDX-License-Identifier: MIT

package gguf

import (
	"errors"
	"fmt"
)

// ErrNoKey says that a metadata key is absent. Getters never hide a missing or mistyped key behind a zero.
var ErrNoKey = errors.New("no such metadata key")

// Metadata is a GGUF file's key/value section in file order. Values have exactly these Go types: uint8, int8,
// uint16, int16, uint32, int32, uint64, int64, float32, float64, bool, string, and slices of those
// ([]string for string arrays; nested arrays are refused by the reader).
type Metadata struct {
	Keys   []string
	values map[string]any
}

// Set adds or replaces a value. [Write] refuses a type that GGUF does not have.
func (m *Metadata) Set(key string, value any) {
	if m.values == nil {
		m.values = map[string]any{}
	}
	if _, ok := m.values[key]; !ok {
		m.Keys = append(m.Keys, key)
	}
	m.values[key] = value
}

// Get returns the raw value.
func (m *Metadata) Get(key string) (any, bool) {
	v, ok := m.values[key]
	return v, ok
}

// Has reports whether the key is present.
func (m *Metadata) Has(key string) bool {
	_, ok := m.values[key]
	return ok
}

// String returns a string value, or an error that wraps [ErrNoKey] or names the type found.
func (m *Metadata) String(key string) (string, error) { return get[string](m, key) }

// Bool returns a bool value.
func (m *Metadata) Bool(key string) (bool, error) { return get[bool](m, key) }

// Strings returns a string array.
func (m *Metadata) Strings(key string) ([]string, error) { return get[[]string](m, key) }

// Uint returns any non-negative integer value.
func (m *Metadata) Uint(key string) (uint64, error) {
	v, ok := m.values[key]
	if !ok {
		return 0, fmt.Errorf("%s: %w", key, ErrNoKey)
	}
	n, ok := asInt(v)
	if !ok || n < 0 {
		return 0, fmt.Errorf("%s: want a non-negative integer, found %T %v", key, v, v)
	}
	return uint64(n), nil
}

// Float returns any floating-point value.
func (m *Metadata) Float(key string) (float64, error) {
	switch v := m.values[key].(type) {
	case float32:
		return float64(v), nil
	case float64:
		return v, nil
	case nil:
		return 0, fmt.Errorf("%s: %w", key, ErrNoKey)
	default:
		return 0, fmt.Errorf("%s: want a float, found %T", key, v)
	}
}

// Floats returns a float32 array.
func (m *Metadata) Floats(key string) ([]float32, error) { return get[[]float32](m, key) }

// Ints returns an int32 array (also from uint32 and other integer arrays that fit).
func (m *Metadata) Ints(key string) ([]int32, error) {
	switch v := m.values[key].(type) {
	case []int32:
		return v, nil
	case []uint32:
		out := make([]int32, len(v))
		for i, x := range v {
			if x > 1<<31-1 {
				return nil, fmt.Errorf("%s[%d]: %d does not fit 32 bits signed", key, i, x)
			}
			out[i] = int32(x)
		}
		return out, nil
	case nil:
		return nil, fmt.Errorf("%s: %w", key, ErrNoKey)
	default:
		return nil, fmt.Errorf("%s: want an integer array, found %T", key, v)
	}
}

func get[T any](m *Metadata, key string) (T, error) {
	var zero T
	v, ok := m.values[key]
	if !ok {
		return zero, fmt.Errorf("%s: %w", key, ErrNoKey)
	}
	t, ok := v.(T)
	if !ok {
		return zero, fmt.Errorf("%s: want %T, found %T", key, zero, v)
	}
	return t, nil
}

func asInt(v any) (int64, bool) {
	switch n := v.(type) {
	case uint8:
		return int64(n), true
	case int8:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int16:
		return int64(n), true
	case uint32:
		return int64(n), true
	case int32:
		return int64(n), true
	case uint64:
		return int64(n), n < 1<<63
	case int64:
		return n, true
	}
	return 0, false
}
