// SPDX-License-Identifier: MIT

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Limits on requests.
const (
	maxParams   = 128       // parameters of a request
	maxMessages = 4096      // turns of a conversation
	maxParts    = 1024      // parts of one turn
	maxStops    = 16        // stop texts; OpenAI takes 4
	maxStop     = 256       // bytes of one
	maxChoices  = 16        // answers to one request: prompts times n
	maxMaxBody  = 256 << 20 // bytes: what a server may be told to take
)

// fields are a request's parameters, not decoded yet. Whoever decodes one takes it off; what is left is unknown.
type fields map[string]json.RawMessage

// readFields reads the body of a request: one JSON object of at most limit bytes.
func readFields(w http.ResponseWriter, r *http.Request, limit int64) (fields, error) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		// A web page of another origin can send text/plain, but not JSON, without asking first.
		return nil, &apiError{status: http.StatusUnsupportedMediaType, kind: typeInvalid, code: "unsupported_media_type", message: "want Content-Type: application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &apiError{status: http.StatusRequestEntityTooLarge, kind: typeInvalid, code: "request_too_large", message: fmt.Sprintf("the request's body has more than %d bytes", limit)}
	case err != nil:
		return nil, invalid("", "bad_body", "read the request's body: %v", err)
	}
	return parseFields(body)
}

// parseFields takes a JSON object apart. Names that are there twice are refused: readers differ on which one counts.
func parseFields(body []byte) (fields, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, invalid("", "bad_json", "the request's body is not a JSON object")
	}
	f := fields{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, invalid("", "bad_json", "the request's body is not valid JSON: %v", err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, invalid(clip(name), "bad_json", "the request's body is not valid JSON: %v", err)
		}
		if _, twice := f[name]; twice {
			return nil, invalid(clip(name), "duplicate_parameter", "parameter %q is there twice", clip(name))
		}
		if f[name] = raw; len(f) > maxParams {
			return nil, invalid("", "bad_json", "more than %d parameters", maxParams)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, invalid("", "bad_json", "the request's body is not valid JSON: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("", "bad_json", "something follows the JSON object")
	}
	return f, nil
}

// clip shortens what a client sent for an error that quotes it.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// take returns a parameter and takes it off. null is as good as nothing.
func (f fields) take(name string) (json.RawMessage, bool) {
	raw, ok := f[name]
	delete(f, name)
	return raw, ok && string(raw) != "null"
}

// decode reads a parameter into v where it is there. want says in words what it has to be.
func (f fields) decode(name, want string, v any) (there bool, err error) {
	raw, ok := f.take(name)
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, invalid(name, "invalid_type", "%s: want %s", name, want)
	}
	return true, nil
}

// integer reads a whole number from least to most.
func (f fields) integer(name string, v *int64, least, most int64) (there bool, err error) {
	raw, there := f.take(name)
	if !there {
		return false, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		var x float64
		if json.Unmarshal(raw, &x) != nil || x != math.Trunc(x) || math.Abs(x) >= 1<<63 {
			return false, invalid(name, "invalid_type", "%s: want a whole number from %d to %d", name, least, most)
		}
		n = int64(x) // 1e3, 16.0
	}
	if n < least || n > most {
		return false, invalid(name, "out_of_range", "%s: %d is out of range, want %d to %d", name, n, least, most)
	}
	*v = n
	return true, nil
}

// float reads a number from least to most.
func (f fields) float(name string, v *float32, least, most float64) (there bool, err error) {
	var x float64
	if there, err = f.decode(name, "a number", &x); !there {
		return false, err
	}
	if x < least || x > most {
		return false, invalid(name, "out_of_range", "%s: %g is out of range, want %g to %g", name, x, least, most)
	}
	*v = float32(x)
	return true, nil
}

// ignored are parameters that cannot change an answer here: they are for a bill, a log, a cache or a service that we do not have.
var ignored = []string{"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}

// rest refuses what nobody has taken: what we do not know might change the answer, and would not.
func (f fields) rest() error {
	for _, name := range ignored {
		delete(f, name)
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if string(f[name]) != "null" {
			return invalid(clip(name), "unknown_parameter", "Unrecognized request argument supplied: %s", clip(name))
		}
	}
	return nil
}

// only refuses a parameter that has another value than those for which there is nothing to do.
func (f fields) only(name string, values ...string) error {
	raw, ok := f.take(name)
	if !ok {
		return nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err == nil && slices.Contains(values, b.String()) {
		return nil
	}
	return invalid(name, "unsupported_parameter", "%s: not supported; leave it out", name)
}
