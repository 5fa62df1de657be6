// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/statedir"
	"github.com/shardnode/shardnode/internal/terminal"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// chatOptions are the flags of `coordinator chat`, beside those of infer that it has too.
type chatOptions struct {
	infer     inferOptions
	system    string
	load      string
	noHistory bool
}

// chatFlags are infer's flags that make sense for each answer of a conversation. settable can be changed on the way.
var (
	chatFlags = []string{"model", "stop", "chat-template", "json", "verbose", "path", "wire", "kv", "prefill-chunk", "step-timeout", "on-failure", "recover-timeout"}
	settable  = []string{"temperature", "top-p", "top-k", "min-p", "repeat-penalty", "seed", "max-tokens"}
)

func newChat() *cobra.Command {
	o := &chatOptions{}
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Talk with a model in this terminal",
		Long: `Talk with a model in this terminal. A line is a question; one that ends in \ goes on in the next. Lines that begin with / are commands:
/help lists them.

Ctrl-C stops an answer, which stays part of the conversation; twice in a row it ends the program, as Ctrl-D and /quit do. Lines entered
are remembered for the next time, on this machine, unless --no-history is given.

Where standard input is no terminal, each line of it is a question. Answers go to stdout, everything else to stderr.`,
		Example: `  coordinator chat --temperature 0.7 --system "Answer in one sentence."
  printf 'What is AI?\nGive an example.\n' | coordinator chat --json`,
		Args:        exactArgs(0, "no arguments: ask inside, or with coordinator infer"),
		Annotations: map[string]string{cmdline.OwnInterrupts: "yes"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return runChat(cmd, o) },
	}
	o.infer.swarm.register(cmd)
	f := cmd.Flags()
	of := newInferOf(&o.infer).Flags()
	for _, names := range [][]string{chatFlags, settable} {
		for _, name := range names {
			f.AddFlag(of.Lookup(name))
		}
	}
	o.infer.maxTokens = 1024
	f.Lookup("max-tokens").DefValue = "1024"
	f.Lookup("json").Usage = "print one JSON object an answer (docs/cli.md)"
	f.StringVar(&o.system, "system", "", "what the model is told before the conversation")
	f.StringVar(&o.load, "load", "", "go on with a conversation that /save wrote")
	f.BoolVar(&o.noHistory, "no-history", false, "neither read nor write the history of entered lines")
	return cmd
}

// chat is a conversation.
type chat struct {
	cmd    *cobra.Command
	o      *chatOptions
	client *client.Client
	in     *terminal.Lines

	system string
	turns  []tokenizer.Message // user and assistant in turn
	file   string              // that the conversation was saved to or loaded from

	interrupts chan os.Signal
	armed      bool  // an interrupt came, and no line since: the next one ends the program
	failure    error // the first that a program which feeds us should know of
}

var (
	errStopped = errors.New("stopped")
	errQuit    = errors.New("quit") // not a failure
)

func runChat(cmd *cobra.Command, o *chatOptions) error {
	if _, err := o.infer.request(""); err != nil {
		return err
	}
	ch := &chat{cmd: cmd, o: o, system: o.system, interrupts: make(chan os.Signal, 2)}
	if o.load != "" {
		if err := ch.load(o.load); err != nil {
			return err
		}
	}
	signal.Notify(ch.interrupts, os.Interrupt)
	defer signal.Stop(ch.interrupts)
	var err error
	if ch.client, err = o.infer.swarm.dial(cmd.Context()); err != nil {
		return err
	}
	defer ch.client.Close()
	ch.in = terminal.Open(terminal.Config{In: cmd.InOrStdin(), Out: cmd.ErrOrStderr(), MaxLine: maxPrompt, History: o.history(), Complete: complete})
	defer ch.in.Close()
	if err := ch.greet(); err != nil {
		return err
	}
	for err == nil {
		var line string
		if line, err = ch.next(); err == nil {
			err = ch.take(line)
		}
	}
	switch {
	case !errors.Is(err, errQuit) && !errors.Is(err, io.EOF):
		return err
	case ch.failure != nil && !ch.in.Interactive:
		return cmdline.Silent(ch.failure)
	}
	return nil
}

// history is the file of the lines that were entered; "": none.
func (o *chatOptions) history() string {
	root, err := statedir.Root()
	if err != nil || o.noHistory {
		return ""
	}
	return filepath.Join(root, "coordinator", "chat-history")
}

