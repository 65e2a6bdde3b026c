"""Finds medical entities in text.

>>> import medner
>>> model = medner.load("bc5cdr")  # doctest: +SKIP
>>> for mention in model("Aspirin relieved the fever."):  # doctest: +SKIP
...     print(mention.start, mention.end, mention.text, mention.type)
0 7 Aspirin Chemical
21 26 fever Disease

A program that travels with this package does the work, in a process of its own: there is no torch in your environment,
a crash is an exception, and other Python threads run meanwhile.
"""

from ._commands import Training, convert, corpus, evaluate, package, push, runs, score, train
from ._errors import CommandError, MednerError, ModelError, TextError, WorkerError
from . import ray, spark
from ._mentions import Assertion, Candidate, Concept, Mention, Mentions, Part, Section, highlight
from ._model import MENTIONS_SCHEMA, Model, load

__version__ = "0.1.0"

__all__ = [
    "MENTIONS_SCHEMA",
    "Assertion",
    "Candidate",
    "CommandError",
    "Concept",
    "MednerError",
    "Mention",
    "Mentions",
    "Model",
    "ModelError",
    "Part",
    "Section",
    "TextError",
    "Training",
    "WorkerError",
    "convert",
    "corpus",
    "evaluate",
    "highlight",
    "load",
    "package",
    "push",
    "runs",
    "score",
    "train",
]
