#!/usr/bin/env python3
"""Compares what three systems say of the same mentions of medical problems: medner, medspaCy and negspacy.

    python assertion_peers.py --medner target/release/medner --table sentences.toml --json figures.json

Each system, without the expected answers, says of every mention: is the problem present, absent, possible, conditional,
hypothetical or somebody else's, and does it belong to the past?

  medner    the command `PROGRAM assert IN.jsonl OUT.jsonl --to jsonl`; left out if --medner is not given
  medspaCy  ConText with its default rules, and the sectionizer with its default headings
  negspacy  NegEx with its default terms (en_clinical); it only knows absent, so look at "absent or not"

The peers need no trained model: they work on spaCy's blank English pipeline, with our mentions as its entities. Where
mentions share words, the longest one answers for all. Of several answers the first in VALUES counts. --sentences says
who splits the texts: PyRuSH (knows lines), spaCy's sentencizer (fast), or own: PyRuSH for medspaCy, spaCy for negspacy.

--table reads groups of sentences with marks, as "There is {no} [effusion]."; each sentence becomes a document.
--jsonl reads a document a line: {"id", "text", "spans": [{"start", "end", "label", "assertion", "historical": true}]},
offsets in characters. Give one or both. A dash in the page: nothing to count.

Speed is the best of --rounds, in which the systems take turns. A peer's time is from texts and mentions in memory to its
answers, after one pass over all of them. medner's time is that of the whole process (start, reading, writing) on a file
that holds the documents --repeat times. The peers use one core; `taskset -c 0` before this command gives medner only
one too.
"""

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

# To install the peers, under Python 3.11: python3 -m venv venv && venv/bin/pip install, followed by these.
REQUIREMENTS = ["medspacy==1.3.1", "negspacy==1.0.4", "spacy==3.7.5", "PyRuSH==1.0.13", "PyFastNER==1.0.10"]
VALUES = ["associated_with_someone_else", "hypothetical", "conditional", "possible", "absent", "present"]
MEDSPACY_FLAGS = {"is_family": "associated_with_someone_else", "is_hypothetical": "hypothetical",
                  "is_uncertain": "possible", "is_negated": "absent"}  # in the order of VALUES
PYRUSH, SPACY = "medspacy_pyrush", "sentencizer"
SENTENCES = {"own": (PYRUSH, SPACY), "pyrush": (PYRUSH, PYRUSH), "spacy": (SPACY, SPACY)}  # medspaCy's, negspacy's


def unmarked(sentence, assertion, historical):
    """The document of a sentence: {cue} loses its marks, [mention] too and becomes a span."""
    text, spans = "", []
    for at, part in enumerate(re.split(r"\[([^][]+)\]", re.sub("[{}]", "", sentence))):
        if at % 2 == 1:
            spans.append({"start": len(text), "end": len(text) + len(part), "label": "problem",
                          "assertion": assertion, "historical": historical})
        text += part
    if not spans or "[" in text or "]" in text:
        sys.exit(f"no mention, or brackets that do not match: {sentence!r}")
    return {"text": text, "spans": spans}


def read_table(path):
    """The sentences of a table. Its key `historical` means present, `historical_absent` absent, both in the past."""
    for group in tomllib.loads(path.read_text(encoding="utf-8"))["group"]:
        for key, sentences in group.items():
            if isinstance(sentences, list):
                assertion = re.sub("^historical_?", "", key) or "present"
                yield from (unmarked(sentence, assertion, key.startswith("historical")) for sentence in sentences)


