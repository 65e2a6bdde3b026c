"""The program as a worker: one process for a model, tables of texts in, tables of mentions out.

Frames go over the worker's stdin and stdout: eight bytes of length (little-endian), then JSON (the worker's first frame)
or an Arrow IPC stream (all others). Answers come in the order of the requests, so requests need no names.

Nothing here starts a thread. Whoever waits for an answer moves bytes in both directions meanwhile, for all callers, so
that no pipe can be full at both ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import tempfile
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from . import _program
from ._errors import MednerError, ModelError, WorkerError, message_of

#: The frames that this module speaks.
PROTOCOL = 1

_LENGTH = struct.Struct("<Q")
_PIECE = 1 << 18


class Request:
    """A request on its way: the rows that it asks about, and its answer or error once there is one."""

    __slots__ = ("owner", "first", "rows", "body", "answer", "error", "done")

    def __init__(self, owner: object, first: int, rows: int, body: pa.Buffer) -> None:
        self.owner = owner
        self.first = first
        self.rows = rows
        self.body = body
        self.answer: pa.RecordBatch | None = None
        self.error: Exception | None = None
        self.done = False

    def finish(self, answer: pa.RecordBatch | None, error: Exception | None = None) -> None:
        self.answer, self.error, self.done = answer, error, True


class Ended(Exception):
    """This process ended the worker for another caller's sake: the request can be sent again."""


_LIVE: weakref.WeakSet[Worker] = weakref.WeakSet()


class Worker:
    """A running worker. One thread at a time may use it.

    Raises:
        ModelError: if its model cannot be loaded.
        WorkerError: if it ends otherwise.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        # A file, not a pipe: nobody has to read it while the worker works.
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [_program.find(), "worker", "--quiet", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "RUST_BACKTRACE": "0", **environment},
            # Ctrl-C is for this process, which then decides about its worker.
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._sending: deque[memoryview] = deque()
        self._received = bytearray()
        self._needed = _LENGTH.size
        self._has_length = False
        self._requests: deque[Request] = deque()
        self._hello: dict[str, Any] | None = None
        self._last_words = ""
        self.alive = True
        _LIVE.add(self)
        try:
            while self.alive and self._hello is None:
                self._step(None)
            if self._hello is None:
                raise ModelError(self._last_words or "the worker ended before it was ready")
            if self._hello.get("protocol") != PROTOCOL:
                raise MednerError(
                    f"the program is medner {self._hello.get('medner')}, which does not fit this package; "
                    "install both from the same wheel"
                )
        except BaseException:
            self.kill()
            raise

    @property
    def hello(self) -> dict[str, Any]:
        """What the worker said of itself."""
        assert self._hello is not None
        return self._hello

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._requests

    def submit(self, request: Request) -> None:
        """Sends a request as far as the pipe takes it; the rest goes while somebody waits."""
        request.done, request.error = False, None
        self._requests.append(request)
        self._sending.append(memoryview(_LENGTH.pack(request.body.size)))
        self._sending.append(memoryview(request.body))
        self._step(0)

    def wait(self, request: Request) -> pa.RecordBatch:
        """The answer.

        Raises:
            WorkerError: if the worker ended.
            Ended: if this process ended it.
        """
        while not request.done:
            self._step(None)
        if request.error is not None:
            raise request.error
        assert request.answer is not None
        return request.answer

    def abandon(self, owner: object) -> None:
        """Nobody waits for an owner's answers any more. Ends the worker if it has any to give: a new one is there before
        this one is through with what nobody wants. It is right after any interruption, too, whatever state the pipes
        are in."""
        if any(request.owner is owner for request in self._requests):
            self.kill()

    def kill(self) -> None:
        """Ends it at once."""
        if self.alive:
            self._process.kill()
            self._process.wait()
            self._end(Ended())

    def close(self) -> None:
        """Lets it end: its input is closed."""
        if self.alive:
            self._close_pipes()
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._end(Ended())

    def forget(self) -> None:
        """In a forked child: the worker belongs to the parent."""
        self.alive = False
        self._requests.clear()
        self._close_pipes()
        self._log.close()
        # Not ours to wait for.
        self._process.returncode = 0

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:
                pass

    def _end(self, error: Exception) -> None:
        self.alive = False
        _LIVE.discard(self)
        self._close_pipes()
        self._sending.clear()
        while self._requests:
            self._requests.popleft().finish(None, error)
        if not self._log.closed:
            self._log.close()

    def _said(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - (1 << 14)))
        return message_of(self._log.read().decode("utf-8", "replace"))

    def warnings(self) -> list[str]:
        """What it warned of until now."""
        self._log.seek(0)
        lines = self._log.read(1 << 16).decode("utf-8", "replace").splitlines()
        return [line.strip().removeprefix("WARN").strip() for line in lines if line.lstrip().startswith("WARN")]

    def _step(self, timeout_ms: int | None) -> None:
        """Moves what can be moved, or waits until something can."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        if self._sending:
            poll.register(self._in, select.POLLOUT)
        for descriptor, _ in poll.poll(timeout_ms):
            if descriptor == self._in:
                self._send()
            elif not self._receive():
                self._died()
                return

    def _send(self) -> None:
        while self._sending:
            head = self._sending[0]
            try:
                sent = os.write(self._in, head[:_PIECE])
            except BlockingIOError:
                return
            except BrokenPipeError:
                # Its end is seen at its output, which may still hold answers.
                self._sending.clear()
                return
            if sent == len(head):
                self._sending.popleft()
            else:
                self._sending[0] = head[sent:]

    def _receive(self) -> bool:
        """Takes what there is; false at the end."""
        try:
            piece = os.read(self._out, _PIECE)
        except BlockingIOError:
            return True
        if not piece:
            return False
        self._received += piece
        while len(self._received) >= self._needed:
            frame = bytes(memoryview(self._received)[: self._needed])
            del self._received[: self._needed]
            self._has_length = not self._has_length
            if self._has_length:
                (self._needed,) = _LENGTH.unpack(frame)
                continue
            self._needed = _LENGTH.size
            self._take(frame)
        return True

    def _take(self, frame: bytes) -> None:
        if self._hello is None:
            self._hello = json.loads(frame)
            return
        with pa.ipc.open_stream(pa.py_buffer(frame)) as stream:
            answer = stream.read_next_batch()
        request = self._requests[0]
        assert answer.num_rows == request.rows, "an answer for every text"
        request.finish(answer)
        self._requests.popleft()

    def _died(self) -> None:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        log = self._last_words = self._said()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        rows = ""
        if self._requests:
            request = self._requests[0]
            rows = f" while it had the texts {request.first} to {request.first + request.rows - 1}"
        message = f"the worker of medner {how}{rows}; the next call starts another one"
        if code == -signal.SIGKILL:
            message += " (the system kills what needs too much memory)"
        self._end(WorkerError(f"{message}\n{log}" if log else message, code, log))


def _forget_all() -> None:
    for worker in list(_LIVE):
        worker.forget()
    _LIVE.clear()


os.register_at_fork(after_in_child=_forget_all)
