// SPDX-License-Identifier: MIT

package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/shardnode/shardnode/internal/waterfall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is an OTLP receiver: it takes what OpenTelemetry's own schema takes.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	got    chan *collector.TracesData
	status int
}

func startReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, got: make(chan *collector.TracesData, 16), status: http.StatusOK}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil || req.Method != http.MethodPost || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("X-Key") != "a b" {
			t.Errorf("%s %s %v: %v", req.Method, req.URL, req.Header, err)
		}
		r.got <- parse(t, body)
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.server.Close)
	return r
}

// parse reads a request by the published schema; unknown fields fail. IDs are hexadecimal in OTLP's JSON, and base64 in that of protobuf.
func parse(t *testing.T, body []byte) *collector.TracesData {
	body = regexp.MustCompile(`"(traceId|spanId|parentSpanId)":"([0-9a-f]+)"`).ReplaceAllFunc(body, func(m []byte) []byte {
		parts := strings.Split(string(m), `"`)
		id, err := hex.DecodeString(parts[3])
		if err != nil {
			t.Error(err)
		}
		return []byte(`"` + parts[1] + `":"` + base64.StdEncoding.EncodeToString(id) + `"`)
	})
	data := new(collector.TracesData)
	if err := protojson.Unmarshal(body, data); err != nil {
		t.Errorf("%v in %s", err, body)
	}
	return data
}

// document is a generation of one chunk and so many tokens on two hops.
func document(steps int) *waterfall.Document {
	d := &waterfall.Document{
		RequestID: "r1", Model: "tiny", Path: "direct", PromptTokens: 3, Tokens: steps, OpenMS: 5, TotalMS: 5 + 10*float64(steps),
		Routes: []waterfall.Route{{Hops: []waterfall.Hop{{Layers: "0-3", Peer: "a"}, {Layers: "4-7", Peer: "b"}}}},
	}
	for i := range steps {
		s := waterfall.Step{
			Phase: "decode", Position: i, Rows: 1, StartMS: 5 + 10*float64(i), TotalMS: 10, CoordinatorMS: 1, ReturnMS: 1,
			Hops: []waterfall.HopPart{{WireMS: 1, QueueMS: 1, ComputeMS: 2}, {WireMS: 1, ComputeMS: 2.5, EncodeMS: 0.5}},
		}
		if i == 0 {
			s.Phase = "prefill"
		}
		d.Steps = append(d.Steps, s)
	}
	return d
}

