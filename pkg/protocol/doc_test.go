// SPDX-License-Identifier: MIT

package protocol_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// specification is docs/protocol.md, taken apart.
type specification struct {
	tables  map[string][][]string // rows of each section's tables without the heading, by the section's title
	vectors map[string][]byte     // hex blocks by what follows "hex"
}

var cell = regexp.MustCompile(`\s*\|\s*`)

func readSpecification(t *testing.T) *specification {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := &specification{tables: map[string][][]string{}, vectors: map[string][]byte{}}
	var section, block string
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "```hex "):
			block = strings.TrimPrefix(line, "```hex ")
			if _, twice := s.vectors[block]; twice {
				t.Errorf("two vectors %q", block)
			}
			s.vectors[block] = nil
		case strings.HasPrefix(line, "```"):
			block = ""
		case block != "":
			s.vectors[block] = append(s.vectors[block], unhex(t, line)...)
		case strings.HasPrefix(line, "#"):
			section = strings.Trim(line, "# `")
		case strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") && !strings.HasPrefix(lines[i+1], "|---"):
			s.tables[section] = append(s.tables[section], cell.Split(strings.Trim(line, "| "), -1))
		}
	}
	return s
}

// column returns a column of a section's table, without code marks.
func (s *specification) column(section string, n int) []string {
	var list []string
	for _, row := range s.tables[section] {
		list = append(list, strings.Trim(row[n], "`"))
	}
	return list
}

