"""What several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import medner
from medner._cluster import Settings

REPOSITORY = Path(__file__).parents[2]

# A program, not tests.
collect_ignore = ["fragile.py"]


@pytest.fixture(scope="session")
def apart(folder: str) -> Iterator[medner.Model]:
    """The model as clusters use it: no digit depends on the texts beside."""
    with Settings.of(folder, {}).opened(1) as model:
        yield model


@pytest.fixture(scope="session")
def sample() -> Path:
    """The documents of the sample's test split as PubTator."""
    return REPOSITORY / "datasets" / "bc5cdr" / "sample" / "test.PubTator.txt"
