"""Commands of the program as functions. Each runs the program, so that nothing is computed twice in two languages."""

from __future__ import annotations

import json
import operator
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _program
from ._errors import MednerError
from ._mentions import Mention
from ._model import Model, load

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]
Tags = Sequence[Sequence[str]]
Spans = Iterable[Iterable["Mention | Mapping[str, Any] | tuple[int, int, str]"]]


@dataclass(frozen=True)
class Training:
    """A finished training: the ``run`` and its ``folder``, and ``scores`` with their intervals."""

    dataset: str
    run: str
    folder: Path
    scores: dict[str, Any] = field(repr=False)

    @property
    def f1(self) -> float | None:
        """F1 of all types together; ``None`` if it is undefined."""
        f1: float | None = self.scores["overall"]["f1"]
        return f1

    def load(self, **options: Any) -> Model:
        """The model; options as in :func:`load`."""
        return load(self.folder, **options)

    def metrics(self) -> list[dict[str, Any]]:
        """Every step and epoch of the training."""
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


def _say(line: str) -> None:
    print(line.strip(), file=sys.stderr)


def _options(**options: Any) -> list[str]:
    """``epochs=3, sample=True`` as ``--epochs=3 --sample``."""
    arguments: list[str] = []
    for name, value in options.items():
        option = "--" + name.strip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            arguments.append(option)
        elif isinstance(value, (list, tuple)):
            arguments += [f"{option}={item}" for item in value]
        else:
            arguments.append(f"{option}={os.fspath(value) if isinstance(value, os.PathLike) else value}")
    return arguments


def _json(text: str) -> Any:
    return json.loads(text)


_RUN = re.compile(r"INFO run (\S+) on .*?: (/.*)$")


