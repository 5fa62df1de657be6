// SPDX-License-Identifier: MIT

package tokenizer

import (
	"errors"
	"fmt"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	structures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// environment is Jinja as templates in model files use it: without what loads other templates or recurses unseen, and
// with the library's mistakes put right that such templates would run into.
var environment = &exec.Environment{
	Context: exec.EmptyContext(),
	Filters: exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters).
		Update(exec.NewFilterSet(map[string]exec.FilterFunction{"tojson": toJSON, "items": items})),
	Tests:             builtins.Tests,
	ControlStructures: controlStructures(),
	Methods: exec.Methods{
		Bool: builtins.Methods.Bool, Int: builtins.Methods.Int, Float: builtins.Methods.Float,
		Str: stringMethods(), Dict: builtins.Methods.Dict, List: builtins.Methods.List,
	},
}

func init() {
	for _, name := range []string{"namespace", "dict", "joiner", "cycler"} {
		if f, ok := builtins.GlobalFunctions.Get(name); ok {
			environment.Context.Set(name, f)
		}
	}
}

func controlStructures() *exec.ControlStructureSet {
	set := map[string]parser.ControlStructureParser{}
	for _, name := range []string{"if", "set", "raw", "with", "do", "filter", "call", "break", "continue"} {
		if p, ok := builtins.ControlStructures.Get(name); ok {
			set[name] = p
		}
	}
	set["for"] = parseFor
	set["macro"] = parseMacro
	set["generation"] = parseGeneration
	for name, p := range set {
		set[name] = withLine(p)
	}
	return exec.NewControlStructureSet(set)
}

// withLine adds the line to errors about a tag's arguments, which the library leaves out.
func withLine(parse parser.ControlStructureParser) parser.ControlStructureParser {
	return func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		at := args.Current()
		if args.End() {
			at = p.Current()
		}
		n, err := parse(p, args)
		var syntax *parser.SyntaxError
		if err == nil || errors.As(err, &syntax) || at == nil {
			return n, err
		}
		return nil, &parser.SyntaxError{Message: err.Error(), Raw: at.Val, Line: at.Line, Column: at.Col}
	}
}

// parseFor is the library's "for" without "recursive", whose depth nothing bounds.
func parseFor(p, args *parser.Parser) (nodes.ControlStructure, error) {
	parse, _ := builtins.ControlStructures.Get("for")
	n, err := parse(p, args)
	if f, ok := n.(*structures.ForControlStructure); ok && f.Recursive {
		return nil, errors.New("recursive loops are not supported")
	}
	return n, err
}

// parseMacro is the library's "macro" with a bound on how deep macros call each other.
func parseMacro(p, args *parser.Parser) (nodes.ControlStructure, error) {
	parse, _ := builtins.ControlStructures.Get("macro")
	n, err := parse(p, args)
	if m, ok := n.(*structures.MacroControlStructure); ok && err == nil {
		return boundedMacro{m}, nil
	}
	return n, err
}

type boundedMacro struct {
	*structures.MacroControlStructure
}

// Execute defines the macro.
func (m boundedMacro) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	if err := m.MacroControlStructure.Execute(r, tag); err != nil {
		return err
	}
	defined, _ := r.Environment.Context.Get(m.Name)
	macro, ok := defined.(exec.Macro)
	state, found := r.Environment.Context.Get(renderingKey)
	if !ok || !found {
		return fmt.Errorf("macro %s cannot be defined here", m.Name)
	}
	depth := &state.(*rendering).macroDepth
	r.Environment.Context.Set(m.Name, exec.Macro(func(args *exec.VarArgs) *exec.Value {
		if *depth >= maxMacroDepth {
			return exec.AsValue(fmt.Errorf("macros are nested more than %d deep", maxMacroDepth))
		}
		*depth++
		defer func() { *depth-- }()
		return macro(args)
	}))
	return nil
}

// parseGeneration reads {% generation %}…{% endgeneration %}, which marks for training what an assistant wrote and
// renders as its body.
func parseGeneration(p, args *parser.Parser) (nodes.ControlStructure, error) {
	if !args.End() {
		return nil, args.Error("generation takes no arguments", args.Current())
	}
	body, _, err := p.WrapUntil("endgeneration")
	if err != nil {
		return nil, err
	}
	return generation{body}, nil
}

type generation struct{ *nodes.Wrapper }

// Execute renders the body.
func (g generation) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.ExecuteWrapper(g.Wrapper)
}

// renderingKey holds the *rendering in a template's context: no name that a template could write.
const renderingKey = "rendering state"

// rendering is the state of one call of Render.
type rendering struct {
	now        func() time.Time
	raised     *string // what raise_exception said
	loopItems  int     // yielded by range() so far
	macroDepth int
}

// raise is raise_exception(message).
func (r *rendering) raise(args *exec.VarArgs) (*exec.Value, error) {
	message := args.First().String()
	r.raised = &message
	return nil, errors.New(message)
}

// rangeItems is range([start,] stop[, step]).
func (r *rendering) rangeItems(args *exec.VarArgs) (*exec.Value, error) {
	n := []int{0, 0, 1}
	switch len(args.Args) {
	case 1:
		n[1] = args.Args[0].Integer()
	case 2, 3:
		for i, a := range args.Args {
			n[i] = a.Integer()
		}
	default:
		return nil, errors.New("range takes 1 to 3 numbers")
	}
	start, stop, step := n[0], n[1], n[2]
	if step == 0 {
		return nil, errors.New("range cannot have step 0")
	}
	items := []int{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if r.loopItems++; r.loopItems > maxLoopItems {
			return nil, fmt.Errorf("ranges yield more than %d numbers", maxLoopItems)
		}
		items = append(items, i)
	}
	return exec.AsValue(items), nil
}

// strftimeNow is strftime_now(format), in the local time zone.
func (r *rendering) strftimeNow(args *exec.VarArgs) *exec.Value {
	return exec.AsValue(strftime(r.now(), args.First().String()))
}