// greet finds the model, so that what is missing is heard before the first question.
func (ch *chat) greet() error {
	return ch.interruptible(func(ctx context.Context) error {
		target, err := ch.find(ctx)
		if err != nil {
			return err
		}
		m, err := ch.client.Model(ctx, target)
		if err != nil {
			return err
		}
		if _, err := m.Prepare(&client.Request{Messages: []tokenizer.Message{{Role: "user", Content: "?"}}, ChatTemplate: ch.base().ChatTemplate}); err != nil {
			return fmt.Errorf("%s: %w", target.Name, err)
		}
		if ch.in.Interactive {
			ch.say("%s (%s), %s. /help lists commands, Ctrl-C stops an answer, Ctrl-D ends.", target.Name, target.Model.Short(), plural(len(target.Hops), "shard"))
		}
		return nil
	})
}

func (ch *chat) find(ctx context.Context) (*client.Target, error) {
	selector, err := ch.o.infer.selector()
	if err != nil {
		return nil, err
	}
	return findTarget(ctx, ch.client, selector, ch.o.infer.swarm.wait, newProgress(ch.cmd.ErrOrStderr(), ch.o.infer.verbose))
}

// base is a request with what the flags say, as they are now. They were checked when they were set.
func (ch *chat) base() *client.Request {
	req, err := ch.o.infer.request("")
	if err != nil {
		panic(err)
	}
	return req
}

// say tells the user something that is no answer.
func (ch *chat) say(format string, args ...any) {
	fmt.Fprintf(ch.cmd.ErrOrStderr(), format+"\n", args...)
}

// next returns the next line. At the prompt an interrupt asks for another one.
func (ch *chat) next() (string, error) {
	for {
		entered := ch.in.Read("> ")
		select {
		case e := <-entered:
			ch.in.Took()
			if errors.Is(e.Err, terminal.ErrInterrupted) {
				if err := ch.interrupted(); err != nil {
					return "", err
				}
				continue
			}
			ch.armed = false
			return e.Text, e.Err
		case <-ch.interrupts:
			if err := ch.interrupted(); err != nil {
				return "", err
			}
		case <-ch.cmd.Context().Done():
			if ch.in.Interactive {
				ch.say("") // the prompt's line is not complete
			}
			return "", context.Cause(ch.cmd.Context())
		}
	}
}

// interrupted takes Ctrl-C at the prompt.
func (ch *chat) interrupted() error {
	if ch.armed {
		return errQuit
	}
	ch.armed = true
	ch.say("Ctrl-C again ends, as Ctrl-D and /quit do")
	return nil
}

// take does what a line says. The error ends the conversation.
func (ch *chat) take(line string) error {
	err := ch.do(line)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errQuit), ch.cmd.Context().Err() != nil:
		return err
	}
	if errors.Is(err, syscall.EPIPE) {
		return err // nobody reads any more
	}
	ch.say("%s: %v", ch.cmd.Root().Name(), err)
	if ch.failure == nil {
		ch.failure = err
	}
	return nil
}

// interruptible runs something that an interrupt stops. A second one ends the program.
func (ch *chat) interruptible(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ch.cmd.Context())
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	again := false
	for {
		select {
		case err := <-done:
			if again {
				return errors.Join(errQuit, err)
			}
			return err
		case <-ch.interrupts:
			again = ch.armed
			ch.armed = true
			cancel(errStopped)
		}
	}
}

// ask lets the model answer the conversation with a question added. An answer that was stopped is part of it; after a failure it is what it
// was before.
func (ch *chat) ask(question string) error {
	turns := append(ch.turns[:len(ch.turns):len(ch.turns)], tokenizer.Message{Role: "user", Content: question})
	var result *client.Result
	err := ch.interruptible(func(ctx context.Context) error {
		target, err := ch.find(ctx)
		if err != nil {
			return err
		}
		req := ch.base()
		if req.Messages = turns; ch.system != "" {
			req.Messages = append([]tokenizer.Message{{Role: "system", Content: ch.system}}, turns...)
		}
		result, err = generate(ctx, ch.cmd, &ch.o.infer, ch.client, target, req, newProgress(ch.cmd.ErrOrStderr(), ch.o.infer.verbose))
		return err
	})
	if result != nil {
		result.Prompt = question
	}
	if ch.o.infer.asJSON && result != nil {
		if printErr := printJSON(ch.cmd.OutOrStdout(), newInferResult(result, err)); printErr != nil {
			return printErr
		}
	}
	stopped := ch.armed && ch.cmd.Context().Err() == nil && err != nil
	if err == nil || stopped && result != nil && result.Text != "" {
		ch.turns = append(turns, tokenizer.Message{Role: "assistant", Content: result.Text})
	}
	var tooLong *pipeline.PromptTooLongError
	switch {
	case errors.Is(err, errQuit):
		return errQuit
	case stopped:
		ch.say("(stopped)")
		return nil
	case errors.As(err, &tooLong):
		return fmt.Errorf("%w; /reset begins anew", err)
	}
	return err
}
