// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// chatCommand is what a line that begins with / does.
type chatCommand struct {
	name, args, help string
	run              func(ch *chat, args string) error
}

// chatCommands in the order of /help.
var chatCommands []chatCommand

func init() { // /help lists them all, itself included
	chatCommands = []chatCommand{
		{"help", "", "this list", (*chat).help},
		{"system", "[TEXT | none]", "what the model is told before the conversation: show it, or set it", (*chat).setSystem},
		{"set", "[NAME VALUE]", "show the settings, or change one: " + strings.Join(settable, ", "), (*chat).set},
		{"model", "[NAME]", "show the models, or take another one", (*chat).chooseModel},
		{"swarm", "", "who serves which layers", (*chat).swarm},
		{"show", "", "the conversation so far", (*chat).show},
		{"retry", "", "answer the last question anew; above temperature 0 with the next seed", (*chat).retry},
		{"reset", "", "forget the conversation", (*chat).reset},
		{"save", "[FILE]", "write the conversation, as a request of the HTTP API", func(ch *chat, args string) error { return ch.save(args) }},
		{"load", "FILE", "go on with one that was saved", func(ch *chat, args string) error { return ch.load(args) }},
		{"quit", "", "end; Ctrl-D does too", func(*chat, string) error { return errQuit }},
	}
}

// do takes a line: a command, or a question. Two slashes begin a question with one.
func (ch *chat) do(line string) error {
	text := strings.TrimSpace(line)
	switch {
	case text == "":
		return nil
	case strings.HasPrefix(text, "//"):
		return ch.ask(text[1:])
	case !strings.HasPrefix(text, "/"):
		return ch.ask(text)
	}
	name, args, _ := strings.Cut(text[1:], " ")
	if name == "exit" || name == "bye" {
		name = "quit"
	}
	i := slices.IndexFunc(chatCommands, func(c chatCommand) bool { return c.name == name })
	if i < 0 {
		return fmt.Errorf("no command /%s; /help lists them, // begins a question with a slash", name)
	}
	c := &chatCommands[i]
	args = strings.TrimSpace(args)
	if c.args == "" && args != "" {
		return fmt.Errorf("/%s takes nothing", name)
	}
	return c.run(ch, args)
}

// complete finishes the name of a command.
func complete(line string) string {
	if !strings.HasPrefix(line, "/") || strings.Contains(line, " ") {
		return line
	}
	common := ""
	for _, c := range chatCommands {
		name := "/" + c.name
		switch {
		case !strings.HasPrefix(name, line):
		case common == "":
			common = name + " "
		default:
			n := 0
			for n < min(len(common), len(name)) && common[n] == name[n] {
				n++
			}
			common = common[:n]
		}
	}
	if common == "" {
		return line
	}
	return common
}

func (ch *chat) help(string) error {
	for _, c := range chatCommands {
		ch.say("  %-24s%s", strings.TrimSpace("/"+c.name+" "+c.args), c.help)
	}
	ch.say(`A line that ends in \ goes on in the next. Ctrl-C stops an answer, twice in a row it ends.`)
	return nil
}

func (ch *chat) setSystem(text string) error {
	switch text {
	case "":
		if ch.system == "" {
			ch.say("no system message")
		} else {
			ch.say("%s", ch.system)
		}
	case "none":
		ch.system = ""
	default:
		ch.system = text
	}
	return nil
}

func (ch *chat) set(args string) error {
	name, value, ok := strings.Cut(args, " ")
	flags := ch.cmd.Flags()
	switch {
	case args == "":
		for _, name := range settable {
			ch.say("  %-16s%s", name, flags.Lookup(name).Value)
		}
		return nil
	case !slices.Contains(settable, name):
		return fmt.Errorf("no setting %q; there are %s", name, strings.Join(settable, ", "))
	case !ok:
		ch.say("%s", flags.Lookup(name).Value)
		return nil
	}
	return ch.change(name, strings.TrimSpace(value))
}

// change sets a flag, or leaves it as it was.
func (ch *chat) change(name, value string) error {
	flag := ch.cmd.Flags().Lookup(name)
	old := flag.Value.String()
	if err := flag.Value.Set(value); err != nil {
		return fmt.Errorf("%s: %q makes no sense", name, value)
	}
	if _, err := ch.o.infer.request(""); err != nil {
		return errors.Join(err, flag.Value.Set(old))
	}
	return nil
}

func (ch *chat) chooseModel(name string) error {
	if name == "" {
		for _, m := range ch.client.View().Models {
			state := "all layers are served"
			if len(m.Missing) > 0 {
				state = "nobody serves layers " + joinRanges(m.Missing)
			}
			ch.say("  %s (%s): %s", m.Name, m.ID.Short(), state)
		}
		return nil
	}
	old := ch.o.infer.model
	ch.o.infer.model = name
	err := ch.interruptible(func(ctx context.Context) error { _, err := ch.find(ctx); return err })
	if err != nil {
		ch.o.infer.model = old
	}
	return err
}

func (ch *chat) swarm(string) error {
	view := ch.client.View()
	if ch.o.infer.asJSON {
		return printJSON(ch.cmd.OutOrStdout(), newSwarmResult(view))
	}
	return printSwarm(ch.cmd.ErrOrStderr(), view)
}

func (ch *chat) show(string) error {
	if ch.system != "" {
		ch.say("system: %s", ch.system)
	}
	for _, t := range ch.turns {
		ch.say("%s: %s", t.Role, t.Content)
	}
	return nil
}

func (ch *chat) retry(string) error {
	if len(ch.turns) == 0 {
		return errors.New("there is no question yet")
	}
	old := ch.turns
	last := len(ch.turns) - 2 // a question and its answer
	ch.turns = old[:last:last]
	if s := &ch.o.infer.sampling; s.Temperature > 0 {
		s.Seed++
	}
	err := ch.ask(old[last].Content)
	if len(ch.turns) == last {
		ch.turns = old
	}
	return err
}

func (ch *chat) reset(string) error {
	ch.turns = []tokenizer.Message{}
	return nil
}
