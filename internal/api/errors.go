// SPDX-License-Identifier: MIT

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Types of errors, in OpenAI's words.
const (
	typeInvalid   = "invalid_request_error"
	typeAuth      = "authentication_error"
	typeRateLimit = "rate_limit_error"
	typeServer    = "server_error"
)

// apiError is what a client hears of a request that was not answered.
type apiError struct {
	status  int
	kind    string // one of the types above
	message string
	param   string // the parameter it is about; "": none
	code    string // for programs; "": none
	retry   time.Duration
}

func (e *apiError) Error() string { return e.message }

// MarshalJSON writes the error in OpenAI's shape: all four fields, null where there is nothing to say.
func (e *apiError) MarshalJSON() ([]byte, error) {
	var body struct {
		Error struct {
			Message string  `json:"message"`
			Type    string  `json:"type"`
			Param   *string `json:"param"`
			Code    *string `json:"code"`
		} `json:"error"`
	}
	body.Error.Message, body.Error.Type = e.message, e.kind
	if e.param != "" {
		body.Error.Param = &e.param
	}
	if e.code != "" {
		body.Error.Code = &e.code
	}
	return json.Marshal(&body)
}

// invalid is a request that its sender has to change.
func invalid(param, code, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, kind: typeInvalid, param: param, code: code, message: fmt.Sprintf(format, args...)}
}

// Reasons why a request's context ended, beside the client's own going away.
var (
	errShutdown = errors.New("the server is shutting down")
	errTooLong  = errors.New("the request took longer than it may")
)

// statusGone is nginx's for a client that did not wait: nobody reads it, but it is counted.
const statusGone = 499

// describe says what a failed generation is in terms of HTTP. ctx is the request's.
func describe(ctx context.Context, err error) *apiError {
	var (
		known   *apiError
		prompt  *client.PromptError
		tooLong *pipeline.PromptTooLongError
		form    *client.FormError
	)
	cause := context.Cause(ctx)
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(cause, errShutdown), errors.Is(err, errShutdown):
		return &apiError{status: http.StatusServiceUnavailable, kind: typeServer, code: "shutting_down", message: errShutdown.Error(), retry: time.Second}
	case errors.Is(cause, errTooLong):
		return &apiError{status: http.StatusGatewayTimeout, kind: typeServer, code: "timeout", message: errTooLong.Error()}
	case errors.Is(cause, context.Canceled), errors.Is(cause, errClientGone):
		return &apiError{status: statusGone, kind: typeServer, code: "client_gone", message: errClientGone.Error()}
	case errors.As(err, &prompt):
		return invalid("messages", "invalid_messages", "%v", err)
	case errors.As(err, &form) && form.Tool >= 0:
		return invalid(fmt.Sprintf("tools[%d].function.parameters", form.Tool), "unsupported_schema", "%v", err)
	case errors.As(err, &form):
		return invalid("response_format", "unsupported_schema", "%v", err)
	case errors.Is(err, &protocol.Error{Code: protocol.CodeBadRequest}):
		return invalid("", "invalid_request", "%v", err)
	case errors.As(err, &tooLong):
		return invalid("", "context_length_exceeded", "%v", err)
	case client.Busy(err):
		return &apiError{status: http.StatusTooManyRequests, kind: typeRateLimit, code: "busy", message: "the nodes have no room for another session now: " + err.Error()}
	}
	return &apiError{status: http.StatusInternalServerError, kind: typeServer, code: "generation_failed", message: err.Error()}
}

// noRoute says that nobody serves all of a model now.
func noRoute(err error) *apiError {
	return &apiError{status: http.StatusServiceUnavailable, kind: typeServer, code: "no_route", message: err.Error(), retry: 5 * time.Second}
}

// write sends the error as an answer.
func (e *apiError) write(w http.ResponseWriter) {
	h := w.Header()
	if e.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.retry+time.Second-1)/time.Second)))
	}
	if e.status == http.StatusGatewayTimeout {
		h.Set("X-Should-Retry", "false") // OpenAI's libraries would ask for the same long work again
	}
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, e.status, e)
}

// writeJSON answers with one JSON value. An error of the connection is the connection's end, which net/http notices itself.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}
