// SPDX-License-Identifier: MIT

package protocol

import "fmt"

// Code says what kind of failure an [Error] frame reports, so that a coordinator can act without reading prose.
type Code uint8

// Codes of version 1. The comment says what the coordinator may do next.
const (
	CodeInternal        Code = 1  // the node failed; try another
	CodeBusy            Code = 2  // no session slot or KV memory now; try another, or later
	CodeWrongModel      Code = 3  // the node serves another model ID; never in this route
	CodeWrongLayers     Code = 4  // the node does not hold the hop's layers; ask its status again
	CodeWrongNumerics   Code = 5  // contract version, KV or wire type differ; never in this route
	CodeSessionNotFound Code = 6  // unknown or expired session
	CodeStaleEpoch      Code = 7  // the frame belongs to an older epoch; drop it
	CodeOutOfOrder      Code = 8  // step or position is not the next one
	CodeTooLong         Code = 9  // more positions than reserved or than the model's context
	CodeBadFrame        Code = 10 // malformed, oversized or inconsistent frame
	CodeUnreachable     Code = 11 // the node cannot reach the next hop; relay or choose another
	CodeDraining        Code = 12 // the node is leaving; try another
	CodeForbidden       Code = 13 // not admitted to the swarm
	CodeUnsupported     Code = 14 // the node's version cannot do what is asked; try another
	CodeBadRequest      Code = 15 // no node could do what is asked; tell the user
)

var codeNames = map[Code]string{
	CodeInternal: "internal", CodeBusy: "busy", CodeWrongModel: "wrong-model", CodeWrongLayers: "wrong-layers",
	CodeWrongNumerics: "wrong-numerics", CodeSessionNotFound: "session-not-found", CodeStaleEpoch: "stale-epoch",
	CodeOutOfOrder: "out-of-order", CodeTooLong: "too-long", CodeBadFrame: "bad-frame",
	CodeUnreachable: "unreachable", CodeDraining: "draining", CodeForbidden: "forbidden",
	CodeUnsupported: "unsupported", CodeBadRequest: "bad-request",
}

// String returns the code's name in logs and JSON.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// Error implements error.
func (e *Error) Error() string {
	if e.Layers.Len() > 0 {
		return fmt.Sprintf("shard %s at %s: %s (%s)", e.Layers, e.Peer, e.Message, e.Code)
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Code)
}

// Is makes errors.Is(err, &Error{Code: CodeBusy}) true for any error with that code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Errorf returns an [Error] with a code and a message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
