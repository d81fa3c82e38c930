#!/usr/bin/env python3
"""CLIP's byte-pair tokeniser, and the short list of token ids that moonlet's captions use.

The merges come from bpe_simple_vocab_16e6.txt.gz inside the PyPI package open_clip_torch 3.3.0
(`pip install --no-deps open_clip_torch`; the package itself is not imported). Ids: begin 49406,
end and padding 49407, 77 positions.

    python tokens.py "a full moon"    # prints the ids, checked against transformers' own tokeniser
"""
import functools
import gzip
import importlib.util
import os
import regex
import sys

BOS, EOS, LENGTH, VOCAB = 49406, 49407, 77, 49408
PIECES = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE)


@functools.cache
def tables():
    """(byte -> printable character, piece -> id, pair -> rank)"""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    chars = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}
    root = os.path.dirname(importlib.util.find_spec("open_clip").origin)
    with gzip.open(os.path.join(root, "bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as f:
        merges = [tuple(line.split()) for line in f.read().split("\n")[1:49152 - 256 - 2 + 1]]
    letters = [chars[b] for b in plain + rest]
    pieces = letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return chars, {p: i for i, p in enumerate(pieces)}, {m: i for i, m in enumerate(merges)}


@functools.cache
def word_ids(word):
    chars, ids, rank = tables()
    parts = [chars[b] for b in word.encode()]
    parts[-1] += "</w>"
    while len(parts) > 1:
        best = min(zip(parts, parts[1:]), key=lambda pair: rank.get(pair, 1 << 30))
        if best not in rank:
            break
        merged, i = [], 0
        while i < len(parts):
            both = tuple(parts[i:i + 2]) == best
            merged.append("".join(best) if both else parts[i])
            i += 2 if both else 1
        parts = merged
    return tuple(ids[p] for p in parts)


def encode(text):
    """The ids of a text without begin, end and padding."""
    return [i for word in PIECES.findall(" ".join(text.lower().split())) for i in word_ids(word)]


def frame(ids):
    """Begin, at most 75 ids, end, padding."""
    ids = [BOS, *ids[:LENGTH - 2], EOS]
    return ids + [EOS] * (LENGTH - len(ids))


@functools.cache
def known():
    """Sorted real ids that captions can contain; every other id is 'unknown' to moonlet."""
    from captions import every_word
    return tuple(sorted({BOS, EOS, *encode(every_word())}))


if __name__ == "__main__":
    from transformers import CLIPTokenizer
    _, vocab, merges = tables()
    assert len(vocab) == VOCAB
    theirs = CLIPTokenizer(vocab=vocab, merges=[*merges])
    texts = sys.argv[1:] + ["A full moon, 2 seas; don't (neon:1.2) xyzzy naïve", "masterpiece, best quality, 8k"]
    for t in texts:
        want = theirs(t, padding="max_length", max_length=LENGTH, truncation=True)["input_ids"]
        print(t, encode(t))
        assert frame(encode(t)) == want, (want[:20])
    print(len(known()), "known ids; agrees with transformers")