func TestSpecificationListsTypes(t *testing.T) {
	t.Parallel()
	var want []string
	for typ := range protocol.Type(128) {
		if f := protocol.New(typ); f != nil {
			want = append(want, fmt.Sprintf("%d %s", typ, reflect.TypeOf(f).Elem().Name()))
		}
	}
	var got []string
	for _, row := range readSpecification(t).tables["Frames"] {
		got = append(got, row[0]+" "+strings.Trim(row[1], "`"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSpecificationListsFields(t *testing.T) {
	t.Parallel()
	spec := readSpecification(t)
	for _, v := range []any{protocol.Hop{}, protocol.Sampling{}, protocol.HopTiming{}, protocol.LinkEstimate{}, protocol.Contact{}} {
		typ := reflect.TypeOf(v)
		if diff := cmp.Diff(fields(typ), spec.column(typ.Name(), 0)); diff != "" {
			t.Errorf("%s: %s", typ.Name(), diff)
		}
	}
	for _, s := range samples() {
		typ := reflect.TypeOf(s.frame).Elem()
		got := spec.column(typ.Name(), 0)
		if diff := cmp.Diff(fields(typ), got); diff != "" {
			t.Errorf("%s: %s", typ.Name(), diff)
		}
		if n := len(decodeTree(t, s.body(t)).([]any)); n != 1+len(got) {
			t.Errorf("%s has %d values on the wire, the table has %d fields", typ.Name(), n, len(got))
		}
	}
}

// fields lists a struct's fields as they are on the wire: a request's without prompt and tokens, in the open frame.
func fields(typ reflect.Type) []string {
	var list []string
	for f := range typ.Fields() {
		switch {
		case f.Type == reflect.TypeFor[protocol.InferenceRequest]():
			list = append(list, fields(f.Type)...)
		case typ == reflect.TypeFor[protocol.InferenceRequest]() && (f.Name == "Prompt" || f.Name == "Tokens"):
		default:
			list = append(list, f.Name)
		}
	}
	return list
}

func TestSpecificationListsCodes(t *testing.T) {
	t.Parallel()
	var want []string
	for code := protocol.CodeInternal; !strings.HasPrefix(code.String(), "code("); code++ {
		want = append(want, fmt.Sprintf("%d %s", code, code))
	}
	var got []string
	for _, row := range readSpecification(t).tables["Error codes"] {
		got = append(got, row[0]+" "+row[1])
		if len(row) != 4 || slices.Contains(row, "") {
			t.Errorf("code %s: %d columns, want number, name, meaning and advice", row[0], len(row))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Every exported constant of limits.go is in the table, with its value.
func TestSpecificationListsLimits(t *testing.T) {
	t.Parallel()
	values := map[string]int{
		"MaxFrame": protocol.MaxFrame, "MaxTensor": protocol.MaxTensor, "MaxRows": protocol.MaxRows, "MaxPositions": protocol.MaxPositions,
		"MaxPrefix": protocol.MaxPrefix,
		"MaxVocab":  protocol.MaxVocab, "MaxRoute": protocol.MaxRoute, "MaxLayers": protocol.MaxLayers, "MaxAddrs": protocol.MaxAddrs,
		"MaxAddr": protocol.MaxAddr, "MaxPeer": protocol.MaxPeer, "MaxRequestID": protocol.MaxRequestID, "MaxMessage": protocol.MaxMessage, "MaxGrammar": protocol.MaxGrammar,
		"MaxBias": protocol.MaxBias, "MaxLogprobs": protocol.MaxLogprobs,
		"MaxName": protocol.MaxName, "MaxNumerics": protocol.MaxNumerics, "MaxSwarm": protocol.MaxSwarm, "MaxChunk": protocol.MaxChunk,
		"MaxManifest": protocol.MaxManifest, "MaxLinks": protocol.MaxLinks, "MaxBurst": protocol.MaxBurst, "MaxBurstPart": protocol.MaxBurstPart,
		"MaxDelay": protocol.MaxDelay, "MaxLoss": protocol.MaxLoss, "MaxSpeed": protocol.MaxSpeed,
	}
	got := map[string]int{}
	for _, row := range readSpecification(t).tables["Limits"] {
		n, err := strconv.Atoi(row[1])
		if err != nil {
			t.Error(err)
		}
		got[strings.Trim(row[0], "`")] = n
	}
	if diff := cmp.Diff(values, got); diff != "" {
		t.Error(diff)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "limits.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for _, name := range v.Names {
				if _, known := values[name.Name]; !known && strings.HasPrefix(name.Name, "Max") {
					t.Errorf("%s is in limits.go, not in the table", name.Name)
				}
			}
		}
		return true
	})
}

func TestSpecificationVectors(t *testing.T) {
	t.Parallel()
	vectors := readSpecification(t).vectors
	for _, s := range samples() {
		want, err := protocol.Append(nil, s.frame)
		if err != nil {
			t.Fatal(err)
		}
		r := bytes.NewReader(vectors[s.name])
		n, err := protocol.ReadLength(r, protocol.MaxFrame)
		if !bytes.Equal(vectors[s.name], want) || err != nil || n != r.Len() {
			t.Errorf("%s:\n%x, length %d, %v, want\n%x", s.name, vectors[s.name], n, err, want)
		}
		delete(vectors, s.name)
		if f, ok := s.frame.(*protocol.IntermediateResult); ok {
			name := "digest " + s.name
			if sum := protocol.Digest(f); !bytes.Equal(vectors[name], sum[:]) {
				t.Errorf("%s is %x, want %x", name, vectors[name], sum)
			}
			delete(vectors, name)
		}
		if f, ok := s.frame.(*protocol.KVRows); ok {
			name := "digest " + s.name
			if sum := protocol.KVDigest(f); !bytes.Equal(vectors[name], sum[:]) {
				t.Errorf("%s is %x, want %x", name, vectors[name], sum)
			}
			delete(vectors, name)
		}
	}
	mac := protocol.AdmissionMAC(bytes.Repeat([]byte{7}, 32), "lab", 1, "\x00\x01", "\x00\x02\x03", rising[[32]byte](0x40), rising[[32]byte](0x80))
	if !bytes.Equal(vectors["admission"], mac[:]) {
		t.Errorf("admission is %x, want %x", vectors["admission"], mac)
	}
	delete(vectors, "admission")
	for name, v := range vectors {
		t.Errorf("vector %q (%s) is of nothing here", name, hex.EncodeToString(v))
	}
}
