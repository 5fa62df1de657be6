// SPDX-License-Identifier: MIT

package jinja

import (
	"cmp"
	"math"
	"math/bits"
	"strings"
)

// arithmetic is l op right, of + - * / // % **.
func (r *run) arithmetic(op string, l, right Value) Value {
	r.defined(l)
	r.defined(right)
	lf, ln, lWhole, lOK := number(l)
	rf, rn, rWhole, rOK := number(right)
	switch {
	case lOK && rOK && lWhole && rWhole && op != "/" && (op != "**" || rn >= 0):
		return r.integers(op, ln, rn)
	case lOK && rOK:
		return r.floats(op, lf, rf)
	}
	switch l := l.(type) {
	case string:
		if s, ok := right.(string); ok && op == "+" {
			r.charge(len(l) + len(s))
			return l + s
		}
		if op == "*" && rOK && rWhole {
			return r.repeat(l, rn)
		}
		if op == "%" {
			return r.format(l, right)
		}
	case *List:
		if other, ok := right.(*List); ok && op == "+" && l.kind == other.kind && l.kind != isLazy {
			r.charge(16 * (len(l.items) + len(other.items)))
			return &List{items: append(append(make([]Value, 0, len(l.items)+len(other.items)), l.items...), other.items...), kind: l.kind}
		}
	}
	if s, ok := right.(string); ok && op == "*" && lOK && lWhole {
		return r.repeat(s, ln)
	}
	if _, ok := l.(string); ok && op == "+" {
		r.fail("can only concatenate str (not \"%s\") to str", typeName(right))
	}
	r.fail("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(l), typeName(right))
	return nil
}

func (r *run) repeat(s string, n int64) Value {
	if n <= 0 || s == "" {
		return ""
	}
	if n > maxMemory/int64(len(s)) {
		r.charge(maxMemory + 1)
	}
	r.charge(int(n) * len(s))
	return strings.Repeat(s, int(n))
}

// format is Python's s % v.
func (r *run) format(s string, v Value) Value {
	args := []Value{v}
	if l, ok := v.(*List); ok && l.kind == isTuple {
		args = l.items
	}
	out := r.formatPercent(s, args)
	r.charge(len(out))
	return out
}

func (r *run) integers(op string, a, b int64) Value {
	var n int64
	ok := true
	switch op {
	case "+":
		n = a + b
		ok = (n > a) == (b > 0)
	case "-":
		n = a - b
		ok = (n < a) == (b > 0)
	case "*":
		n, ok = multiply(a, b)
	case "//", "%":
		if b == 0 {
			r.fail("integer division or modulo by zero")
		}
		if b == -1 { // the one division that can overflow
			n, ok = -a, a != math.MinInt64
			if op == "%" {
				return int64(0)
			}
			break
		}
		quotient, rest := a/b, a%b
		if rest != 0 && (rest < 0) != (b < 0) { // Python rounds down
			quotient, rest = quotient-1, rest+b
		}
		if n = quotient; op == "%" {
			n = rest
		}
	case "**":
		n = 1
		for ; b > 0 && ok; b >>= 1 {
			if b&1 == 1 {
				n, ok = multiply(n, a)
			}
			if b > 1 && ok {
				a, ok = multiply(a, a)
			}
		}
	}
	if !ok {
		r.fail("an integer needs more than 64 bits")
	}
	return n
}

func multiply(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	negative := (a < 0) != (b < 0)
	return a * b, hi == 0 && (lo < 1<<63 || negative && lo == 1<<63)
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

func (r *run) floats(op string, a, b float64) Value {
	if b == 0 && (op == "/" || op == "//" || op == "%") {
		r.fail("division by zero")
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return float64(a * b)
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	case "%":
		rest := math.Mod(a, b)
		if rest != 0 && (rest < 0) != (b < 0) {
			rest += b
		}
		return rest
	}
	return math.Pow(a, b)
}

// compare is l op right, of == != < <= > >= in, not in.
func (r *run) compare(op string, l, right Value) bool {
	switch op {
	case "==":
		return r.equal(l, right, 0)
	case "!=":
		return !r.equal(l, right, 0)
	case "in":
		return r.contains(right, l)
	case "not in":
		return !r.contains(right, l)
	}
	c := r.order(op, l, right)
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (r *run) equal(a, b Value, depth int) bool {
	r.step(1)
	if depth > maxValue {
		r.fail("values are nested more than %d deep", maxValue)
	}
	af, an, aWhole, aOK := number(a)
	bf, bn, bWhole, bOK := number(b)
	if aOK || bOK {
		if aWhole && bWhole {
			return an == bn
		}
		return aOK && bOK && af == bf
	}
	switch a := a.(type) {
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	case *List:
		b, ok := b.(*List)
		if !ok || a.kind != b.kind || len(a.items) != len(b.items) {
			return false
		}
		for i := range a.items {
			if !r.equal(a.items[i], b.items[i], depth+1) {
				return false
			}
		}
		return true
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		for h, i := range a.index {
			other, ok := b.get(h)
			if !ok || !r.equal(a.values[i], other, depth+1) {
				return false
			}
		}
		return true
	}
	return a == b // strings, None, and what is only equal to itself
}

// order compares two values; op is for the message where they have no order.
func (r *run) order(op string, a, b Value) int {
	r.step(1)
	r.defined(a)
	r.defined(b)
	af, an, aWhole, aOK := number(a)
	bf, bn, bWhole, bOK := number(b)
	if aOK && bOK {
		if aWhole && bWhole {
			return cmp.Compare(an, bn)
		}
		return cmp.Compare(af, bf)
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b)
		}
	case *List:
		if b, ok := b.(*List); ok && a.kind == b.kind && a.kind != isLazy {
			for i := range min(len(a.items), len(b.items)) {
				if !r.equal(a.items[i], b.items[i], 0) {
					return r.order(op, a.items[i], b.items[i])
				}
			}
			return cmp.Compare(len(a.items), len(b.items))
		}
	}
	r.fail("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	return 0
}

// contains is Python's x in v.
func (r *run) contains(v, x Value) bool {
	switch v := v.(type) {
	case *undefined:
		return false
	case string:
		s, ok := x.(string)
		if !ok {
			r.fail("'in <string>' requires string as left operand, not %s", typeName(x))
		}
		r.step(len(v) / 64)
		return strings.Contains(v, s)
	case *List:
		for _, item := range v.items {
			if r.equal(item, x, 0) {
				return true
			}
		}
		return false
	case *Dict:
		h, ok := hash(x)
		if !ok {
			r.fail("unhashable type: '%s'", typeName(x))
		}
		_, found := v.get(h)
		return found
	}
	r.fail("argument of type '%s' is not iterable", typeName(v))
	return false
}
