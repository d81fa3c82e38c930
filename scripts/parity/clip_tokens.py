#!/usr/bin/env python3
"""Makes tests/fixtures/parity/clip_tokens.json: what transformers' CLIP tokenizer, the one that diffusers
and ComfyUI use, makes of awkward texts; and what OpenCLIP's makes of them where that is something else.

    pip install transformers ftfy regex && pip install --no-deps open_clip_torch
    python scripts/parity/clip_tokens.py

The vocabulary is the file that OpenCLIP ships; transformers' tokenizer is built from the same one, with its
own names of the two special tokens. The ids come without the begin and end marks.
"""

import importlib.util
import json
import pathlib
import platform
from importlib.metadata import version

import tokenizers
import transformers

OUT = pathlib.Path(__file__).parents[2] / "tests/fixtures/parity/clip_tokens.json"

TEXTS = [
    # Plain prompts.
    "a photo of a cat",
    "A Photo Of A CAT",
    "masterpiece, best quality, 1girl, solo, looking at viewer",
    "portrait of a woman, oil on canvas, 4k, f/1.8, ISO 100",
    "cinematic shot of a spaceship landing on mars, volumetric lighting, by greg rutkowski",
    "antidisestablishmentarianism floccinaucinihilipilification",
    "xkcdqwrtzplm",
    # Nothing, and white space of every kind.
    "",
    " ",
    "\t\n",
    "  two   spaces  ",
    "line\nbreak\r\nand\ttab",
    "no\u00a0break\u2003em\u3000ideographic",
    "zero\u200bwidth",
    "next\u0085line",
    "unit\u001fseparator",
    "soft\u00adhyphen",
    # Contractions.
    "it's don't we'll they've i'm you'd we're",
    "IT'S DON'T WE'LL",
    "it\u2019s a typographer\u2019s apostrophe",
    "'s't're",
    "rock 'n' roll",
    "o'clock'd",
    # Digits.
    "1234567890",
    "3.14159",
    "1st 2nd 3rd 100th",
    "\u00bd \u00b2 \u2163 \u2460",
    "\u0661\u0662\u0663",
    "8k2d",
    # Runs of punctuation.
    "!!!",
    "wow!!!???...",
    ":::---===",
    "(((a)))",
    "[a] {b} <c>",
    "a,b,c",
    "a , b , c",
    "#hashtag @user $100 50% a&b c*d e+f g=h",
    "path/to\\file_name.png",
    "___under__score_",
    "\u201cquotes\u201d \u00abguillemets\u00bb \u2014 \u2013 \u2026",
    "&amp; &lt;tag&gt;",
    # Accents, composed and not.
    "caf\u00e9 na\u00efve \u00fcber",
    "cafe\u0301 nai\u0308ve u\u0308ber",
    "\u00c9COLE \u00c5NGSTR\u00d6M",
    "A\u030angstro\u0308m",
    "\ufb01n \ufb02ow",
    "\u212bngstrom \u2126 \u212a",
    "Stra\u00dfe STRASSE \u1e9e",
    "\u0130stanbul \u0131",
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3",
    "\u017ft's",
    "z\u0351\u036b\u0343a\u0328lgo\u0334",
    # Other scripts.
    "\u732b\u306e\u5199\u771f",
    "\u9ad8\u8d28\u91cf\uff0c\u5927\u5e08\u4e4b\u4f5c",
    "\uace0\uc591\uc774 \uc0ac\uc9c4",
    "\u1112\u1161\u11ab",
    "\u041c\u043e\u0441\u043a\u0432\u0430 \u041f\u0440\u0438\u0432\u0435\u0442",
    "\u0642\u0637\u0629 \u062c\u0645\u064a\u0644\u0629",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\u0e41\u0e21\u0e27",
    "\U00020bb7\u91ce\u5bb6",
    # Emoji.
    "\U0001f431",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    "\U0001f44d\U0001f3fd thumbs",
    "\u2764\ufe0f heart",
    "\U0001f1ef\U0001f1f5 flag",
    "cat\U0001f431dog",
    # The special strings of three projects.
    "<|endoftext|>",
    "a <|endoftext|> b",
    "a<|startoftext|>b",
    "<|endoftext|><|endoftext|>",
    "<|endoftext",
    "<|ENDOFTEXT|>",
    "<start_of_text>",
    "a <end_of_text> b",
    "!<end_of_text>",
    "<START_OF_TEXT>",
    "</w> a</w>",
    # Prompt syntax as it would look unparsed.
    "(masterpiece:1.2), [bad], BREAK",
    "\\(escaped\\)",
    "a:b::c",
]


def load_open_clip():
    """Imports open_clip's tokenizer.py alone: the package's own door wants torchvision."""
    folder = pathlib.Path(importlib.util.find_spec("open_clip").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", folder / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()


def tokenizer(open_clip=None):
    """transformers' CLIP tokenizer with the vocabulary that OpenCLIP ships."""
    open_clip = open_clip or load_open_clip()
    renamed = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {renamed.get(token, token): i for token, i in open_clip.encoder.items()}
    assert len(vocab) == 49408 and vocab["<|endoftext|>"] == 49407
    return transformers.CLIPTokenizer(vocab=vocab, merges=list(open_clip.bpe_ranks), model_max_length=77)


def main():
    open_clip = load_open_clip()
    clip = tokenizer(open_clip)

    def entry(text):
        ids = clip(text)["input_ids"]
        assert ids[0] == 49406 and ids[-1] == 49407
        made = {"text": text, "ids": ids[1:-1]}
        theirs = open_clip.encode(text)
        return made if theirs == made["ids"] else made | {"open_clip": theirs}

    assert len(set(TEXTS)) == len(TEXTS)
    header = {
        "made_by": "scripts/parity/clip_tokens.py",
        "command": "python scripts/parity/clip_tokens.py",
        "versions": {"python": platform.python_version(), "transformers": transformers.__version__,
                     "tokenizers": tokenizers.__version__, "open_clip_torch": version("open_clip_torch"),
                     "ftfy": version("ftfy"), "regex": version("regex")},
        "seed": "none",
    }
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in header.items()]
    rows = ",\n".join(json.dumps(entry(t)) for t in TEXTS)
    lines.append(f'"texts": [\n{rows}\n]')
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes, {len(TEXTS)} texts")


if __name__ == "__main__":
    main()
