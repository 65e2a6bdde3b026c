"""The program: where it is, and how its commands are run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ._errors import CommandError, MednerError, message_of

#: Names another program than the one of the wheel.
VARIABLE = "MEDNER_PROGRAM"


def find() -> str:
    """The program: ``MEDNER_PROGRAM``, else the one in this package, else the one on ``PATH``."""
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or os.path.isdir(named):
            raise MednerError(f"{VARIABLE} is {named}, which is not a program")
        return named
    own = Path(__file__).parent / "bin" / "medner"
    if own.is_file():
        return str(own)
    # The command that pip makes from this package would start itself.
    beside = Path(sys.executable).parent / "medner"
    folders = [folder for folder in os.get_exec_path() if Path(folder) != beside.parent]
    found = shutil.which("medner", path=os.pathsep.join(folders))
    if found is None:
        raise MednerError(
            f"the program medner is missing: this installation is not from a wheel of `cargo xtask dist --wheel`; "
            f"set {VARIABLE} to a medner that was built with cargo"
        )
    return found


def main() -> None:
    """The command `medner`."""
    program = find()
    os.execv(program, ["medner", *sys.argv[1:]])


def run(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    stdin: str | None = None,
    says: Callable[[str], None] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> str:
    """Runs a command and returns its stdout.

    ``says`` gets each line of its stderr; ``meanwhile`` is called a few times a second. Ctrl-C stops the command as in a
    terminal: a training can then be resumed.

    Raises:
        CommandError: if it fails.
    """
    process = subprocess.Popen(
        [find(), *(os.fspath(argument) for argument in arguments)],
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    out: list[str] = []
    log: list[str] = []

    def read_out() -> None:
        assert process.stdout is not None
        out.append(process.stdout.read())

    def read_log() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            log.append(line)

    def write() -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(stdin or "")
            process.stdin.close()
        except BrokenPipeError:
            pass

    threads = [threading.Thread(target=work, daemon=True) for work in (read_out, read_log)]
    if stdin is not None:
        threads.append(threading.Thread(target=write, daemon=True))
    for thread in threads:
        thread.start()
    said = 0
    try:
        while True:
            try:
                process.wait(0.2)
                ended = True
            except subprocess.TimeoutExpired:
                ended = False
            if ended:
                for thread in threads:
                    thread.join()
            # On this thread: a notebook shows what its own thread prints.
            while said < len(log):
                if says is not None:
                    says(log[said].rstrip("\n"))
                said += 1
            if meanwhile is not None:
                meanwhile()
            if ended:
                break
    except BaseException:
        # The program stops after its current step; a second signal would end it at once.
        process.terminate()
        try:
            process.wait(60)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        raise
    if process.returncode != 0:
        text = "".join(log)
        raise CommandError(message_of(text) or f"medner ended with code {process.returncode}", process.returncode, text)
    return "".join(out)
