#!/usr/bin/env python3
"""Writes what transformers' tokenizers make of 200 prompts, and the vocabularies that perilune must read to make the same.

    python encoder_tokens.py OUT_DIR          # tests/references calls it

CLIP's is the one of clip_tokens.py, with the padding of either encoder. T5's and Qwen's are made twice: trained here on
the prompts themselves, and, where a folder `shared/data/tokenizers` lies beside or above the repository, the real ones.
Each is written in every form in which models bring it: tokenizer.json, vocab.json with merges.txt, the header of a GGUF file.

Versions: transformers 5.23, tokenizers as it brings them, gguf 0.19.0.
"""
import json
import os
import pathlib
import random
import shutil
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
import gguf
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from clip_tokens import TEXTS, tokenizer

WORDS = """a of the moon lighthouse on cliff oil painting volumetric light 8k masterpiece cinematic portrait woman, man's cat. dog!
    (detailed) (sharp:1.3) [blurry] {x|y} \\(round\\) \\[square\\] BREAK AND embedding:name <lora:x:0.8> red-haired blue_eyes 35mm
    f/1.8 #ffaa00 50% "quoted" 'single' don't they've 1girl solo\U0001f31f \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 \u2764\ufe0f
    \u732b\u306e\u5199\u771f \u9ad8\u8d28\u91cf\uff0c \uace0\uc591\uc774 \u0642\u0637\u0629 \u05d7\u05ea\u05d5\u05dc \u0928\u092e\u0938\u094d\u0924\u0947 \u0e41\u0e21\u0e27 \u041c\u043e\u0441\u043a\u0432\u0430 \u00c9COLE cafe\u0301 na\u00efve \ufb01n
    Stra\u00dfe \u2014 \u2026 \u00bd \u2460 \uff21\uff22\uff23 \u3000wide\u3000 tab\there line\nbreak\r\nend \u00a0nbsp \u200bzw \u202ertl\u202c <|im_start|> <|im_end|> <|endoftext|>
    </s> <pad> <unk> <extra_id_0> xkcdqwrtzplm 1234567890 3.14159 \U00020bb7\u91ce""".split(" ")


def prompts():
    """The awkward texts of clip_tokens.py, long ones, and random ones to make 200."""
    rng = random.Random(8)
    words = [w for w in WORDS if w]
    texts = list(TEXTS) + [" ".join(rng.choice(words[:18]) for _ in range(300)), "moon, " * 120, "a  b   c    d ", " leading", "trailing  "]
    while len(texts) < 200:
        text = rng.choice([" ", "  ", ", ", ""]).join(rng.choice(words) for _ in range(rng.randint(1, 24)))
        if text not in texts:
            texts.append(text)
    return texts


def real_data():
    for above in pathlib.Path(__file__).resolve().parents:
        if (above / "shared/data/tokenizers").is_dir():
            return above / "shared/data/tokenizers"
    return None


T5_MARKS = ["<pad>", "</s>", "<unk>"]


def trained_t5(texts):
    model = Tokenizer(models.Unigram())
    model.normalizer = normalizers.Sequence([normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "\u2581")])
    model.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="first")
    model.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=600, special_tokens=T5_MARKS, unk_token="<unk>", show_progress=False))
    # The trainer's order of ids is its own; models have the marks first.
    state = json.loads(model.to_str())
    pieces = dict(map(tuple, state["model"]["vocab"]))
    state["model"]["vocab"] = [[m, 0.0] for m in T5_MARKS] + [[p, s] for p, s in pieces.items() if p not in T5_MARKS]
    state["model"]["unk_id"] = T5_MARKS.index("<unk>")
    for token in state["added_tokens"]:
        token["id"] = T5_MARKS.index(token["content"])
    return Tokenizer.from_str(json.dumps(state))


def trained_qwen(texts, folder):
    model = Tokenizer(models.BPE())
    model.normalizer = normalizers.NFC()
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False))
    state = json.loads(model.to_str())["model"]
    write_pairs(folder, state["vocab"], state["merges"], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])


def write_pairs(folder, vocab, merges, marks):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    added = {str(len(vocab) + i): {"content": mark, "special": True} for i, mark in enumerate(marks)}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))


