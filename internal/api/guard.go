// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// userKey is where a request's context says who asks.
type userKey struct{}

// userOf names who asks: the key's owner, or without keys the address.
func userOf(r *http.Request) string {
	name, _ := r.Context().Value(userKey{}).(string)
	return name
}

// admit lets in who has a key, and everybody where there are none.
func (s *Server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			user = r.RemoteAddr
		}
		if s.cfg.Keys != nil {
			key, given := bearer(r)
			name, ok := s.cfg.Keys.name(key)
			if !ok {
				e := &apiError{status: http.StatusUnauthorized, kind: typeAuth, code: "invalid_api_key", message: "the API key is not known here"}
				if !given {
					e.message = "want an API key: Authorization: Bearer KEY"
				}
				e.write(w)
				return
			}
			user = name
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
	})
}

// guard keeps web pages out that the user did not mean to ask: without keys, whoever reaches the port may ask, and a browser on this
// machine reaches it for every page that it shows.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Keys == nil && !plainHost(r) {
			// A page's own name can be made to lead here (DNS rebinding); an address cannot.
			forbidden("without API keys this server answers to its address or localhost only, not to the name %q", clip(r.Host)).write(w)
			return
		}
		origin := r.Header.Get("Origin")
		if origin == "" || ownOrigin(r, origin) {
			next.ServeHTTP(w, r)
			return
		}
		if !slices.Contains(s.cfg.Origins, origin) {
			forbidden("pages of %s may not ask; coordinator serve --cors-origin lets them", clip(origin)).write(w)
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func forbidden(format string, args ...any) *apiError {
	e := invalid("", "forbidden", format, args...)
	e.status = http.StatusForbidden
	return e
}

// plainHost reports whether a request names the server by an address or as localhost, or came in over a network and not from this machine.
func plainHost(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") || net.ParseIP(strings.Trim(host, "[]")) != nil {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && !local.IP.IsLoopback()
}

// ownOrigin reports whether a page was served by this server itself.
func ownOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// withErrors gives requests that no endpoint takes an error in OpenAI's shape.
func withErrors(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &statusOnly{header: http.Header{}}
		mux.ServeHTTP(probe, r)
		e := &apiError{status: http.StatusNotFound, kind: typeInvalid, code: "unknown_url", message: "no such endpoint: " + r.Method + " " + clip(r.URL.Path)}
		if probe.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", probe.header.Get("Allow"))
			e.status, e.code, e.message = probe.status, "method_not_allowed", "want "+probe.header.Get("Allow")+" "+clip(r.URL.Path)
		}
		e.write(w)
	})
}

// statusOnly is a ResponseWriter that keeps nothing but the status.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
