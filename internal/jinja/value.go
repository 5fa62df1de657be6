// SPDX-License-Identifier: MIT

package jinja

import (
	"fmt"
	"math"
)

// Value is what an expression yields: nil (None), bool, int64, float64, string, [*List], [*Dict], or one of this package's own kinds.
// Numbers in integer form that do not fit an int64 are float64.
type Value any

// List is a Python list or tuple, or what a filter yields item by item.
type List struct {
	items []Value
	kind  listKind
}

type listKind uint8

const (
	isList listKind = iota
	isTuple
	isLazy // a generator: true even if empty
)

// NewList returns a list. It owns items from then on.
func NewList(items ...Value) *List { return &List{items: items} }

// Dict is a mapping that keeps the order its keys came in.
type Dict struct {
	keys, values []Value
	index        map[any]int // by hash
}

// NewDict returns an empty mapping.
func NewDict() *Dict { return &Dict{index: map[any]int{}} }

// Set puts a value under a string. It returns d.
func (d *Dict) Set(key string, v Value) *Dict {
	d.put(key, key, v)
	return d
}

// Has reports whether a key is there.
func (d *Dict) Has(key string) bool {
	_, ok := d.index[key]
	return ok
}

func (d *Dict) put(hash any, key, v Value) {
	if i, ok := d.index[hash]; ok {
		d.values[i] = v
		return
	}
	d.index[hash] = len(d.keys)
	d.keys, d.values = append(d.keys, key), append(d.values, v)
}

func (d *Dict) get(hash any) (Value, bool) {
	if i, ok := d.index[hash]; ok {
		return d.values[i], true
	}
	return nil, false
}

// tupleKey is a tuple's hash: how it prints.
type tupleKey string

// noneKey is None's.
type noneKey struct{}

// hash returns what a key of a mapping is found by, the same for what Python calls equal.
func hash(v Value) (any, bool) {
	switch v := v.(type) {
	case nil:
		return noneKey{}, true
	case string:
		return v, true
	case bool:
		return toInt(v), true
	case int64:
		return v, true
	case float64:
		if n := int64(v); float64(n) == v && math.Abs(v) < 1<<62 {
			return n, true
		}
		return v, true
	case *List:
		if v.kind == isTuple {
			return tupleKey(repr(v)), true
		}
	}
	return nil, false
}

// Undefined is what a name or attribute that does not exist yields. It prints as nothing; most uses of it are errors.
type undefined struct {
	why string
}

// Namespace is the one value whose attributes a template can set.
type namespace struct {
	attrs *Dict
}

// Function is what a template can call: a macro, a method or a global function.
type Function struct {
	name string
	call func(r *run, a *arguments) Value
}

func toInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// truth is Python's bool(v).
func truth(v Value) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *List:
		return len(v.items) > 0 || v.kind == isLazy
	case *Dict:
		return len(v.keys) > 0
	}
	return true
}

// typeName is Python's name of a value's type.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *List:
		return [...]string{"list", "tuple", "generator"}[v.kind]
	case *Dict:
		return "dict"
	case *undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *loop:
		return "LoopContext"
	case *Function:
		return "function"
	}
	return fmt.Sprintf("%T", v)
}

// number returns v as a float64 and, where it is one, as an integer.
func number(v Value) (f float64, n int64, whole, ok bool) {
	switch v := v.(type) {
	case bool:
		return float64(toInt(v)), toInt(v), true, true
	case int64:
		return float64(v), v, true, true
	case float64:
		return v, 0, false, true
	}
	return 0, 0, false, false
}
