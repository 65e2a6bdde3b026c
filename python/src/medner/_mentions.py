"""What a model finds in a text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Part:
    """A part of a text: ``text[start:end]``."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Assertion:
    """Whether the patient has what a mention names.

    ``value`` is ``present``, ``absent``, ``possible``, ``conditional``, ``hypothetical`` or
    ``associated_with_someone_else``. ``cue`` holds the words that decided.
    """

    value: str
    historical: bool
    cue: Part | None
    confidence: float


@dataclass(frozen=True)
class Section:
    """The section of a note, and its LOINC code where one fits."""

    name: str
    loinc: str | None


@dataclass(frozen=True)
class Candidate:
    """A concept that a mention may mean instead. ``score`` is from 0 to 1."""

    id: str
    name: str
    score: float


@dataclass(frozen=True)
class Concept:
    """A concept of a vocabulary: its id, its preferred name and the score of the link (0 to 1).

    ``vocabulary`` is the name of its file with its release, ``system`` the URI of its code system. ``text`` is what was
    looked up: the mention, its long form, or a part of either. ``others`` holds further candidates, the best first.
    """

    id: str
    name: str
    score: float
    vocabulary: str
    system: str | None
    text: str
    others: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Mention:
    """An entity in a text: ``text[start:end]`` is its text.

    ``confidence`` (0 to 1) refers to the whole span and is not calibrated. ``assertion``, ``section`` and ``long_form``
    are ``None`` where nothing is known. ``concepts`` has one concept for each part of a composite mention, none without a
    vocabulary. ``extra`` holds fields that this version of the package has no name for.
    """

    start: int
    end: int
    text: str
    type: str
    category: str | None
    confidence: float
    models: tuple[str, ...] = ()
    below_threshold: bool = False
    assertion: Assertion | None = None
    section: Section | None = None
    long_form: Part | None = None
    concepts: tuple[Concept, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Mention:
        """A mention from a row of a ``mentions`` column, or from a line of ``medner annotate``."""
        row = dict(row)
        assertion, section, long_form = row.pop("assertion", None), row.pop("section", None), row.pop("long_form", None)
        if assertion is not None:
            cue = assertion["cue"]
            assertion = Assertion(**{**assertion, "cue": None if cue is None else Part(**cue)})
        known = {name: row.pop(name) for name in _PLAIN if name in row}
        return cls(
            **known,
            models=tuple(row.pop("models", ())),
            assertion=assertion,
            section=None if section is None else Section(section["name"], section.get("loinc")),
            long_form=None if long_form is None else Part(**long_form),
            concepts=tuple(map(_concept, row.pop("concepts", ()))),
            extra=row,
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as a dict of plain values."""
        row = asdict(self)
        row["models"] = list(self.models)
        row["concepts"] = [{**concept, "others": list(concept["others"])} for concept in row["concepts"]]
        extra = row.pop("extra")
        return {**row, **extra}


def _concept(row: Mapping[str, Any]) -> Concept:
    others = tuple(Candidate(**candidate) for candidate in row.get("others", ()))
    return Concept(**{"system": None, **row, "others": others})


_PLAIN = ("start", "end", "text", "type", "category", "confidence", "below_threshold")


class Mentions(list[Mention]):
    """The mentions of a text, in order; a list that knows its ``text``. Jupyter shows the text with highlights.

    ``error`` says why a text could not be annotated, if the caller asked to keep errors; else it is ``None``.
    """

    def __init__(self, text: str, mentions: Iterable[Mention] = (), error: str | None = None) -> None:
        super().__init__(mentions)
        self.text = text
        self.error = error

    def __reduce__(self) -> tuple[type[Mentions], tuple[str, list[Mention], str | None]]:
        return type(self), (self.text, list(self), self.error)

    def _repr_html_(self) -> str:
        return highlight(self.text, self)


# Distinct in light and dark notebooks; the categories of medner's own corpora, then what else comes.
_COLOURS = {"problem": "#e4572e", "treatment": "#2e86ab", "medication": "#2e86ab", "test": "#8a6fdf", "anatomy": "#2a9d5c"}
_OTHERS = ("#c99700", "#d6528d", "#5f7a8a", "#9a5b2f")


def highlight(text: str, mentions: Iterable[Mention]) -> str:
    """A text as HTML, its mentions in colour by category. Nested mentions are nested boxes; absent ones are struck.

    >>> print(highlight("No <fever>.", [Mention(4, 9, "fever", "Disease", "problem", 0.9)]))
    <div ...>No &lt;<mark ...>fever<sub ...>Disease</sub></mark>&gt;.</div>
    """
    mentions = sorted(mentions, key=lambda mention: (mention.start, -mention.end))
    colours: dict[str, str] = {}
    for mention in mentions:
        category = mention.category or mention.type
        if category not in colours:
            colours[category] = _COLOURS.get(category, _OTHERS[len(colours) % len(_OTHERS)])
    out: list[str] = []
    open_: list[Mention] = []
    at = 0

    def begin(mention: Mention) -> str:
        colour = colours[mention.category or mention.type]
        struck = mention.assertion is not None and mention.assertion.value == "absent"
        style = f"background:{colour}33;border-bottom:2px solid {colour};border-radius:3px;padding:0 2px;color:inherit"
        style += ";text-decoration:line-through" if struck else ""
        return f'<mark style="{style}" title="{html.escape(_title(mention))}">'

    def end(mention: Mention) -> str:
        style = "font-size:.65em;opacity:.8;margin-left:2px;text-decoration:none;display:inline-block"
        return f'<sub style="{style}">{html.escape(mention.type)}</sub></mark>'

    def until(place: int) -> None:
        """Text up to a place, and the ends of mentions on the way. What crosses a border is closed and opened again."""
        nonlocal at
        while True:
            stop = min([mention.end for mention in open_] + [place])
            out.append(html.escape(text[at:stop]))
            at = stop
            ending = [mention for mention in open_ if mention.end == at]
            if not ending:
                return
            outermost = next(number for number, mention in enumerate(open_) if mention.end == at)
            closed = open_[outermost:]
            for mention in reversed(closed):
                out.append(end(mention) if mention.end == at else "</mark>")
            del open_[outermost:]
            for mention in closed:
                if mention.end != at:
                    out.append(begin(mention))
                    open_.append(mention)
            if at == place and not any(mention.end == at for mention in open_):
                return

    for mention in mentions:
        if mention.start >= mention.end:
            continue
        until(mention.start)
        out.append(begin(mention))
        open_.append(mention)
    until(len(text))
    return f'<div style="white-space:pre-wrap;line-height:1.8">{"".join(out)}</div>'


def _title(mention: Mention) -> str:
    details = [mention.type]
    if mention.category:
        details.append(mention.category)
    details.append(f"{mention.confidence:.2f}")
    if mention.assertion is not None:
        details.append(mention.assertion.value.replace("_", " "))
        if mention.assertion.historical:
            details.append("historical")
    if mention.section is not None:
        details.append(f"section {mention.section.name}")
    if mention.long_form is not None:
        details.append(f"short for {mention.long_form.text}")
    return ", ".join(details)
