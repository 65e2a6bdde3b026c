"""The program's commands as functions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import medner
from medner import _program


def test_scores_of_tags_are_seqevals() -> None:
    gold = [["B-X", "I-X", "O", "B-Y"], ["O", "B-X"]]
    predicted = [["B-X", "I-X", "O", "B-X"], ["O", "B-X"]]
    scores = medner.score(gold, predicted)
    # seqeval 1.2.2: classification_report(gold, predicted, output_dict=True)
    assert scores["per_type"]["X"]["precision"] == pytest.approx(2 / 3)
    assert scores["per_type"]["X"]["recall"] == 1.0
    assert scores["overall"]["f1"] == pytest.approx(2 / 3)
    assert scores["intervals"]["overall"]["f1"]["low"] <= scores["overall"]["f1"]
    tags = [["I-X", "O"], ["B-X", "O"]]
    assert medner.score(tags, tags)["overall"]["support"] == 2
    assert medner.score(tags, tags, mode="strict", scheme="iob2")["overall"]["support"] == 1
    with pytest.raises(ValueError, match="sequence 0 has 2 gold tags and 1"):
        medner.score([["O", "O"]], [["O"]])
    with pytest.raises(ValueError, match="white space"):
        medner.score([["B-X Y"]], [["O"]])


def test_scores_of_spans_and_files(model: medner.Model, sample: Path, tmp_path: Path) -> None:
    assert medner.score([[(0, 5, "X")], []], [[(0, 5, "X")], [(1, 2, "X")]])["overall"]["precision"] == 0.5
    found = model.annotate(["Naloxone reverses the effect of clonidine."])
    assert medner.score(found, found)["overall"]["f1"] == 1.0
    assert medner.score(sample, sample)["overall"]["f1"] == 1.0
    with pytest.raises(ValueError, match="both"):
        medner.score(sample, [[]])
    with pytest.raises(ValueError, match="document 1"):
        medner.score([[], [(3, 3, "X")]], [[], []])


def test_spans_may_be_iterators_and_anywhere() -> None:
    spans = [(0, 3, "X"), (5, 8, "X")]
    assert medner.score([iter(spans)], [iter(spans)])["overall"]["support"] == 2
    far = [(start + 10**9, end + 10**9, kind) for start, end, kind in spans]
    assert medner.score([far], [far])["overall"]["f1"] == 1.0
    for gold, message in (([[]], "no spans"), (["B-X"], "not a list"), ([[(0.0, 3.7, "X")]], "whole numbers"), ([None], "NoneType")):
        wrong: Any = gold
        with pytest.raises(ValueError, match=message):
            medner.score(wrong, [[(0, 3, "X")]])
    assert medner.score([["B-X"]], [["B-X"]], mode="strict", scheme="IOB2")["overall"]["f1"] == 1.0


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ("my notes.txt:3: document a b: no", ("my notes.txt", 3, "a b")),
        ("cannot read `no pe.txt`: missing", ("no pe.txt", None, None)),
        ("no corpus x: see dataset.toml\nWARN other.txt:37: document 9: odd", (None, None, None)),
        ("bad\n  0: x.jsonl:2: no JSON\nWARN train:37: document 9: odd", ("x.jsonl", 2, None)),
    ],
)
def test_places_are_those_of_the_fault(message: str, place: tuple[object, ...]) -> None:
    error = medner.CommandError(message)
    assert (error.file, error.line, error.document) == place


def test_faults_name_file_line_and_document(sample: Path, tmp_path: Path) -> None:
    lines = sample.read_text(encoding="utf-8").splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.count("\t") >= 4)
    fields = lines[at].split("\t")
    lines[at] = "\t".join([fields[0], "x", *fields[2:]])
    broken = tmp_path / "broken.PubTator.txt"
    broken.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(medner.CommandError) as caught:
        medner.score(broken, sample)
    error = caught.value
    assert (error.exit_code, error.line, error.document) == (1, at + 1, fields[0]), str(error)
    assert error.file is not None and Path(error.file).name == broken.name


def test_convert(sample: Path, tmp_path: Path) -> None:
    report = medner.convert(sample, tmp_path / "out.jsonl", to="jsonl")
    assert isinstance(report, dict)
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])["id"]
    with pytest.raises(medner.CommandError, match="nowhere"):
        medner.convert(tmp_path / "nowhere", tmp_path / "out2.jsonl", to="jsonl")


def test_train_evaluate_runs_and_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "runs"
    seen: list[dict[str, object]] = []
    trained = medner.train("bc5cdr", sample=True, epochs=1, runs=store, progress=seen.append)
    assert trained.folder.is_dir() and trained.dataset == "bc5cdr" and trained.f1 is not None
    assert [line["step"] for line in seen if line["kind"] == "step"][:2] == [1, 2]
    assert seen == trained.metrics()
    assert "epoch 1" in capsys.readouterr().err

    frame = medner.runs("bc5cdr", folder=store)
    assert list(frame["run"]) == [trained.run]
    assert medner.evaluate("bc5cdr", trained.run, runs=store)["overall"]["f1"] == pytest.approx(trained.f1, abs=0.02)
    with pytest.raises(medner.CommandError, match="nonesuch"):
        medner.evaluate("bc5cdr", "nonesuch", runs=store)

    shared = medner.package(trained.folder, tmp_path / "shared")
    card = (shared / "README.md").read_text(encoding="utf-8")
    assert "## Scores" in card and "synthetic sample" in card and "## Limits" in card
    # Nothing of the machine, nor of the corpus.
    assert str(tmp_path) not in card
    document = json.loads((trained.folder / "predictions" / "test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert document["id"] not in card
    assert sorted(path.name for path in shared.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    with trained.load() as one, medner.load(shared) as other:
        text = "Naloxone reverses the effect of clonidine."
        assert [(m.start, m.end, m.type, m.confidence) for m in one(text)] == [
            (m.start, m.end, m.type, m.confidence) for m in other(text)
        ]


def test_highlights_of_any_overlap() -> None:
    def mention(start: int, end: int) -> medner.Mention:
        return medner.Mention(start, end, "x", "X", None, 0.5)

    text = "a<b>c&d\"e"
    spans = [(start, end) for start in range(len(text)) for end in range(start + 1, len(text) + 1)]
    for one in spans[::3]:
        for two in spans[::2]:
            shown = medner.highlight(text, [mention(*one), mention(*two), mention(2, 5)])
            assert shown.count("<mark") == shown.count("</mark>") >= 3
            assert shown.count("<sub") == 3
            plain = re.sub(r"<sub.*?</sub>|<[^>]*>", "", shown)
            assert plain == "a&lt;b&gt;c&amp;d&quot;e", (one, two)


def test_the_program_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(_program.VARIABLE, str(tmp_path))
    with pytest.raises(medner.MednerError, match="not a program"):
        medner.load("x")
