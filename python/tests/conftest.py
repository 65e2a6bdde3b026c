"""Needs the program (MEDNER_PROGRAM, or medner on PATH) and a model (MEDNER_TEST_MODEL: a folder or run that finds
chemicals and diseases). `cargo xtask check python` provides both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import medner
from medner._cluster import Settings

REPOSITORY = Path(__file__).parents[2]

# A program, not tests.
collect_ignore = ["fragile.py"]


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


@pytest.fixture(scope="session")
def apart(folder: str) -> Iterator[medner.Model]:
    """The model as clusters use it: no digit depends on the texts beside."""
    with Settings.of(folder, {}).opened(1) as model:
        yield model


@pytest.fixture(scope="session")
def sample() -> Path:
    """The documents of the sample's test split as PubTator."""
    return REPOSITORY / "datasets" / "bc5cdr" / "sample" / "test.PubTator.txt"