// A generation comes out as one trace: the request, its opening, each step in it, and each hop in its step.
func TestExport(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	url, err := Endpoint("", r.server.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	headers, err := Headers("x-key=a%20b")
	if err != nil {
		t.Fatal(err)
	}
	e := Start(Config{URL: url, Headers: headers, Service: "coordinator", Version: "v1"})
	begun := time.Unix(1_700_000_000, 5)
	e.Export(document(3), begun, errors.New("lost"))
	e.Close()
	data := <-r.got
	if len(data.ResourceSpans) != 1 || data.ResourceSpans[0].Resource.Attributes[0].Value.GetStringValue() != "coordinator" {
		t.Fatalf("%v", data)
	}
	all := data.ResourceSpans[0].ScopeSpans[0].Spans
	if len(all) != 2+3*3 {
		t.Fatalf("%d spans, want the request, its opening, and of 3 steps each with 2 hops", len(all))
	}
	byID := map[string]*collector.Span{}
	names := map[string]int{}
	for _, s := range all {
		byID[string(s.SpanId)] = s
		names[s.Name]++
		if string(s.TraceId) != string(all[0].TraceId) || len(s.TraceId) != 16 || len(s.SpanId) != 8 {
			t.Errorf("span %s has IDs %x of trace %x", s.Name, s.SpanId, s.TraceId)
		}
	}
	if len(byID) != len(all) || names["generate"] != 1 || names["open"] != 1 || names["prefill"] != 1 || names["decode"] != 2 || names["layers 0-3"] != 3 || names["layers 4-7"] != 3 {
		t.Errorf("spans %v", names)
	}
	for _, s := range all {
		parent := byID[string(s.ParentSpanId)]
		if (parent == nil) != (s.Name == "generate") {
			t.Fatalf("span %s has no parent", s.Name)
		}
		if s.StartTimeUnixNano > s.EndTimeUnixNano || parent != nil && (s.StartTimeUnixNano < parent.StartTimeUnixNano || s.EndTimeUnixNano > parent.EndTimeUnixNano) {
			t.Errorf("span %s does not lie within its parent: %v, %v", s.Name, s, parent)
		}
	}
	if root := all[0]; root.StartTimeUnixNano != uint64(begun.UnixNano()) || root.EndTimeUnixNano != uint64(begun.Add(35*time.Millisecond).UnixNano()) ||
		root.Status.GetCode() != collector.Status_STATUS_CODE_ERROR || root.Status.GetMessage() != "lost" {
		t.Errorf("the request's span: %v", root)
	}
	// The second hop of the first step: 5 ms to open, 1 of the coordinator, 1 on the way, 3 of the first hop, 1 on the way.
	for _, s := range all {
		if s.Name == "layers 4-7" {
			if at := s.StartTimeUnixNano - uint64(begun.UnixNano()); at != uint64(11*time.Millisecond) || s.EndTimeUnixNano-s.StartTimeUnixNano != uint64(3*time.Millisecond) {
				t.Errorf("it begins after %d ns and lasts %d", at, s.EndTimeUnixNano-s.StartTimeUnixNano)
			}
			break
		}
	}
}

// Spans are bounded, several generations go together, and that a receiver refuses is told once a batch.
func TestExportMany(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	r.status = http.StatusTeapot
	core, logs := observer.New(zap.WarnLevel)
	e := Start(Config{URL: r.server.URL + "/v1/traces", Headers: map[string]string{"X-Key": "a b"}, Log: zap.New(core)})
	for range 3 {
		e.Export(document(maxSteps+10), time.Now(), nil)
	}
	e.Close()
	spans, requests := 0, 0
	for len(r.got) > 0 {
		requests++
		spans += len((<-r.got).ResourceSpans[0].ScopeSpans[0].Spans)
	}
	if want := 3 * (2 + 3*maxSteps); spans != want {
		t.Errorf("%d spans came, want %d", spans, want)
	}
	if n := logs.FilterMessage("traces not sent").Len(); n != requests {
		t.Errorf("%d requests failed, %d were logged", requests, n)
	}
}

// A receiver that does not answer costs traces, not time.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, queueLength), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-release }))
	defer server.Close()
	core, logs := observer.New(zap.WarnLevel)
	e := Start(Config{URL: server.URL, Log: zap.New(core)})
	e.Export(document(1), time.Now(), nil)
	<-asked
	for range queueLength + 5 {
		e.Export(document(1), time.Now(), nil)
	}
	if n := e.dropped.Load(); n != 5 {
		t.Errorf("%d generations dropped, want 5", n)
	}
	close(release)
	e.Close()
	if n := logs.FilterMessage("traces are dropped: their receiver is slow").Len(); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ traces, base, want string }{
		{"", "", ""},
		{"", "http://h:4318", "http://h:4318/v1/traces"},
		{"", "https://h/otlp/", "https://h/otlp/v1/traces"},
		{"http://t/x", "http://h:4318", "http://t/x"},
	} {
		if got, err := Endpoint(c.traces, c.base); err != nil || got != c.want {
			t.Errorf("Endpoint(%q, %q) = %q, %v", c.traces, c.base, got, err)
		}
	}
	for _, bad := range []string{"h:4318", "grpc://h", "http://", "://"} {
		if got, err := Endpoint("", bad); err == nil {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
	for _, bad := range []string{"x", "a=%zz"} {
		if got, err := Headers(bad); err == nil {
			t.Errorf("%q is taken as %v", bad, got)
		}
	}
}
