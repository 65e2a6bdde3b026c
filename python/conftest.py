"""The model of tests and of the examples of docstrings.

Needs the program (MEDNER_PROGRAM, or medner on PATH) and a model (MEDNER_TEST_MODEL: a folder or run that finds chemicals and
diseases). `cargo xtask check python` provides both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import medner


@pytest.fixture(scope="session")
def folder() -> str:
    named = os.environ.get("MEDNER_TEST_MODEL")
    if not named:
        raise pytest.UsageError("MEDNER_TEST_MODEL names no model; run `cargo xtask check python`")
    return named


@pytest.fixture(scope="session")
def model(folder: str) -> Iterator[medner.Model]:
    with medner.load(folder) as model:
        yield model


@pytest.fixture(autouse=True)
def names(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    # Tests have no use for it, and it starts a worker.
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace["model"] = request.getfixturevalue("model")
