#!/usr/bin/env python3
"""Checks that a model from elsewhere finds in medner what it finds in transformers' pipeline.

`cargo xtask check pipeline` brings what it needs and runs it. By hand:

    python scripts/check_pipeline.py MEDNER MODEL_FOLDER PUBTATOR_FILE [--limit N]
    python scripts/check_pipeline.py MEDNER --random PUBTATOR_FILE

MEDNER is the program (target/release/medner, or what `cargo xtask dist` makes). The model is opened by
`transformers.pipeline("token-classification", aggregation_strategy="first")`, and by `medner annotate` as one that medner
did not train: a run's model is copied without the key `medner` of its config.json, which says how medner reads it.
--random makes a tiny model of random weights instead, with labels in an order of its own, whose vocabulary is the file's
own characters and words; it finds much, and nothing sensible.

Compared are the texts that fit the model's positions: the pipeline cuts off longer ones. Both compute in fp32. Exits with 1
where fewer than 99 % of the documents have equal mentions; --show prints what differs, as offsets and types. What may
differ is at `Recognizer` (crates/ner-model/src/recognizer.rs).

It needs a Python environment with scripts/transformers-requirements.txt.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from transformers import (AutoModelForTokenClassification, AutoTokenizer, BertConfig, BertForTokenClassification,
                          BertTokenizerFast, pipeline)

REQUIRED = 0.99


def texts(path):
    """Ids and texts of a PubTator file: title, a space, abstract."""
    parts = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.match(r"([^|\t]+)\|([ta])\|(.*)", line)
        if found:
            parts.setdefault(found[1], {})[found[2]] = found[3]
    return {pmid: f"{part['t']} {part['a']}" for pmid, part in parts.items() if "a" in part}


def random_model(folder, documents):
    """Labels in no order of a scheme, O in the middle."""
    words = sorted({word for text in documents.values() for word in re.findall(r"\w+", text.lower())})
    characters = sorted({character for text in documents.values() for character in text.lower()} - {" "})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + characters + [f"##{c}" for c in characters] + words[::3]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(dict.fromkeys(pieces)), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(vocabulary), do_lower_case=True)
    tokenizer.save_pretrained(folder)
    labels = ["I-Disease", "B-Chemical", "O", "I-Chemical", "B-Disease"]
    torch.manual_seed(1)
    model = BertForTokenClassification(BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=1024, id2label=dict(enumerate(labels)), label2id={l: i for i, l in enumerate(labels)},
        initializer_range=0.3))
    model.save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medner", type=Path, metavar="MEDNER")
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL_FOLDER")
    parser.add_argument("documents", type=Path, metavar="PUBTATOR_FILE")
    parser.add_argument("--random", action="store_true", help="a tiny model of random weights")
    parser.add_argument("--limit", type=int, help="compare this many documents at most")
    parser.add_argument("--threads", type=int, help="threads of torch; all cores where it is not given")
    parser.add_argument("--show", action="store_true", help="print what differs, as offsets and types")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    documents = dict(list(texts(options.documents).items())[:options.limit])

    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "elsewhere"
        if options.random:
            folder.mkdir()
            random_model(folder, documents)
        else:
            shutil.copytree(options.model, folder)
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            config.pop("medner", None)
            (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

        lines = Path(work) / "documents.jsonl"
        with lines.open("w", encoding="utf-8") as out:
            for pmid, text in documents.items():
                print(json.dumps({"id": pmid, "text": text}), file=out)
        command = [options.medner, "annotate", lines, "--model", folder, "--precision", "fp32", "--device", "cpu"]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
        ours = {}
        for line in output.splitlines():
            document = json.loads(line)
            ours[document["id"]] = {(mention["start"], mention["end"], mention["type"]) for mention in document["mentions"]}

        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
        longest = model.config.max_position_embeddings
        warnings.filterwarnings("ignore")
        tagger = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first",
                          device="cpu")
        compared = equal = too_long = both = missing = extra = 0
        for pmid, text in documents.items():
            if len(tokenizer(text, verbose=False)["input_ids"]) > longest:
                too_long += 1
                continue
            theirs = {(int(found["start"]), int(found["end"]), found["entity_group"]) for found in tagger(text)}
            mine = ours[pmid]
            compared += 1
            equal += mine == theirs
            both, missing, extra = both + len(mine & theirs), missing + len(theirs - mine), extra + len(mine - theirs)
            if options.show and mine != theirs:
                print(f"{pmid}: only medner {sorted(mine - theirs)}, only transformers {sorted(theirs - mine)}",
                      file=sys.stderr)
    print(f"documents compared: {compared} ({too_long} of more than {longest} tokens left out), equal: {equal}")
    print(f"mentions: {both} in both, {extra} only in medner, {missing} only in transformers")
    return 0 if compared and both and equal >= REQUIRED * compared else 1


if __name__ == "__main__":
    sys.exit(main())
