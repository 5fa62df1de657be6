// SPDX-License-Identifier: MIT

// Package api is the coordinator's HTTP side: the endpoints of the OpenAI API for models, chat completions and completions, and what an
// operator asks for. It turns requests into generations of package client and their tokens into JSON and server-sent events; who may ask,
// who has to wait and what a bad request hears is decided here. docs/api.md is its reference. It reads no flags and opens no ports:
// `coordinator serve` hands it a listener.
//
// A [Server] is safe for concurrent use. Each request has net/http's goroutine and one for each of its answers; the server itself has
// one more, which sends a token through the swarm now and then to know that it is whole.
package api
