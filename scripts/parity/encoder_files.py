#!/usr/bin/env python3
"""Tiny text encoders as transformers saves them, and what it reads of the GGUF files that perilune makes of them.

    python encoder_files.py OUT            # writes OUT/t5 and OUT/qwen; tests/references calls it
    python encoder_files.py OUT MADE       # reads every MADE/{t5,qwen}_TYPE.gguf and prints a line for each

transformers' own reader of GGUF files brings names, sizes and numbers back by gguf-py's tables, so that what it computes with a file
shows that all of them are where llama.cpp has them. gguf-py reads the words of the vocabulary. Versions: torch 2.11,
transformers 5.23, gguf 0.19.0.
"""
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import torch
from gguf import GGUFReader
from transformers import AutoTokenizer, Qwen3Config, Qwen3Model, T5Config, T5EncoderModel

from flow_pictures import qwen_tokenizer, t5_tokenizer
from seeded import seeded

KINDS = {"t5": T5EncoderModel, "qwen": Qwen3Model}
# How far the hidden states may be off, relative; each about twice of what was measured.
OFF = {"Q8_0": 0.04, "Q6_K": 0.1, "Q4_K_M": 0.4, "Q4_0": 0.5}
SIZES = {
    "t5": ("d_model", "d_ff", "d_kv", "num_layers", "num_heads", "relative_attention_num_buckets", "layer_norm_epsilon"),
    "qwen": ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "max_position_embeddings")}
ARCHITECTURES = {"t5": "t5encoder", "qwen": "qwen3"}


def build():
    t5 = seeded(lambda: T5EncoderModel(T5Config(
        vocab_size=128, d_model=256, d_kv=64, d_ff=512, num_layers=3, num_heads=2, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False)), 41)
    qwen = seeded(lambda: Qwen3Model(Qwen3Config(
        vocab_size=320, hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, max_position_embeddings=4096, rope_theta=5e5)), 43)
    return {"t5": (t5, t5_tokenizer(512)), "qwen": (qwen, qwen_tokenizer())}


def write(out):
    for name, (model, tokenizer) in build().items():
        model.save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)


@torch.no_grad()
def check(out, path):
    kind, precision = path.stem.split("_", 1)
    wanted = KINDS[kind].from_pretrained(out / kind).eval().float()
    said = type(wanted.config).from_pretrained(path.parent, gguf_file=path.name)
    for size in SIZES[kind]:
        assert abs(getattr(said, size) / getattr(wanted.config, size) - 1) < 1e-6, (size, getattr(said, size))
    # T5's activation is in no file of its kind.
    made = KINDS[kind].from_pretrained(path.parent, gguf_file=path.name, config=wanted.config, dtype=torch.float32).eval()
    ids = torch.tensor([[5, 9, 11, 4, 70, 66, 12, 1]])
    a, b = wanted(input_ids=ids).last_hidden_state, made(input_ids=ids).last_hidden_state
    off = ((a - b).norm() / a.norm()).item()
    assert off < OFF[precision], f"{path.name}: off by {off}"
    words = {name: field.contents() for name, field in GGUFReader(path).fields.items()}
    assert words["general.architecture"] == ARCHITECTURES[kind], words["general.architecture"]
    if kind == "qwen":
        assert words["qwen3.rope.freq_base"] == 5e5 and words["qwen3.attention.key_length"] == 64
    tokenizer = AutoTokenizer.from_pretrained(out / kind)
    known = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    tokens, table = words["tokenizer.ggml.tokens"], wanted.get_input_embeddings().num_embeddings
    assert len(tokens) == table == len(words["tokenizer.ggml.token_type"]), (len(tokens), table)
    assert all(tokens[number] == text for text, number in known)
    ends = {"t5": "</s>", "qwen": "<|im_end|>"}
    assert tokens[words["tokenizer.ggml.eos_token_id"]] == ends[kind]
    print(f"{path.name}: {len(words)} words, {len(known)} tokens, hidden states off by {off:.4f}")


def main():
    out = Path(sys.argv[1])
    if len(sys.argv) == 2:
        return write(out)
    files = sorted(Path(sys.argv[2]).glob("*.gguf"))
    assert files, "there is nothing to check"
    for path in files:
        check(out, path)


if __name__ == "__main__":
    main()
