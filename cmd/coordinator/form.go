// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/jsonschema"
	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// parseBias reads the values of --logit-bias.
func (o *inferOptions) parseBias() error {
	list := make([]protocol.Bias, 0, len(o.bias))
	for _, s := range o.bias {
		name, value, ok := strings.Cut(s, "=")
		id, err1 := strconv.ParseUint(name, 10, 32)
		v, err2 := strconv.ParseFloat(value, 32)
		if !ok || err1 != nil || err2 != nil || id >= protocol.MaxVocab {
			return cmdline.Usagef("--logit-bias %q: want TOKEN=VALUE, such as 42=-100", s)
		}
		b := protocol.Bias{Token: protocol.TokenID(id), Value: float32(v)}
		if slices.ContainsFunc(list, func(o protocol.Bias) bool { return o.Token == b.Token }) {
			return cmdline.Usagef("--logit-bias: token %d is there twice", id)
		}
		list = append(list, b)
	}
	if len(list) > protocol.MaxBias {
		return cmdline.Usagef("--logit-bias: %d tokens, at most %d", len(list), protocol.MaxBias)
	}
	slices.SortFunc(list, func(a, b protocol.Bias) int { return int(a.Token) - int(b.Token) })
	o.sampling.Bias = list
	return nil
}

// readForm reads what the answer is to be held to.
func (o *inferOptions) readForm(req *client.Request) error {
	if o.schema != "" && o.grammar != "" {
		return cmdline.Usagef("--json-schema and --grammar exclude each other")
	}
	if o.schema != "" {
		text, err := readFile("--json-schema", o.schema, jsonschema.MaxSchema)
		if err != nil {
			return err
		}
		if _, err := jsonschema.Grammar([]byte(text)); err != nil {
			return fmt.Errorf("--json-schema %s: %w", o.schema, err)
		}
		req.Schema = []byte(text)
	}
	if o.grammar != "" {
		text, err := readFile("--grammar", o.grammar, grammar.MaxSource)
		if err != nil {
			return err
		}
		if _, err := grammar.Compile(text); err != nil {
			return fmt.Errorf("--grammar %s: %w", o.grammar, err)
		}
		req.Grammar = text
	}
	return nil
}

// withHint says which flags help where a chat template does not.
func withHint(err error) error {
	var bad *tokenizer.TemplateError
	switch {
	case !errors.As(err, &bad):
		return err
	case bad.Refused:
		return fmt.Errorf("%w (change the prompt, or use --raw to send it as it is)", err)
	}
	return fmt.Errorf("%w (use --chat-template FILE for another one, or --raw to send the text as it is)", err)
}

// readFile reads a file that a flag names: text of at most limit bytes.
func readFile(flag, path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", flag, err)
	case int64(len(raw)) > limit:
		return "", fmt.Errorf("%s: %s is longer than %s", flag, path, cmdline.FormatBytes(limit))
	case len(raw) == 0:
		return "", fmt.Errorf("%s: %s is empty", flag, path)
	}
	return string(raw), nil
}
