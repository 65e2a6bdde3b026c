"""What the examples of docstrings use: a `model`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import medner


@pytest.fixture(scope="session", autouse=True)
def names(doctest_namespace: dict[str, Any]) -> Iterator[None]:
    folder = os.environ.get("MEDNER_TEST_MODEL")
    if folder is None:
        yield
        return
    with medner.load(folder) as model:
        doctest_namespace["model"] = model
        yield
