"""Every exception of the package."""

from __future__ import annotations

import re

# `FILE:3: …` at the beginning of a line, `path` in backquotes, and `document 17: …`, as the program writes them. A line may
# begin with the number of a cause.
_PLACE = re.compile(r"^\s*(?:\d+: )?(?P<file>[^`\n]+?):(?P<line>\d+): ", re.MULTILINE)
_FILE = re.compile(r"`(?P<file>[^`\n]+)`")
_DOCUMENT = re.compile(r"\bdocument ([^:,\n]+)[:,]")


class MednerError(Exception):
    """Whatever went wrong in medner."""


class TextError(MednerError, ValueError):
    """A text that cannot be annotated. ``row`` counts from 0."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row

    def __reduce__(self) -> tuple[type[TextError], tuple[str, int]]:
        return type(self), (str(self), self.row)


class ModelError(MednerError):
    """A model that is missing or cannot be loaded."""


class WorkerError(MednerError):
    """The worker ended in the middle of its work. The next call starts a new one.

    ``exit_code`` is negative if a signal ended it; ``log`` is the end of what it wrote, which holds no text.
    """

    def __init__(self, message: str, exit_code: int | None = None, log: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log = log

    def __reduce__(self) -> tuple[type[WorkerError], tuple[str, int | None, str]]:
        return type(self), (str(self), self.exit_code, self.log)


class CommandError(MednerError):
    """A command of the program failed.

    ``file``, ``line`` and ``document`` say where, as far as the program's message does; ``log`` is all that it wrote.
    """

    def __init__(self, message: str, exit_code: int | None = None, log: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log = log
        # What the program warned of before is about other places.
        fault = message.partition("\nWARN")[0]
        place = _PLACE.search(fault)
        file = place or _FILE.search(fault)
        self.file = file.group("file") if file else None
        self.line = int(place.group("line")) if place else None
        document = _DOCUMENT.search(fault)
        self.document = document.group(1) if document else None

    def __reduce__(self) -> tuple[type[CommandError], tuple[str, int | None, str]]:
        return type(self), (str(self), self.exit_code, self.log)


def message_of(log: str) -> str:
    """What the program said at the end: its error with the causes, and the warnings before it."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    start = next((at for at in range(len(lines) - 1, -1, -1) if lines[at].startswith("error: ")), None)
    if start is None:
        return "\n".join(lines[-5:])
    warnings = [line.strip() for line in lines[:start] if line.lstrip().startswith("WARN")][-5:]
    return "\n".join([lines[start].removeprefix("error: "), *lines[start + 1 :], *warnings])
