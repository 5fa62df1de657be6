// SPDX-License-Identifier: MIT

// Package page is the web page of `coordinator serve`: files as a browser reads them, with nothing built and nothing fetched from elsewhere.
// It only serves them; what they ask for is package api's.
package page

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// policy is what a browser may do with the page: load its own files, talk to the server that it came from, and nothing else. Markup is never
// made from text: there is no policy for trusted types that would allow it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// kinds are the media types by ending, whatever the machine's own tables say.
var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// file is one of the page's, ready to be sent.
type file struct {
	kind string // media type
	etag string
	body []byte
}

// Handler answers GET / with the page, and GET /page/NAME with what belongs to it.
func Handler() http.Handler {
	mux := http.NewServeMux()
	entries, err := fs.ReadDir(static, "static")
	if err != nil {
		panic(err) // they are in the program
	}
	for _, e := range entries {
		body, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		hash := sha256.Sum256(body)
		kind, ok := kinds[path.Ext(e.Name())]
		if !ok {
			panic(e.Name() + ": not a kind of file that a page has")
		}
		f := &file{kind: kind, etag: `"` + base64.RawURLEncoding.EncodeToString(hash[:12]) + `"`, body: body}
		pattern := "GET /page/" + e.Name()
		if e.Name() == "index.html" {
			pattern = "GET /{$}"
		}
		mux.Handle(pattern, f)
	}
	return mux
}

// ServeHTTP sends the file, unless the browser has it already.
func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // ask whether it is still the same: another version of the program has another page
	h.Set("ETag", f.etag)
	if strings.Contains(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	_, _ = w.Write(f.body) // an error is the connection's end
}
