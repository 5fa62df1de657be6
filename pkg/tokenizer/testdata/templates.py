#!/usr/bin/env python3
"""Renders chat templates with Jinja2 (3.1.6) as transformers sets it up, for the tests to compare with. Needs the package jinja2.

    python3 templates.py               internal/jinja/testdata/cases.json, of the small templates in cases.txt there;
                                       templates/*.golden, of templates/*.jinja
    python3 templates.py FOLDER        published.json, of FOLDER's templates as published: a rendering each, or the error's kind

Each template is rendered for the conversations of conversations.json. In published.json a template is named with its SHA-256.
"""
import datetime, glob, hashlib, json, os, sys

import jinja2, jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = datetime.datetime(2024, 3, 5, 7, 8, 9)


class Generation(jinja2.ext.Extension):
    """{% generation %} as transformers' AssistantTracker, without the tracking."""
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(lineno)

    def _same(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(source, c):
    """The prompt, or the kind of error: refused, syntax or failed."""
    try:
        return {"prompt": environment().from_string(source).render(
            messages=c["messages"], tools=c.get("tools"), documents=None, add_generation_prompt=c["add_generation_prompt"],
            bos_token="<s>", eos_token="</s>", **c.get("vars", {}))}
    except (jinja2.exceptions.TemplateSyntaxError, SyntaxError):
        return {"error": "syntax"}
    except Exception as e:  # a template may raise anything
        return {"error": "refused" if type(e) is jinja2.exceptions.TemplateError else "failed"}


def calls_need_null(source):
    """Whether an assistant's message of nothing but tool calls needs a content of none rather than an empty one for them to be written."""
    name = "tool_that_is_called"
    def written(content):
        call = {"id": "123456789", "type": "function", "function": {"name": name, "arguments": {}}}
        messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": content, "tool_calls": [call]}]
        return name in render(source, {"messages": messages, "add_generation_prompt": False}).get("prompt", "")
    return not written("") and written(None)


def renderings(source, conversations):
    null = calls_need_null(source)
    def fix(m):
        return {**m, "content": None if null else ""} if m.get("tool_calls") and not m["content"] else m
    return {c["name"]: render(source, {**c, "messages": [fix(m) for m in c["messages"]]}) for c in conversations}


def show(o):
    return o["prompt"] if "prompt" in o else f"!!! {o['error']}"


JINJA = os.path.join(HERE, "..", "..", "..", "internal", "jinja", "testdata")


def main():
    conversations = json.load(open(os.path.join(HERE, "conversations.json")))
    if sys.argv[1:]:
        published = {}
        for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.jinja"))):
            raw = open(path, "rb").read()
            published[os.path.basename(path)] = {
                "sha256": hashlib.sha256(raw).hexdigest(), "renderings": renderings(raw.decode(), conversations)}
        out = os.path.join(HERE, "published.json")
        open(out, "w").write(json.dumps(published, indent=1, ensure_ascii=False) + "\n")
        return
    context = next(c for c in conversations if c["name"] == "turns")
    texts = open(os.path.join(JINJA, "cases.txt"), newline="").read().split("\n=====\n")
    cases = [{"template": t, **render(t, {**context, "tools": conversations[7]["tools"]})} for t in texts]
    open(os.path.join(JINJA, "cases.json"), "w").write(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")
    for path in sorted(glob.glob(os.path.join(HERE, "templates", "*.jinja"))):
        source = open(path).read()
        open(path.removesuffix("jinja") + "golden", "w").write("".join(f"=== {n}\n{show(o)}\n" for n, o in renderings(source, conversations).items()))


main()
