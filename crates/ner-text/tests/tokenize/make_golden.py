"""Writes golden.json beside it: token numbers of a small vocabulary by transformers' BERT tokenizer, which
tests/tokenize.rs compares with.

Made with transformers 5.23.0, tokenizers 0.23.3, Python 3.11: python make_golden.py
"""

import json
import tempfile
from pathlib import Path

from transformers import BertTokenizerFast

HERE = Path(__file__).resolve().parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNCASED = ["a", "b", "##a", "##b", "nal", "##ox", "##one", "naive", "cafe", "ca", "2", "##2", "+", "[", "]", "-", "5",
           "h", "##t", "t", "中", "文", "α", "##α", "β", "σ", "##σ", "😀", "i", "##i", "ß", "."]
# What makes it cased is a capital letter outside the special tokens.
CASED = UNCASED + ["Nal", "Ca", "##T", "HT", "naïve", "Café", "e", "##é", "É", "Σ"]
TEXTS = [
    "Naloxone naloxone NALOXONE",
    "[Ca]2+ and 5-HT, 5-ht",
    "na\u00efve nai\u0308ve Na\u00efve Caf\u00e9 cafe\u0301 CAFE\u0301",
    "ab中文ab \u03a3\u03b1\u03c3 \u0130i \u00df",
    "a\u00adb a\u200bb a\u200db \ufeffab a\u0000b a\ufffdb",
    "a\r\nb\ta\u00a0b\u2009a\u3000b\u2028a",
    "😀a 😀\ufe0f 👩\u200d🔬",
    "[MASK] a [SEP] b [UNK] [mask] [CLS]a",
    "a" * 101 + " " + "b" * 100,
    "a.b.-[a]...",
    "\u0301a \u0301 a\u0301\u0302b",
    "\u05d0\u05d1 ab \u0639\u0631 \ud55c",
]


def ids(pieces, **settings):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
        tokenizer = BertTokenizerFast(str(path), **settings)
        return [tokenizer(text).input_ids for text in TEXTS]


golden = {
    "texts": TEXTS,
    "cases": [
        {"vocab": SPECIAL + UNCASED, "config": None, "ids": ids(SPECIAL + UNCASED, do_lower_case=True)},
        {"vocab": SPECIAL + CASED, "config": None, "ids": ids(SPECIAL + CASED, do_lower_case=False)},
        *(
            {"vocab": SPECIAL + CASED, "config": config, "ids": ids(SPECIAL + CASED, **config)}
            for config in [
                {"do_lower_case": True},
                {"do_lower_case": True, "strip_accents": False},
                {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
            ]
        ),
    ],
}
(HERE / "golden.json").write_text(json.dumps(golden) + "\n")