def read_jsonl(path):
    with open(path, encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def without_gold(document):
    """A document as the systems may see it, once its mentions are checked."""
    for span in document["spans"]:
        mention = document["text"][span["start"]:span["end"]]
        if span["assertion"] not in VALUES or len(mention) != span["end"] - span["start"] or not mention.strip():
            sys.exit(f"unknown value or wrong offsets: {span} in {document['text'][:80]!r}")
    return {"text": document["text"],
            "spans": [{key: span[key] for key in ("start", "end", "label")} for span in document["spans"]]}


class Medner:
    def __init__(self, program, repeat, folder):
        self.name, self.program, self.copies, self.folder = "medner", program, repeat, Path(folder)

    def prepare(self, documents):
        path = self.folder / "in.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for number, document in enumerate(documents):
                file.write(json.dumps({"id": str(number), **document}) + "\n")
        return path

    def work(self, path):
        out = self.folder / "out.jsonl"
        command = [self.program, "--quiet", "assert", path, out, "--from", "jsonl", "--to", "jsonl"]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            sys.exit(f"{self.program} assert failed")
        return out

    def answers(self, documents):
        """(assertion, historical) of all mentions, in order."""
        found = {document["id"]: document["spans"] for document in read_jsonl(self.work(self.prepare(documents)))}
        for number, document in enumerate(documents):
            spans = {(span["start"], span["end"]): span for span in found[str(number)]}
            for asked in document["spans"]:
                answer = spans[asked["start"], asked["end"]]["attributes"]
                assert answer["assertion"] in VALUES, f"unknown value: {answer}"
                yield answer["assertion"], bool(answer.get("historical"))


class Peer:
    def __init__(self, name, pipeline, answer):
        self.name, self.pipeline, self.answer, self.copies = name, pipeline, answer, 1

    def prepare(self, documents):
        return documents

    def work(self, documents):
        """spaCy's documents, cut into words, with our mentions as entities and what the pipeline says of them."""
        from spacy.util import filter_spans
        docs = [self.pipeline.make_doc(document["text"]) for document in documents]
        for doc, document in zip(docs, documents, strict=True):
            doc.ents = filter_spans([doc.char_span(span["start"], span["end"], span["label"], alignment_mode="expand")
                                     for span in document["spans"]])
        return list(self.pipeline.pipe(docs))

    def answers(self, documents):
        for doc, document in zip(self.work(documents), documents, strict=True):
            for span in document["spans"]:
                yield self.answer(next(entity for entity in doc.ents
                                       if entity.start_char < span["end"] and span["start"] < entity.end_char))


def medspacy_answer(entity):
    assertion = next((value for flag, value in MEDSPACY_FLAGS.items() if getattr(entity._, flag)), "present")
    return assertion, entity._.is_historical


def peers(medspacy_sentences, negspacy_sentences):
    from loguru import logger
    logger.remove()  # or PyRuSH prints a line for every word
    import medspacy
    import negspacy.negation  # noqa: F401 (it makes "negex" known to spaCy)
    import spacy
    from negspacy.termsets import termset

    context = medspacy.load(spacy.blank("en"), medspacy_enable={medspacy_sentences, "medspacy_tokenizer",
                                                                "medspacy_context", "medspacy_sectionizer"})
    negex = medspacy.load(spacy.blank("en"), medspacy_enable={negspacy_sentences})
    for pipeline, sentences in [(context, medspacy_sentences), (negex, negspacy_sentences)]:
        if sentences == SPACY:
            pipeline.add_pipe(SPACY, first=True)
    negex.add_pipe("negex", config={"neg_termset": termset("en_clinical").get_patterns()})
    return [Peer("medspaCy", context, medspacy_answer),
            Peer("negspacy", negex, lambda entity: ("absent" if entity._.negex else "present", False))]


def score(gold, found):
    """Precision, recall and F1 of two lists of yes and no; None where there is nothing to divide by."""
    right, expected, answered = sum(g and f for g, f in zip(gold, found, strict=True)), sum(gold), sum(found)
    return {"precision": right / answered if answered else None, "recall": right / expected if expected else None,
            "f1": 2 * right / (expected + answered) if expected + answered else None,
            "mentions": expected, "answers": answered}


def scores(gold, found):
    values = {value: score([g == value for g, _ in gold], [f == value for f, _ in found]) for value in VALUES[::-1]}
    values["historical"] = score([past for _, past in gold], [past for _, past in found])
    pairs = [(g, f) for (g, _), (f, _) in zip(gold, found, strict=True)]
    return {"accuracy": sum(g == f for g, f in pairs) / len(pairs),
            "absent_or_not": sum((g == "absent") == (f == "absent") for g, f in pairs) / len(pairs), "values": values}


def speeds(systems, documents, rounds):
    """Seconds of all rounds, in which the systems take turns, and the speed in the best one."""
    seconds = {system.name: [] for system in systems}
    for system in systems * rounds:
        job = system.prepare(documents * system.copies)
        begin = time.perf_counter()
        system.work(job)
        seconds[system.name].append(time.perf_counter() - begin)
    return {system.name: {"seconds": seconds[system.name],
                          "documents_per_second": len(documents) * system.copies / min(seconds[system.name])}
            for system in systems}


def machine(medner):
    versions = {name: importlib.metadata.version(name) for name in (line.split("==")[0] for line in REQUIREMENTS)}
    if medner:
        versions["medner"] = subprocess.run([medner, "--version"], capture_output=True, text=True).stdout.strip()
    cpu = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) + ["unknown processor"]
    versions["Python"] = sys.version.split()[0]
    return {"cpu": cpu[0], "cores": len(os.sched_getaffinity(0)), "versions": versions}


