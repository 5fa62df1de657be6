#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tiny random models with reference logits, of families and variants that golden/arch does not have.

  golden_arch.py --llama-cpp DIR --out pkg/layers/testdata/arch

Every model has hidden size 256, four layers (Gemma 3: six, because its pattern
of local and global attention has that period) and 512 tokens.  The weights are
normal (std 0.05) on a coarse grid and rounded to float16, so that files pack
well and the GGUF in F16 holds exactly the values that the reference used.
Reference: float32 logits of the Hugging Face implementation.
Conversion: llama.cpp's own converter classes, with the vocabulary replaced.
TestAgainstTransformers takes every folder that lies there; config.json and hf/ are not needed.
Needs: torch, transformers, numpy, tokenizers; and a llama.cpp source tree.
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
BASE = dict(vocab_size=512, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=2048, bos_token_id=0, eos_token_id=2, pad_token_id=3, tie_word_embeddings=False)
THETA = lambda t: {"rope_type": "default", "rope_theta": t}
CONFIGS = {
    "gemma3": lambda: T.Gemma3TextConfig(**{**BASE, "tie_word_embeddings": True, "num_hidden_layers": 6}, head_dim=64, query_pre_attn_scalar=64, sliding_window=16, rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh",
                                         layer_types=["sliding_attention"] * 5 + ["full_attention"]),
    "qwen3moe": lambda: T.Qwen3MoeConfig(**BASE, head_dim=64, rms_norm_eps=1e-6, rope_parameters=THETA(1e6), num_experts=4, num_experts_per_tok=2, moe_intermediate_size=256, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], use_sliding_window=False),
    "gpt-oss": lambda: T.GptOssConfig(**{**BASE, "intermediate_size": 256}, head_dim=64, rms_norm_eps=1e-5, num_local_experts=4, num_experts_per_tok=2, sliding_window=16,
                                      rope_parameters={"rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 64}),
    "phi3-longrope": lambda: T.Phi3Config(**BASE, rms_norm_eps=1e-5, sliding_window=None, original_max_position_embeddings=32,
                                          rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 32, "short_factor": [1.0 + i / 50 for i in range(32)], "long_factor": [1.0 + i / 3 for i in range(32)]}),
    "llama-yarn": lambda: T.LlamaConfig(**BASE, rms_norm_eps=1e-5, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 256}),
    "llama-linear": lambda: T.LlamaConfig(**BASE, rms_norm_eps=1e-5, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
}
# transformers turns a sequence by the short factors until it is longer than the original context, whereas a LongRoPE model whose context is longer
# is turned by the long ones here, always: only the long prompt can be compared.
ONLY_LONG = {"phi3-longrope"}
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


def make(name):
    import gguf
    from conversion import get_model_class, get_model_architecture, ModelBase, ModelType
    d = Path(A.out) / name
    d.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    cfg = CONFIGS[name]()
    m = T.AutoModelForCausalLM.from_config(cfg, attn_implementation="eager", dtype=torch.float32).eval()
    gemma = name.startswith("gemma")
    g = torch.Generator().manual_seed(sum(map(ord, name)))
    with torch.no_grad():
        for n, p in m.named_parameters():
            if "norm" in n:
                v = torch.randn(p.shape, generator=g) * 0.1 + (0 if gemma else 1)
                v = torch.round(v / 0.02) * 0.02
            else:
                v = torch.round(torch.randn(p.shape, generator=g) * 0.05 / 0.0125) * 0.0125
            p.copy_(v.half().float())
        logits = {k: m(input_ids=torch.tensor([x])).logits[0].float().numpy() for k, x in IDS.items()}
    cfg.architectures = [type(m).__name__]
    m.config.architectures = [type(m).__name__]
    hf = d / "hf"
    m.save_pretrained(hf)
    TOK.save(str(hf / "tokenizer.json"))
    for k, v in logits.items():
        if k == "p7" and name in ONLY_LONG:
            continue
        np.save(d / f"logits.{k}.npy", v.astype(np.float32))
    json.dump({"arch": type(m).__name__, "ids": IDS, "params": sum(p.numel() for p in m.parameters()), "top1_last": {k: int(v[-1].argmax()) for k, v in logits.items()},
               "greedy16": {k: m.generate(torch.tensor([x]), max_new_tokens=16, do_sample=False, eos_token_id=None, pad_token_id=3)[0, len(x):].tolist() for k, x in IDS.items()},
               "transformers": T.__version__, "torch": torch.__version__}, open(d / "ids.json", "w"))
    with torch.inference_mode():
        hp = ModelBase.load_hparams(hf, False)
        cls = get_model_class(get_model_architecture(hp, ModelType.TEXT))
        cls.set_vocab = set_vocab
        cls(hf, gguf.LlamaFileType.MOSTLY_F16, d / "model.gguf", model_name="golden p-three" if name.startswith("phi3") else f"golden-{name}").write()  # llama.cpp treats a model named phi3 specially
    return name


if __name__ == "__main__":
    for name in ([A.only] if A.only else CONFIGS):
        try:
            print("made", make(name), flush=True)
        except Exception:
            traceback.print_exc()
            print("FAILED", name, flush=True)
        shutil.rmtree(Path(A.out) / name / "hf", ignore_errors=True)
