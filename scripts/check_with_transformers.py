#!/usr/bin/env python3
"""Checks that a trained model finds the same mentions in Hugging Face transformers as in medner.

`cargo xtask check transformers` brings what it needs and runs it. By hand:

    python scripts/check_with_transformers.py RUN_FOLDER [PREDICTIONS]

RUN_FOLDER is a run's folder (…/runs/DATASET/ID). Its model/ is opened with AutoTokenizer and
AutoModelForTokenClassification, each text of PREDICTIONS (a PubTator file with what medner found; left out, that of the
run) is predicted anew, and the mentions are compared document by document. Whole documents are given to transformers, so
medner must read them whole as well, and only those that fit one window are compared:

    cargo xtask eval bc5cdr --run ID --window 512 --out whole.PubTator.txt
    python scripts/check_with_transformers.py experiments/runs/bc5cdr/ID whole.PubTator.txt

It needs a Python environment with scripts/transformers-requirements.txt; medner does not.

transformers computes in fp32 here. Where the run did so too (`compute` in its run.json, or --fp32), 99 % of the
documents must have equal mentions, or the exit code is 1. bf16 turns a few close decisions, about one in 400 mentions,
and so in one of 20 documents; of such a run's mentions, 99 % must be equal.
"""

import argparse
import json
import sys
import unicodedata
from pathlib import Path

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

REQUIRED = 0.99


def read_pubtator(path):
    """Documents as (id, text, {(start, end, type)}); title and abstract are joined by one space."""
    documents = {}
    for line in path.read_text(encoding="utf-8").split("\n"):
        head = line.split("|", 2)
        if len(head) == 3 and head[1] in ("t", "a") and "\t" not in head[0]:
            parts, _ = documents.setdefault(head[0], ([], set()))
            parts.append(head[2])
        elif line.count("\t") >= 4:
            pmid, start, end, _, entity_type, *_ = line.split("\t")
            documents[pmid][1].add((int(start), int(end), entity_type))
    return [(pmid, " ".join(parts), mentions) for pmid, (parts, mentions) in documents.items()]


def words_of(text, encoding):
    """[start, end, rows] of each word: a pre-token, cut where letter meets digit between two pieces."""
    words, before, mask = [], None, encoding["special_tokens_mask"]
    for row, ((start, end), pre_token) in enumerate(zip(encoding["offset_mapping"], encoding.word_ids())):
        if mask[row]:
            continue
        cut = before is None or pre_token is None or pre_token != before[0]
        if not cut and before[1] <= start and start > 0:
            kinds = {"letter" if char.isalpha() else "digit" if char.isnumeric() else char
                     for char in (text[start - 1], text[start])}
            cut = kinds == {"letter", "digit"}
        if cut:
            words.append([start, end, [row]])
        else:
            words[-1][1] = end
            words[-1][2].append(row)
        before = (pre_token, end)
    # A combining mark that the normaliser took off belongs to the word before it.
    for at, word in enumerate(words):
        limit = words[at + 1][0] if at + 1 < len(words) else len(text)
        while word[1] < limit and unicodedata.category(text[word[1]]).startswith("M"):
            word[1] += 1
    return words


def mentions_of(words, probabilities, labels):
    """The pieces of a word add their probabilities of lying outside and inside each type, and the largest sum wins.
    Whether the word begins a mention is for its first piece to say."""
    types = list(dict.fromkeys(label.split("-", 1)[1] for label in labels if label != "O"))
    columns = {kind: [at for at, label in enumerate(labels) if label != "O" and label.split("-", 1)[1] == kind]
               for kind in types}
    mentions, open_type = [], None
    for start, end, rows in words:
        mass = probabilities[rows].sum(0)
        sums = {kind: sum(mass[at].item() for at in columns[kind]) for kind in types}
        best = max(types, key=sums.get)
        if sums[best] <= mass[labels.index("O")].item():
            open_type = None
            continue
        first = {at: probabilities[rows[0], at].item() for at in columns[best]}
        begins = sum(value for at, value in first.items() if labels[at][0] in "BS")
        goes_on = sum(value for at, value in first.items() if labels[at][0] in "IE")
        if open_type == best and goes_on >= begins:
            mentions[-1][1] = end
        else:
            mentions.append([start, end, best])
        open_type = best
    return {tuple(mention) for mention in mentions}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("predictions", type=Path, nargs="?", metavar="PREDICTIONS")
    parser.add_argument("--fp32", action="store_true", help="the predictions were computed in fp32")
    parser.add_argument("--threads", type=int, help="threads of torch; all cores where it is not given")
    parser.add_argument("--limit", type=int, help="compare this many documents at most")
    parser.add_argument("--show", action="store_true", help="print what differs, as offsets and types")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    tokenizer = AutoTokenizer.from_pretrained(options.run / "model")
    model = AutoModelForTokenClassification.from_pretrained(options.run / "model", dtype=torch.float32).eval()
    labels = [model.config.id2label[at] for at in range(model.config.num_labels)]
    longest = model.config.max_position_embeddings
    documents = read_pubtator(options.predictions or options.run / "predictions/test.PubTator.txt")

    compared = equal = too_long = found = missing = extra = 0
    for pmid, text, ours in documents:
        if compared == options.limit:
            break
        encoding = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, truncation=False,
                             verbose=False)
        if len(encoding["input_ids"]) > longest:
            too_long += 1
            continue
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([encoding["input_ids"]])).logits[0]
        theirs = mentions_of(words_of(text, encoding), logits.softmax(-1), labels)
        compared += 1
        equal += theirs == ours
        found += len(ours & theirs)
        missing += len(ours - theirs)
        extra += len(theirs - ours)
        if options.show and theirs != ours:
            print(f"{pmid}: only medner {sorted(ours - theirs)}, only transformers {sorted(theirs - ours)}",
                  file=sys.stderr)
    if not compared or not found:
        print("nothing to compare", file=sys.stderr)
        return 1
    documents_share = equal / compared
    mentions_share = 2 * found / (2 * found + missing + extra)
    print(f"documents compared: {compared} ({too_long} of more than {longest} tokens left out)")
    print(f"documents with equal mentions: {equal} ({100 * documents_share:.2f} %)")
    print(f"mentions: {found} in both, {missing} only in medner, {extra} only in transformers "
          f"({100 * mentions_share:.2f} % equal)")
    run = options.run / "run.json"
    fp32 = options.fp32 or json.loads(run.read_text(encoding="utf-8"))["compute"] == "Float"
    return 0 if (documents_share if fp32 else mentions_share) >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