def qwen_of(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    added = {int(i): t for i, t in config["added_tokens_decoder"].items()}
    vocab = json.loads((folder / "vocab.json").read_text())
    merges = [tuple(line.split(" ")) for line in (folder / "merges.txt").read_text().split("\n")[1:] if line]
    theirs = Qwen2Tokenizer(vocab=vocab, merges=merges)
    for i in sorted(added):
        theirs.add_tokens([AddedToken(added[i]["content"], special=True, normalized=False)])
        assert theirs.convert_tokens_to_ids(added[i]["content"]) == i, added[i]
    return theirs, vocab, merges, added


# llama.cpp's kinds of tokens.
NORMAL, UNKNOWN, CONTROL, USERS, UNUSED = 1, 2, 3, 4, 5


def write_gguf(path, arch, model, tokens, types, scores=None, merges=None, table=None):
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if scores:
        writer.add_token_scores(scores)
    if merges:
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges([f"{a} {b}" for a, b in merges])
    if table:
        writer.add_precompiled_charsmap(table)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def t5_gguf(path, model):
    import base64
    state = json.loads(model.to_str())
    pieces, added = state["model"]["vocab"], {t["content"] for t in state["added_tokens"]}
    kind = lambda p: UNKNOWN if p == "<unk>" else CONTROL if p in T5_MARKS else USERS if p in added else NORMAL
    steps = state["normalizer"]["normalizers"]
    table = next((base64.b64decode(n["precompiled_charsmap"]) for n in steps if n["type"] == "Precompiled"), None)
    # Real files are filled up to the rows of the matrix.
    tokens, types = [p for p, _ in pieces] + ["[PAD1]", "[PAD2]"], [kind(p) for p, _ in pieces] + [UNUSED, UNUSED]
    write_gguf(path, "t5encoder", "t5", tokens, types, scores=[s for _, s in pieces] + [-1000.0] * 2, table=table)


def qwen_gguf(path, vocab, merges, added):
    everything = {i: token for token, i in vocab.items()} | {i: t["content"] for i, t in added.items()}
    count = max(everything) + 1
    tokens = [everything.get(i, f"[PAD{i}]") for i in range(count)]
    types = [CONTROL if i in added else NORMAL if i in everything else UNUSED for i in range(count)]
    write_gguf(path, "qwen3", "gpt2", tokens, types, merges=merges)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    texts = prompts()
    assert len(texts) == len(set(texts)) == 200
    clip = tokenizer()
    windows = {}
    for name, pad in (("clip_l", "<|endoftext|>"), ("clip_g", "!")):
        clip.pad_token = pad
        windows[name] = [clip(t, padding="max_length", truncation=True, max_length=77)["input_ids"] for t in texts]
    answer = {"texts": texts, "clip": [clip(t)["input_ids"][1:-1] for t in texts], "windows": windows, "vocabularies": []}

    def told(kind, places, encode):
        answer["vocabularies"].append({"kind": kind, "places": [str(p) for p in places], "ids": [encode(t) for t in texts]})

    def t5(name, file):
        model = PreTrainedTokenizerFast(tokenizer_file=str(file))
        t5_gguf(out / f"{name}.gguf", Tokenizer.from_file(str(file)))
        told("t5", [file, out / f"{name}.gguf"], lambda t: model(t, add_special_tokens=False)["input_ids"])

    def qwen(name, folder):
        theirs, vocab, merges, added = qwen_of(folder)
        theirs.backend_tokenizer.save(str(out / f"{name}.json"))
        qwen_gguf(out / f"{name}.gguf", vocab, merges, added)
        told("qwen", [folder, out / f"{name}.json", out / f"{name}.gguf"], lambda t: theirs(t, add_special_tokens=False)["input_ids"])

    trained_t5(texts).save(str(out / "t5-trained.json"))
    t5("t5-trained", out / "t5-trained.json")
    trained_qwen(texts, out / "qwen-trained")
    qwen("qwen-trained", out / "qwen-trained")
    if data := real_data():
        for name, ours in (("t5", "t5-real"), ("qwen25", "qwen-real")):
            (out / ours).mkdir()
            for file in (data / name).iterdir():
                shutil.copyfile(file, out / ours / file.name)
        t5("t5-real", out / "t5-real/tokenizer.json")
        qwen("qwen-real", out / "qwen-real")
    # The folder is given its name when it is whole.
    answer["vocabularies"] = json.loads(json.dumps(answer["vocabularies"]).replace(str(out) + "/", ""))
    (out / "answer.json").write_text(json.dumps(answer))
    print(f"{len(texts)} texts, {len(answer['vocabularies'])} vocabularies")


if __name__ == "__main__":
    main()
