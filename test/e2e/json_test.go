// SPDX-License-Identifier: MIT

//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// json FILE PATH
// It prints the value at PATH, such as shards.0.layers ("." is all of it), as one line of JSON.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "json FILE PATH")
	fmt.Fprintln(ts.Stdout(), string(lookup(ts, args[0], args[1])))
}

// setenv VAR FILE PATH
// It sets the variable to the value at PATH, a text without its quotes.
func cmdSetenv(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "setenv VAR FILE PATH")
	raw := lookup(ts, args[1], args[2])
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	ts.Setenv(args[0], text)
}

// keys FILE PATH KEY...
// The object at PATH has exactly these keys, in this order.
func cmdKeys(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 3, "keys FILE PATH KEY...")
	keys, err := objectKeys(lookup(ts, args[0], args[1]))
	ts.Check(err)
	if want := args[2:]; !slices.Equal(keys, want) {
		ts.Fatalf("keys of %s:\n%s\nwant:\n%s", args[1], strings.Join(keys, " "), strings.Join(want, " "))
	}
}

// lookup returns the value at the path in the one JSON value that the file holds.
func lookup(ts *testscript.TestScript, file, path string) json.RawMessage {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(file)))
	var raw json.RawMessage
	ts.Check(d.Decode(&raw))
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("%s holds more than one JSON value", file)
	}
	for step := range strings.SplitSeq(strings.Trim(path, "."), ".") {
		if step == "" {
			continue
		}
		var err error
		if raw, err = child(raw, step); err != nil {
			ts.Fatalf("%s of %s: %v", path, file, err)
		}
	}
	return raw
}

func child(raw json.RawMessage, step string) (json.RawMessage, error) {
	if i, err := strconv.Atoi(step); err == nil {
		var array []json.RawMessage
		if err := json.Unmarshal(raw, &array); err != nil {
			return nil, err
		}
		if i >= len(array) {
			return nil, fmt.Errorf("the array has %d elements", len(array))
		}
		return array[i], nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	v, ok := object[step]
	if !ok {
		return nil, fmt.Errorf("no key %q", step)
	}
	return v, nil
}

// objectKeys lists an object's keys as they come.
func objectKeys(raw json.RawMessage) ([]string, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("want an object, have %s", raw)
	}
	var keys []string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		keys = append(keys, key.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