def train(
    dataset: PathLike,
    *,
    sample: bool = False,
    encoder: PathLike | None = None,
    head: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    learning_rate: float | None = None,
    init_from: PathLike | None = None,
    data_dir: PathLike | None = None,
    labels: str | None = None,
    lenient: bool = False,
    config: PathLike | None = None,
    train_on: str | None = None,
    task: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    keep_text: bool = False,
    runs: PathLike | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    quiet: bool = False,
) -> Training:
    """Trains a model; the arguments are the options of ``medner train``.

    ``progress`` gets every step and epoch while it trains (``{"kind": "step", "step": 1, "loss": …}``), on this thread.
    Ctrl-C stops the training so that ``medner train --resume`` can continue it.

    Raises:
        CommandError: if the corpus or the encoder is missing, or the training fails.
    """
    arguments = _options(
        sample=sample,
        encoder=encoder,
        head=head,
        epochs=epochs,
        seed=seed,
        learning_rate=learning_rate,
        init_from=init_from,
        data_dir=data_dir,
        labels=labels,
        lenient=lenient,
        config=config,
        train_on=train_on,
        task=task,
        device=device,
        precision=precision,
        keep_text=keep_text,
        runs=runs,
        format="json",
    )
    folder: list[Path] = []
    read = 0

    def says(line: str) -> None:
        found = _RUN.search(line)
        if found:
            folder.append(Path(found.group(2)))
        if not quiet:
            _say(line)

    def follow() -> None:
        nonlocal read
        if progress is None or not folder or not (folder[0] / "metrics.jsonl").exists():
            return
        with open(folder[0] / "metrics.jsonl", "rb") as file:
            file.seek(read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                read += len(line)
                progress(json.loads(line))

    scores = _json(_program.run(["train", os.fspath(dataset), *arguments], says=says, meanwhile=follow))
    if not folder:
        raise MednerError("the training did not say where its run lies")
    return Training(scores["dataset"], scores["run"], folder[0], scores)


def evaluate(
    dataset: PathLike,
    run: PathLike | Sequence[PathLike] = "latest",
    *,
    split: str = "test",
    detail: bool = False,
    device: str = "auto",
    runs: PathLike | None = None,
    out: PathLike | None = None,
    quiet: bool = True,
) -> dict[str, Any]:
    """Scores a run, or an ensemble of several, on a split of its corpus: what ``medner eval --format json`` says.

    Raises:
        CommandError: if the run or the corpus is missing.
    """
    names = [run] if isinstance(run, (str, os.PathLike)) else list(run)
    arguments = _options(
        run=[os.fspath(name) for name in names],
        split=split,
        detail=detail,
        device=device,
        runs=runs,
        out=out,
        quiet=quiet,
        format="json",
    )
    scores: dict[str, Any] = _json(
        _program.run(["eval", os.fspath(dataset), *arguments], says=None if quiet else _say)
    )
    return scores


def score(
    gold: PathLike | Tags | Spans,
    predicted: PathLike | Tags | Spans,
    *,
    mode: str | None = None,
    scheme: str | None = None,
    detail: bool = False,
    compare: PathLike | None = None,
    attribute: Sequence[str] = (),
    lenient: bool = False,
) -> dict[str, Any]:
    """Precision, recall and F1 with their intervals: what ``medner score --format json`` says.

    ``gold`` and ``predicted`` are two of a kind:

    - lists of lists of tags, as seqeval takes them; ``mode="strict"`` with a ``scheme`` as seqeval's strict mode
    - lists of documents, each a list of spans: ``(start, end, type)``, :class:`Mention`, or dicts with these keys
    - files or folders in any format

    >>> scores = score([["B-X", "I-X", "O"], ["B-X"]], [["B-X", "O", "O"], ["B-X"]])
    >>> scores["overall"]["f1"]
    0.5

    Raises:
        ValueError: if the two do not belong together.
        CommandError: if the program refuses them.
    """
    scheme = scheme and scheme.lower()
    options = _options(
        mode=mode, scheme=scheme, detail=detail, compare=compare, attribute=list(attribute), lenient=lenient
    )
    options += ["--quiet", "--format=json"]
    if isinstance(gold, (str, os.PathLike)) or isinstance(predicted, (str, os.PathLike)):
        if not (isinstance(gold, (str, os.PathLike)) and isinstance(predicted, (str, os.PathLike))):
            raise ValueError("gold and predicted must both be files, or both be lists")
        paths = [f"--gold={os.fspath(gold)}", f"--predicted={os.fspath(predicted)}"]
        return _scores([*paths, *options])
    if compare is not None or attribute:
        raise ValueError("compare and attribute need files")
    gold, predicted = _documents("gold", gold), _documents("predicted", predicted)
    if len(gold) != len(predicted):
        raise ValueError(f"gold has {len(gold)} documents, and predicted has {len(predicted)}")
    with tempfile.TemporaryDirectory() as folder:
        if _are_tags(gold) and _are_tags(predicted):
            path = Path(folder) / "tags.conll"
            path.write_text(_conll(gold, predicted), encoding="utf-8")
            columns = ["--from=conll", "--word-column=0", "--gold-column=1", "--predicted-column=2"]
            return _scores([f"--gold={path}", f"--predicted={path}", *columns, *options])
        if mode is not None or scheme is not None:
            raise ValueError("mode and scheme are for tags, and these are spans")
        pairs = [_ranked(*([_span(span, at) for span in spans] for spans in pair)) for at, pair in enumerate(zip(gold, predicted))]
        if not any(spans for spans, _ in pairs):
            raise ValueError("gold has no spans: there is nothing to score")
        paths = []
        for name, side in (("gold", 0), ("predicted", 1)):
            path = Path(folder) / f"{name}.jsonl"
            with open(path, "w", encoding="utf-8") as file:
                for at, pair in enumerate(pairs):
                    length = max((end for spans in pair for _, end, _ in spans), default=1)
                    spans = [{"start": start, "end": end, "label": kind} for start, end, kind in pair[side]]
                    file.write(json.dumps({"id": str(at), "text": "x" * length, "spans": spans}) + "\n")
            paths.append(f"--{name}={path}")
        return _scores([*paths, "--from=jsonl", *options])


def _scores(arguments: Sequence[str]) -> dict[str, Any]:
    scores: dict[str, Any] = _json(_program.run(["score", *arguments]))
    return scores


def _documents(name: str, documents: Any) -> list[list[Any]]:
    """Documents as lists: iterators can be read once only."""
    listed = []
    for at, document in enumerate(documents):
        if isinstance(document, (str, Mention, Mapping)) or not isinstance(document, Iterable):
            raise ValueError(f"document {at} of {name} is {type(document).__name__}, not a list of tags or spans")
        listed.append(list(document))
    return listed


_Span = tuple[int, int, str]


def _ranked(gold: list[_Span], predicted: list[_Span]) -> tuple[list[_Span], list[_Span]]:
    """Spans with positions as small as can be: scores depend on their order alone."""
    places = sorted({place for start, end, _ in [*gold, *predicted] for place in (start, end)})
    rank = {place: at for at, place in enumerate(places)}
    one, other = ([(rank[start], rank[end], kind) for start, end, kind in spans] for spans in (gold, predicted))
    return one, other


def _are_tags(documents: Any) -> bool:
    return all(isinstance(tag, str) for tags in documents for tag in tags) and any(len(tags) for tags in documents)


def _conll(gold: Any, predicted: Any) -> str:
    lines: list[str] = []
    for at, (left, right) in enumerate(zip(gold, predicted)):
        if len(left) != len(right):
            raise ValueError(f"sequence {at} has {len(left)} gold tags and {len(right)} predicted tags")
        lines.append("-DOCSTART- O O\n\n")
        for tags in zip(left, right):
            if any(not tag or any(character.isspace() for character in tag) for tag in tags):
                raise ValueError(f"sequence {at} has a tag that is empty or holds white space")
            lines.append(f"x {tags[0]} {tags[1]}\n")
        lines.append("\n")
    return "".join(lines)


def _span(span: Any, document: int) -> _Span:
    if isinstance(span, Mention):
        found: tuple[Any, ...] = (span.start, span.end, span.type)
    elif isinstance(span, Mapping):
        found = (span.get("start"), span.get("end"), span.get("type", span.get("label")))
    else:
        found = tuple(span) if isinstance(span, (tuple, list)) else ()
    try:
        start, end, kind = found
        start, end = operator.index(start), operator.index(end)
        if isinstance(kind, str) and 0 <= start < end:
            return start, end, kind
    except (TypeError, ValueError):
        pass
    rule = "(start, end, type) with whole numbers, 0 <= start < end"
    raise ValueError(f"a span of document {document} is not {rule}: {span!r}")


def convert(
    source: PathLike,
    target: PathLike,
    to: str,
    *,
    from_: str | None = None,
    strict: bool = False,
    lenient: bool = False,
    scheme: str | None = None,
) -> dict[str, Any]:
    """Converts a file or folder to another format, and returns what was moved or lost: ``medner convert``.

    Raises:
        CommandError: if it cannot be read or written; it names file, line and document where they are known.
    """
    options = _options(to=to, from_=from_, strict=strict, lenient=lenient, scheme=scheme, quiet=True, format="json")
    report: dict[str, Any] = _json(_program.run(["convert", os.fspath(source), os.fspath(target), *options]))
    return report


def runs(
    dataset: str | None = None,
    *,
    filter: str | Sequence[str] = (),  # noqa: A002
    sort: str | None = None,
    columns: str | Sequence[str] = (),
    last: int | None = None,
    folder: PathLike | None = None,
) -> pd.DataFrame:
    """The runs as a data frame, oldest first: ``medner runs list``. Needs pandas.

    Raises:
        CommandError: if a filter or a column does not exist.
    """
    import pandas

    conditions = [filter] if isinstance(filter, str) else list(filter)
    options = _options(filter=conditions, sort=sort, last=last, runs=folder, quiet=True, format="json")
    if columns:
        options.append(f"--columns={columns if isinstance(columns, str) else ','.join(columns)}")
    rows = _json(_program.run(["runs", "list", *([dataset] if dataset else []), *options]))
    return pandas.DataFrame(rows)


def corpus(
    dataset: PathLike, *, sample: bool = False, data_dir: PathLike | None = None, labels: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A corpus as two data frames: a row for each document, and one for each mention. Needs pandas.

    Raises:
        CommandError: if the corpus is missing.
    """
    import pandas

    with tempfile.TemporaryDirectory() as folder:
        options = _options(sample=sample, data_dir=data_dir, labels=labels, out=folder, quiet=True, format="json")
        _program.run(["data", os.fspath(dataset), *options])
        documents, mentions = (pandas.read_parquet(Path(folder) / f"{name}.parquet") for name in ("documents", "mentions"))
        return documents, mentions


def package(run: PathLike, out: PathLike, *, runs: PathLike | None = None) -> Path:
    """Writes a model with a model card to a new folder, ready to be shared: ``medner package``.

    Raises:
        CommandError: if the run has no model, or the folder exists.
    """
    _program.run(["package", os.fspath(run), os.fspath(out), *_options(runs=runs, quiet=True)])
    return Path(out)


def push(run: PathLike, repository: str, *, private: bool = False, runs: PathLike | None = None) -> str:
    """Uploads a model with a model card to a hub and returns its address: ``medner push``.

    ``HF_ENDPOINT`` names the hub, and ``HF_TOKEN`` holds the token.

    Raises:
        CommandError: if the hub refuses it.
    """
    options = _options(private=private, runs=runs, quiet=True)
    return _program.run(["push", os.fspath(run), repository, *options]).strip()
