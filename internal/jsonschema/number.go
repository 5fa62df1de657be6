// SPDX-License-Identifier: MIT

package jsonschema

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// largest is the largest whole number that is written.
const largest = 9_999_999_999_999_999

// fraction is what may follow a whole number.
const fraction = `("." [0-9]{1,16})?`

// number is a number within bounds. Those of numbers that need not be whole must be whole themselves, and are never exclusive.
func (c *compiler) number(where, t string, s object) (string, error) {
	least, most := int64(-largest), int64(largest)
	for _, b := range []struct {
		keyword string
		limit   *int64
		step    int64 // to the next number that is allowed; 0: the bound itself is
	}{{"minimum", &least, 0}, {"exclusiveMinimum", &least, 1}, {"maximum", &most, 0}, {"exclusiveMaximum", &most, -1}} {
		v, ok := s.get(b.keyword)
		if !ok {
			continue
		}
		n, whole := wholeNumber(v)
		switch {
		case !whole:
			return "", &Error{where, b.keyword, fmt.Sprintf("want a whole number from -%d to %d", int64(largest), int64(largest))}
		case b.step != 0 && t == "number":
			return "", &Error{where, b.keyword, "supported for integers only: use minimum and maximum"}
		}
		if n += b.step; strings.HasSuffix(strings.ToLower(b.keyword), "minimum") {
			*b.limit = max(*b.limit, n)
		} else {
			*b.limit = min(*b.limit, n)
		}
	}
	if least > most {
		return "", &Error{where, "minimum", "above the maximum"}
	}
	between := wholes
	if t == "number" {
		between = numbers
	}
	var list []string
	if most >= 0 {
		list = append(list, between(max(least, 0), most)...)
	}
	if least < 0 {
		for _, e := range between(max(-most, 1), -least) {
			list = append(list, `"-" `+e)
		}
		if t == "number" && most >= 0 { // between -1 and 0
			list = append(list, `"-0" "." [0-9]{1,16}`)
		}
	}
	return c.define(strings.Join(list, " | ")), nil
}

// wholeNumber reads a bound.
func wholeNumber(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	if i, err := n.Int64(); err == nil {
		return i, i >= -largest && i <= largest
	}
	f, err := n.Float64()
	return int64(f), err == nil && f == math.Trunc(f) && math.Abs(f) <= largest
}

// numbers are expressions of the numbers from lo to hi, neither negative, with fractions.
func numbers(lo, hi int64) []string {
	list := []string{strconv.Quote(strconv.FormatInt(hi, 10)) + ` ("." "0"{1,16})?`}
	if lo < hi {
		for _, e := range wholes(lo, hi-1) {
			list = append(list, e+" "+fraction)
		}
	}
	return list
}

// wholes are expressions of the whole numbers from lo to hi, neither negative.
func wholes(lo, hi int64) []string {
	var list []string
	for shortest, longest := int64(0), int64(9); shortest <= hi; shortest, longest = longest+1, longest*10+9 {
		if a, b := max(lo, shortest), min(hi, longest); a <= b {
			list = append(list, sameLength(strconv.FormatInt(a, 10), strconv.FormatInt(b, 10))...)
		}
		if longest >= largest {
			break
		}
	}
	return list
}

// sameLength are expressions of the numbers from lo to hi, which have as many digits as each other.
func sameLength(lo, hi string) []string {
	if lo == hi {
		return []string{strconv.Quote(lo)}
	}
	same := 0
	for lo[same] == hi[same] {
		same++
	}
	a, b, rest := lo[same], hi[same], len(lo)-same-1
	with := func(digit byte, list []string) []string {
		for i := range list {
			list[i] = strconv.Quote(lo[:same]+string(digit)) + " " + list[i]
		}
		return list
	}
	var list []string
	if rest > 0 && lo[same+1:] != strings.Repeat("0", rest) {
		list = append(list, with(a, sameLength(lo[same+1:], strings.Repeat("9", rest)))...)
		a++
	}
	if rest > 0 && hi[same+1:] != strings.Repeat("9", rest) {
		list = append(list, with(b, sameLength(strings.Repeat("0", rest), hi[same+1:]))...)
		b--
	}
	if a <= b {
		list = append(list, fmt.Sprintf("%s [%c-%c] [0-9]{%d}", strconv.Quote(lo[:same]), a, b, rest))
	}
	return list
}
