"""A component for spaCy: ``nlp.add_pipe("medner", config={"model": "bc5cdr"})``.

Mentions become ``doc.ents`` (the longest of those that overlap) and all of them ``doc.spans["medner"]``. A span covers whole
tokens; ``span._.medner`` is the :class:`medner.Mention` with its own positions. ``doc._.medner`` has all of them: of two
mentions of one type in the same tokens, the spans show the first.
"""

# No `from __future__ import annotations`: spaCy reads the annotations of a factory.

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from ._mentions import Mention, Mentions
from ._model import Model, load

#: In `Doc.user_data`: the mentions of each key of spans as dicts, which spaCy writes to disk and sends to other processes.
_KEY = "medner"


class Component:
    """Finds mentions with a model of medner."""

    def __init__(self, model: Model, spans_key: str, set_ents: bool) -> None:
        self.model = model
        self.spans_key = spans_key
        self.set_ents = set_ents

    def __call__(self, doc: Doc) -> Doc:
        return self._set(doc, self.model(doc.text))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 128) -> Iterator[Doc]:
        """Documents in batches; the model computes each batch by tokens."""
        docs = iter(stream)
        while batch := list(islice(docs, batch_size)):
            for doc, mentions in zip(batch, self.model.annotate([doc.text for doc in batch])):
                yield self._set(doc, mentions)

    def _set(self, doc: Doc, mentions: Mentions) -> Doc:
        doc.user_data.setdefault(_KEY, {})[self.spans_key] = [mention.to_dict() for mention in mentions]
        found = (doc.char_span(one.start, one.end, label=one.type, alignment_mode="expand") for one in mentions)
        # One of those with the same tokens and type.
        spans = list({(span.start, span.end, span.label): span for span in found if span is not None}.values())
        doc.spans[self.spans_key] = spans
        if self.set_ents:
            ents = filter_spans(spans)
            taken = {token for span in ents for token in range(span.start, span.end)}
            # What other components found stays, where no mention of ours lies.
            others = [ent for ent in doc.ents if taken.isdisjoint(range(ent.start, ent.end))]
            doc.ents = [*ents, *others]
        return doc

    # A pipeline on disk names the model; it does not hold it.

    def to_disk(self, path: Any, *, exclude: Sequence[str] = ()) -> None:
        """Nothing: the configuration names the model."""

    def from_disk(self, path: Any, *, exclude: Sequence[str] = ()) -> "Component":
        """Nothing: the configuration names the model."""
        return self


def _rows(doc: Doc) -> Iterator[dict[str, Any]]:
    for rows in doc.user_data.get(_KEY, {}).values():
        yield from rows


def _mentions_of(doc: Doc) -> Mentions:
    return Mentions(doc.text, map(Mention.from_dict, _rows(doc)))


def _mention_of(span: Span) -> Mention | None:
    """The first mention of the span's type that begins in its first token and ends in its last one."""
    if not len(span):
        return None
    first, last = span[0], span[-1]
    for row in _rows(span.doc):
        begins = first.idx <= row["start"] < first.idx + len(first)
        ends = last.idx < row["end"] <= last.idx + len(last)
        if begins and ends and row["type"] == span.label_:
            return Mention.from_dict(row)
    return None


for kind, getter in ((Doc, _mentions_of), (Span, _mention_of)):
    if not kind.has_extension("medner"):
        kind.set_extension("medner", getter=getter)


@Language.factory(  # type: ignore[untyped-decorator]
    "medner",
    assigns=["doc.ents", "doc.spans"],
    default_config={
        "model": None,
        "device": "auto",
        "precision": "auto",
        "threads": None,
        "threshold": None,
        "runs": None,
        "spans_key": "medner",
        "set_ents": True,
    },
)
def make(
    nlp: Language,
    name: str,
    model: str | list[str] | None,
    device: str,
    precision: str,
    threads: int | None,
    threshold: float | dict[str, float] | None,
    runs: str | None,
    spans_key: str,
    set_ents: bool,
) -> Component:
    """The factory ``medner``. Its options are those of :func:`medner.load`."""
    if model is None:
        raise ValueError('name a model: nlp.add_pipe("medner", config={"model": "bc5cdr"})')
    loaded = load(model, device=device, precision=precision, threads=threads, threshold=threshold, runs=runs)
    return Component(loaded, spans_key, set_ents)
