// SPDX-License-Identifier: MIT

package conversation

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse: what is accepted is a system message or none, then questions and their answers, and is the same once written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}], "temperature": 0.5, "seed": 7}`))
	f.Add([]byte(`{"model": "m", "messages": []}`))
	f.Add([]byte(`{"messages": [{"role": "user", "content": "u"}], "top_k": "1"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Parse(raw)
		if err != nil {
			return
		}
		turns := s.Messages
		if len(turns)%2 == 1 && turns[0].Role == "system" {
			turns = turns[1:]
		}
		for i, m := range turns {
			if (m.Role == "user") != (i%2 == 0) || (m.Role == "assistant") != (i%2 == 1) {
				t.Fatalf("message %d is of %q", i, m.Role)
			}
		}
		for _, n := range s.Settings() {
			if *n == "" {
				*n = "0" // as it is written
			}
		}
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(s); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b.Bytes())
		if err != nil || !cmp.Equal(s, again) {
			t.Fatalf("%v\n%s", err, cmp.Diff(s, again))
		}
	})
}
