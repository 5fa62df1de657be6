#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tiny random models with reference logits, of families and variants that golden/arch does not have.

  golden_arch.py --llama-cpp DIR --out pkg/layers/testdata/arch [--only NAME]

Every model has hidden size 64, four layers (Gemma 3: six, because its pattern
of local and global attention has that period) and 512 tokens.  The weights are
normal (std 0.05) on a coarse grid and rounded to float16, so that files pack
well and the GGUF in F16 holds exactly the values that the reference used.
Reference: float32 logits of the Hugging Face implementation.
Conversion: llama.cpp's own converter classes, with the vocabulary replaced.
TestAgainstTransformers takes every folder that lies there.
A model that fails is reported and left out, the others are made.
Needs: torch, transformers, numpy, tokenizers; and of a llama.cpp source tree conversion/ and gguf-py/gguf/.
"""
import argparse, json, os, shutil, sys, traceback
from pathlib import Path
import numpy as np

ap = argparse.ArgumentParser()
ap.add_argument("--llama-cpp", required=True)
ap.add_argument("--out", required=True)
ap.add_argument("--only")
A = ap.parse_args()
sys.path[:0] = [A.llama_cpp, os.path.join(A.llama_cpp, "gguf-py")]
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
import transformers as T
from tokenizers import Tokenizer, models, pre_tokenizers, trainers, decoders, Regex

torch.set_num_threads(4)
BASE = dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1,
            max_position_embeddings=2048, bos_token_id=0, eos_token_id=2, pad_token_id=3, tie_word_embeddings=False)
WIDE = {**BASE, "num_attention_heads": 4, "num_key_value_heads": 2}  # with a head size of its own
THETA = lambda t: {"rope_type": "default", "rope_theta": t}
GEMMA3 = {**WIDE, "head_dim": 32, "tie_word_embeddings": True, "num_hidden_layers": 6, "query_pre_attn_scalar": 32, "sliding_window": 16, "rms_norm_eps": 1e-6,
          "hidden_activation": "gelu_pytorch_tanh", "layer_types": ["sliding_attention"] * 5 + ["full_attention"]}
LONGROPE = lambda context: {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": context,
                            "short_factor": [1.0 + i / 25 for i in range(16)], "long_factor": [1.0 + i / 2 for i in range(16)]}
# LongRoPE: transformers turns a sequence by the short factors until it is longer than the original context, whereas a model whose context is longer
# than that is turned by the long ones here, always. So both prompts are longer than 6, or the context is the original one.
CONFIGS = {
    "gemma3": lambda: T.Gemma3TextConfig(**GEMMA3),
    "gemma3-linear": lambda: T.Gemma3TextConfig(**GEMMA3, rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, "sliding_attention": THETA(10000.0)}),
    "qwen3moe": lambda: T.Qwen3MoeConfig(**WIDE, head_dim=32, rms_norm_eps=1e-6, rope_parameters=THETA(1e6), num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], use_sliding_window=False),
    "gpt-oss": lambda: T.GptOssConfig(**{**WIDE, "intermediate_size": 64, "max_position_embeddings": 32768}, head_dim=32, rms_norm_eps=1e-5, num_local_experts=4, num_experts_per_tok=2, sliding_window=16,
                                      rope_parameters={"rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 1024}),
    "phi3-longrope": lambda: T.Phi3Config(**BASE, rms_norm_eps=1e-5, sliding_window=None, original_max_position_embeddings=6, rope_parameters=LONGROPE(6)),
    "phi3-longrope-short": lambda: T.Phi3Config(**BASE, rms_norm_eps=1e-5, sliding_window=16, original_max_position_embeddings=2048, rope_parameters=LONGROPE(2048)),
    "llama-yarn": lambda: T.LlamaConfig(**{**BASE, "max_position_embeddings": 8192}, rms_norm_eps=1e-5, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 1024}),
    "llama-linear": lambda: T.LlamaConfig(**BASE, rms_norm_eps=1e-5, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
}
rng = np.random.default_rng(42)
IDS = {"p7": [0] + rng.integers(4, 512, 6).tolist(), "p40": [0] + rng.integers(4, 512, 39).tolist()}


def small_tokenizer():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator([open(__file__).read()] + [str(v.__doc__) for v in vars(np).values()], trainers.BpeTrainer(vocab_size=512, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"],
                          initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    assert t.get_vocab_size() == 512
    return t


TOK = small_tokenizer()
SPEC = json.loads(TOK.to_str())


def set_vocab(self):
    import gguf
    inv = {i: s for s, i in TOK.get_vocab().items()}
    w = self.gguf_writer
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list([inv[i] for i in range(512)])
    w.add_token_types([gguf.TokenType.CONTROL if i < 4 else gguf.TokenType.NORMAL for i in range(512)])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in SPEC["model"]["merges"]])
    w.add_bos_token_id(0)
    w.add_eos_token_id(2)
    w.add_pad_token_id(3)
    w.add_add_bos_token(False)


def build(name):
    """Makes the model, with the plain loop over experts where there is a choice."""
    kw = dict(attn_implementation="eager", dtype=torch.float32)
    try:
        m = T.AutoModelForCausalLM.from_config(CONFIGS[name](), experts_implementation="eager", **kw).eval()
        logits_of(m, IDS["p7"])
    except Exception:
        traceback.print_exc()
        m = T.AutoModelForCausalLM.from_config(CONFIGS[name](), **kw).eval()
    return m


def weights(name, m):
    gemma = name.startswith("gemma")
    g = torch.Generator().manual_seed(sum(map(ord, name)))
    for n, p in m.named_parameters():
        if "norm" in n:
            v = torch.randn(p.shape, generator=g) * 0.1 + (0 if gemma else 1)
            v = torch.round(v / 0.02) * 0.02
        else:
            v = torch.round(torch.randn(p.shape, generator=g) * 0.05 / 0.0125) * 0.0125
        if n.endswith("gate_up_proj_bias"):
            v = v * 80  # so that gpt-oss's activation meets its limits
        p.copy_(v.half().float())


def logits_of(m, ids):
    return m(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


def greedy(m, ids, n=16):
    """All over again for each token: no cache, whose handling differs from family to family."""
    out = list(ids)
    for _ in range(n):
        out.append(int(logits_of(m, out)[-1].argmax()))
    return out[len(ids):]


def reference(name, d):
    torch.manual_seed(7)
    with torch.no_grad():
        m = build(name)
        weights(name, m)
        logits = {k: logits_of(m, x).numpy() for k, x in IDS.items()}
        more = {k: greedy(m, x) for k, x in IDS.items()}
    m.config.architectures = [type(m).__name__]
    m.save_pretrained(d / "hf")
    TOK.save(str(d / "hf" / "tokenizer.json"))
    for k, v in logits.items():
        assert np.isfinite(v).all()
        np.save(d / f"logits.{k}.npy", v.astype(np.float32))
    json.dump({"arch": type(m).__name__, "ids": IDS, "params": sum(p.numel() for p in m.parameters()), "top1_last": {k: int(v[-1].argmax()) for k, v in logits.items()},
               "greedy16": more, "transformers": T.__version__, "torch": torch.__version__}, open(d / "ids.json", "w"))
    print(name, "logits", {k: [float(v.std()), float(abs(v).max())] for k, v in logits.items()}, flush=True)


def convert(name, d):
    import gguf
    from conversion import get_model_class, get_model_architecture, ModelBase, ModelType
    with torch.inference_mode():
        hp = ModelBase.load_hparams(d / "hf", False)
        cls = get_model_class(get_model_architecture(hp, ModelType.TEXT))
        cls.set_vocab = set_vocab
        cls(d / "hf", gguf.LlamaFileType.MOSTLY_F16, d / "model.gguf", model_name="golden p-three" if name.startswith("phi3") else f"golden-{name}").write()  # llama.cpp treats a model named phi3 specially


def make(name):
    d = Path(A.out) / name
    shutil.rmtree(d, ignore_errors=True)
    (d / "hf").mkdir(parents=True)
    try:
        reference(name, d)
        print((d / "hf" / "config.json").read_text(), flush=True)
        convert(name, d)
        print("made", name, flush=True)
    except Exception:
        traceback.print_exc()
        print("FAILED", name, flush=True)
    if (d / "model.gguf").exists():
        shutil.rmtree(d / "hf")


if __name__ == "__main__":
    for name in [A.only] if A.only else CONFIGS:
        make(name)