def percents(scores, *names):
    return " / ".join("–" if scores[name] is None else f"{100 * scores[name]:.1f}" for name in names)


def markdown(header, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]) + "\n"


def show(report):
    systems = report["systems"]
    print(f"{report['documents']} documents, {report['mentions']} mentions; {report['cpu']}, {report['cores']} cores;",
          ", ".join(f"{name} {version}" for name, version in report["versions"].items()) + ".\n")
    print(markdown(["system", "accuracy %", "absent or not, accuracy %", "documents/s"],
                   [[name, percents(one, "accuracy"), percents(one, "absent_or_not"),
                     f"{one['speed']['documents_per_second']:,.0f}"] for name, one in systems.items()]))
    columns = [one["values"] for one in systems.values()]
    print("Precision / recall / F1 in %. medspaCy has no conditional, negspacy only present and absent.\n")
    print(markdown(["value", "mentions", *systems],
                   [[value, str(columns[0][value]["mentions"]),
                     *[percents(one[value], "precision", "recall", "f1") for one in columns]] for value in columns[0]]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medner", metavar="PROGRAM", help="path of the command; without it only the peers run")
    parser.add_argument("--table", type=Path, metavar="FILE.toml")
    parser.add_argument("--jsonl", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3, help="of timing")
    parser.add_argument("--repeat", type=int, default=100, help="choose it so that medner's round takes seconds")
    parser.add_argument("--sentences", choices=SENTENCES, default="own", help="who splits the peers' texts")
    args = parser.parse_args()
    documents = [*(read_table(args.table) if args.table else []), *(read_jsonl(args.jsonl) if args.jsonl else [])]
    bare = [without_gold(document) for document in documents]
    gold = [(span["assertion"], bool(span.get("historical"))) for document in documents for span in document["spans"]]
    if not gold:
        parser.error("no mention to compare: give --table or --jsonl")
    with tempfile.TemporaryDirectory() as folder:
        systems = [Medner(args.medner, args.repeat, folder)] if args.medner else []
        systems += peers(*SENTENCES[args.sentences])
        found = {system.name: scores(gold, list(system.answers(bare))) for system in systems}
        for name, speed in speeds(systems, bare, args.rounds).items():
            found[name]["speed"] = speed
    report = {"documents": len(documents), "mentions": len(gold), **machine(args.medner),
              "repeat": args.repeat, "sentences": args.sentences, "systems": found}
    show(report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
