#!/usr/bin/env python3
"""Makes words.json, vectors.json and sentencepiece.json: what other implementations make of texts that hurt.

    python3 tokens.py          needs the package regex
    python3 tokens.py spm      needs the package sentencepiece

words.json     the words that each pre-tokenizer's published expressions cut texts into, found by the package regex.
vectors.json   token IDs with the demo model's vocabulary: those words, merged by the plainest BPE there is (take the best pair, look
               again). Texts are hexadecimal, since some are not UTF-8.
sentencepiece.json  small vocabularies trained by SentencePiece, and its own IDs.
"""
import json, os, random, struct, sys

HERE = os.path.dirname(os.path.abspath(__file__))

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+%(c)s|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*%(c)s|\p{{N}}%(n)s|"
         r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
CJK = "\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff"

# Each is a list: an expression cuts what the one before it has left whole or between.
EXPRESSIONS = {
    "gpt-2": [GPT2],
    "mpt": [GPT2],
    "llama-bpe": [CL100K % "{1,3}"],
    "qwen2": [CL100K % ""],
    "starcoder": [r"\p{N}", GPT2],
    "refact": [r"\p{N}", GPT2],
    "command-r": [r"\p{N}", GPT2],
    "smollm": [r"\p{N}", GPT2],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    "gpt-4o": [O200K % {"c": CONTRACTION, "n": "{1,3}"}],
    "tekken": [O200K % {"c": "", "n": ""}],
    "deepseek-llm": [r"[\r\n]", rf"\s?[{DEEPSEEK_LETTERS}]+", r"\s?[!-/:-~" "\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", f"[{CJK}]+", r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", f"[{CJK}]+", r"\p{N}"],
    "deepseek-v3": [
        r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|"""
        r"\s+(?!\S)|\s+"],
}
IGNORE_MERGES = {"llama-bpe", "tekken"}

# Texts that hurt, as bytes.
HURT = [s.encode() for s in (
    "", " ", "  ", "\n", "\r\n", "\t", " \n ", "\n\n\n\n", "     x", "a\n  \n\t b  ", "\r\n\r\n x\r", "\u00a0x\u3000y\u2028z\u0085",
    "👩‍👩‍👧‍👦 🏳️‍🌈👍🏽🇩🇪🦙", "e\u0301 n\u0303 \u0301x A\u0301B", "漢字かな交じり文カタカナ、句読点。", "中文English混排123数字", "한국어 텍스트",
    "العربية نَصٌّ ١٢٣ ۴۵", "עִבְרִית", "हिन्दी पाठ देवनागरी १२३", "ไทยไม่มีเว้นวรรค", "МОСКВА Москва мосКва", "ΑΒΓ αβγ ΑβΓ", "ÉCOLE École éCole ǅungla",
    "HTTPServer2XMLParser iPhone aB Ab ABc abC", "I'm you'RE we'LL THEY'VE 'tis 'S'T x's'd don't 'ſ O'Neill’s", "1 12 123 1234 12345 1234567 3.14 1,000 ½ ² Ⅷ ①",
    "0xFF 1e-5 v1.2.3 2026-11-22", "if x<=10&&y!=3||!z{a+=b[i]*c--;}//\n", "a/b//c\n/\n", "`x` ``` $1 ^ ~ | + = <b>", "snake_case camelCase SCREAMING-kebab",
    "\u200b\u200d\ufeffx\u00ad", "\ufffd\U0010ffff\ue000", "ﬁ ﬂ Ⓐ 🅰 ａｂｃ１２３！？", "µ ª º ʰ ʔ ƻ Ǆ ǅ ǆ K Å ℵ", "“curly” ‘q’ — … 。、", "\x00\x01\x7f\x1b[0m",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|><|endoftext|> a<|im_", " <|im_end|> x", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "The quick brown fox jumps over the lazy dog. What is artificial intelligence?",
)] + [b"\xff", b"a\xff\xfeb", b"\xe2\x82", b" \xe2\x82\xac\x82 x", b"\xf0\x9f\xa6", b"\xc0\x80\xed\xa0\x80", b"caf\xe9 na\xefve", b"\x80\x80  \x80\n\x80"]


def random_texts():
    rng = random.Random(7)
    parts = list(" \t\n\r'\"aAbBsStTrRdDmMlLvVeEéÉ\u0301\u200d\u00a0\u3000\u2028ǅ½٣123中文あ한🦙.,!?_/-+$~(“…ʔ") + ["  ", "   ", "'s", "'LL", "\r\n"]
    return sorted({"".join(rng.choice(parts) for _ in range(rng.randint(1, 24))) for _ in range(260)})


def words(expressions, text):
    """Cuts text by one expression after the other; what lies between matches is a word too."""
    import regex
    pieces = [text]
    for e in expressions:
        out = []
        for p in pieces:
            at = 0
            for m in regex.finditer(e, p):
                if m.start() > at:
                    out.append(p[at:m.start()])
                if m.end() > m.start():
                    out.append(m.group())
                at = m.end()
            if at < len(p):
                out.append(p[at:])
        pieces = out
    return pieces


def byte_words(name, raw):
    """As words, of bytes: one that is not UTF-8 counts as U+FFFD."""
    chars = raw.decode("utf-8", "surrogateescape")
    size = [1 if 0xdc80 <= ord(c) <= 0xdcff else len(c.encode()) for c in chars]
    text = "".join("\ufffd" if 0xdc80 <= ord(c) <= 0xdcff else c for c in chars)
    out, char, byte = [], 0, 0
    for w in words(EXPRESSIONS[name], text):
        n = sum(size[char:char + len(w)])
        out.append(raw[byte:byte + n])
        char, byte = char + len(w), byte + n
    assert byte == len(raw)
    return out


def gguf_arrays(path, wanted):
    """Reads string and int arrays of a GGUF file's metadata."""
    f = open(path, "rb")
    u32, u64 = (lambda: struct.unpack("<I", f.read(4))[0]), (lambda: struct.unpack("<Q", f.read(8))[0])
    string = lambda: f.read(u64()).decode()
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    assert f.read(4) == b"GGUF"
    u32(), u64()
    found = {}
    for _ in range(u64()):
        key, kind = string(), u32()
        if kind == 8:
            string()
        elif kind == 9:
            of, n = u32(), u64()
            found[key] = [string() if of == 8 else f.read(sizes[of]) for _ in range(n)]
        else:
            f.read(sizes[kind])
    return [found[k] for k in wanted]


def byte_alphabet():
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    table, extra = {b: chr(b) for b in printable}, 256
    for b in range(256):
        if b not in table:
            table[b] = chr(extra)
            extra += 1
    return table


class BPE:
    def __init__(self, path):
        tokens, merges, types = gguf_arrays(path, ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type"])
        self.ids = {t: i for i, t in enumerate(tokens)}
        self.rank = {tuple(m.split(" ", 1)): i for i, m in reversed(list(enumerate(merges)))}
        self.special = [t for t, k in zip(tokens, types) if struct.unpack("<i", k)[0] in (3, 4)]
        self.alphabet = byte_alphabet()

    def word(self, name, raw):
        parts = [self.alphabet[b] for b in raw]
        if name in IGNORE_MERGES and "".join(parts) in self.ids:
            return [self.ids["".join(parts)]]
        while len(parts) > 1:
            rank, i = min((self.rank.get((a, b), 1 << 60), i) for i, (a, b) in enumerate(zip(parts, parts[1:])))
            if rank == 1 << 60:
                break
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return [self.ids[p] for p in parts]

    def plain(self, name, raw):
        return [i for w in byte_words(name, raw) for i in self.word(name, w)]

    def parsed(self, name, raw):
        """With special tokens: the leftmost, and of those the longest."""
        out, start, at = [], 0, 0
        names = sorted((t.encode() for t in self.special), key=len, reverse=True)
        while at < len(raw):
            hit = next((t for t in names if raw.startswith(t, at)), None)
            if hit is None:
                at += 1
                continue
            out += self.plain(name, raw[start:at]) + [self.ids[hit.decode()]]
            at += len(hit)
            start = at
        return out + self.plain(name, raw[start:])


def dump(name, value):
    with open(os.path.join(HERE, name), "w") as f:
        f.write(value + "\n")


def rows(items):
    return "[\n" + ",\n".join(json.dumps(i) for i in items) + "\n]"


def byte_level():
    texts = random_texts() + [h.decode() for h in HURT if h.decode("utf-8", "ignore").encode() == h]
    lengths = {name: [" ".join(str(len(w.encode())) for w in words(e, t)) for t in texts] for name, e in EXPRESSIONS.items()}
    dump("words.json", '{\n"texts": %s,\n"words": {\n%s\n}}' % (rows(texts), ",\n".join(f'"{n}": {rows(r)}' for n, r in lengths.items())))
    bpe = BPE(os.path.join(HERE, "..", "..", "..", "models", "demo-32l-q4_0.gguf"))
    ids = lambda l: " ".join(map(str, l))
    vectors = {n: [ids(bpe.plain(n, h)) + "|" + ids(bpe.parsed(n, h)) for h in HURT] for n in EXPRESSIONS}
    dump("vectors.json", '{\n"texts": %s,\n"ids": {\n%s\n}}' % (rows([h.hex() for h in HURT]), ",\n".join(f'"{n}": {rows(r)}' for n, r in vectors.items())))


def sentence_piece():
    import io, sentencepiece
    corpus = [l for d in ("README.md", "docs/architecture.md", "docs/numerics.md", "docs/protocol.md", "CONTRIBUTING.md")
              for l in open(os.path.join(HERE, "..", "..", "..", d)).read().split("\n") if l]
    corpus += [t for h in HURT if h.decode("utf-8", "ignore").encode() == h for t in h.decode().split("\n") if t.strip() and "\0" not in t] * 3
    space = "\u2581"
    gemma = ["\n" * n for n in range(1, 5)] + [space * n for n in range(2, 8)] + ["\t", "\t\t", "<table>", "</table>", "<h1>"]
    turns = ["<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"]
    styles = {}
    for name, opts in {"llama": {}, "phi-3": {}, "gemma": {"add_dummy_prefix": False, "user_defined_symbols": gemma}}.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus), model_writer=model, vocab_size=900, model_type="bpe", byte_fallback=True, character_coverage=0.98,
            normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
            minloglevel=2, num_threads=1, **opts)
        sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        n = sp.vocab_size()
        kinds = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 4 if sp.id_to_piece(i) in gemma and name == "gemma" else 1
                 for i in range(n)]
        # As converters do: user-defined pieces are spelt with spaces.
        tokens = [sp.id_to_piece(i).replace(space, " ") if kinds[i] == 4 else sp.id_to_piece(i) for i in range(n)]
        scores = [sp.get_score(i) for i in range(n)]

        def encode(text):
            if name != "phi-3":
                return sp.encode(text)
            out, rest = [], text
            while rest:
                at, hit = min(((rest.find(t), t) for t in turns if t in rest), default=(len(rest), ""))
                if at:
                    out += sp.encode(rest[:at])
                rest = rest[at + len(hit):]
                if hit:
                    out.append(n + turns.index(hit))
                    rest = rest if hit == "<|endoftext|>" else rest.lstrip()
            return out

        if name == "phi-3":
            tokens, scores, kinds = tokens + turns, scores + [-1000.0] * len(turns), kinds + [3] * len(turns)
        texts = [h.decode() for h in HURT if h.decode("utf-8", "ignore").encode() == h and b"\0" not in h] + [
            "a  b   c    d", "\n\n\n\n\n\n\n x", "<table>\t\t\t<h1>x</h1></table>", "<0x41>A", space + "a" + space]
        if name == "llama":
            texts.append("<s>a</s><unk>")
        if name == "phi-3":
            texts += ["<|user|>\nWhat is it?<|end|>\n<|assistant|>\n", "x <|end|> \u00a0 y <|endoftext|>\n z", "<|user|> <|end|>\t<|end|>"]
        styles[name] = {"tokens": tokens, "types": kinds, "scores": scores, "add_space_prefix": name != "gemma",
                        "texts": texts, "ids": [" ".join(map(str, encode(t))) for t in texts]}
    dump("sentencepiece.json", "{\n" + ",\n".join(f'"{n}": {{\n' + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in s.items()) + "}" for n, s in styles.items()) + "\n}")


sentence_piece() if sys.argv[1:] == ["spm"] else byte_level()
