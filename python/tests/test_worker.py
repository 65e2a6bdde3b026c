"""What goes wrong around a worker: each case has the right answer or a clear exception, and the next call works."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import medner

TEXT = "Naloxone reverses the effect of clonidine. " * 5


def test_a_killed_worker_is_an_exception_and_a_restart(model: medner.Model) -> None:
    before = model(TEXT)
    os.kill(model.pid, signal.SIGKILL)
    with pytest.raises(medner.WorkerError, match="killed by SIGKILL while it had the texts 0 to 0") as caught:
        model(TEXT)
    assert caught.value.exit_code == -signal.SIGKILL
    assert "Naloxone" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).exit_code == -signal.SIGKILL
    assert model(TEXT) == before


def test_killed_in_the_middle_of_a_stream(model: medner.Model) -> None:
    stream = model.annotate(TEXT * 50 for _ in range(1000))
    next(stream)
    os.kill(model.pid, signal.SIGKILL)
    with pytest.raises(medner.WorkerError, match="SIGKILL while it had the texts"):
        list(stream)
    assert model(TEXT)


def test_lone_surrogates_name_the_row(model: medner.Model) -> None:
    import pandas as pd

    bad = "fever \ud83d here"
    with pytest.raises(medner.TextError, match="row 2 cannot be annotated: it has a lone surrogate at character 6") as caught:
        model.annotate(["fever", None, bad])
    assert caught.value.row == 2 and "here" not in str(caught.value)
    with pytest.raises(medner.TextError, match="row 1 cannot be annotated: it has a lone surrogate"):
        model.annotate(pd.Series(["fever", bad], dtype="object"))
    with pytest.raises(medner.TextError, match="row 0"):
        model(bad)
    assert model("a pair 😀 is one character, and fever is found") is not None


def test_none_is_none(model: medner.Model) -> None:
    found = model.annotate([None, "No fever.", None])
    assert found[0] is None and found[1] is not None and found[2] is None
    assert list(model.annotate(iter([None]))) == [None]
    assert model.annotate([]) == []


def test_two_models_at_once(model: medner.Model, folder: str) -> None:
    with medner.load(folder) as other:
        assert other.pid != model.pid
        pairs = zip(model.annotate(TEXT for _ in range(30)), other.annotate(TEXT for _ in range(30)))
        assert all(one == two for one, two in pairs)


def test_a_call_in_the_middle_of_a_stream(model: medner.Model) -> None:
    """The stream is not in the way, and goes on."""
    stream = model.annotate(TEXT * 100 for _ in range(30))
    first = next(stream)
    assert model(TEXT)
    assert len([first, *stream]) == 30


def test_threads_take_turns(model: medner.Model) -> None:
    texts = [f"{TEXT} Naloxone {number}." for number in range(40)]
    expected = [model(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(model, texts)) == expected


def test_other_threads_run_meanwhile(model: medner.Model) -> None:
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    model(TEXT * 1000)
    done.set()
    thread.join()
    assert ticks > 10


def found_in_child(model: medner.Model) -> tuple[int, int]:
    return len(model(TEXT)), model.pid


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_have_workers_of_their_own(model: medner.Model, method: str) -> None:
    count, pid = len(model(TEXT)), model.pid
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        results = pool.map(found_in_child, [model, model], chunksize=1)
    assert {result[0] for result in results} == {count}
    assert pid not in {result[1] for result in results}
    # The parent's worker is untouched.
    assert model.pid == pid and len(model(TEXT)) == count


def test_a_fork_while_a_thread_waits(model: medner.Model) -> None:
    thread = threading.Thread(target=lambda: model(TEXT * 400))
    thread.start()
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        os._exit(0 if len(model(TEXT)) > 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()


def run(code: str, folder: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), folder], capture_output=True, text=True, timeout=seconds
    )


def test_interruption_cancels_and_the_model_stays_usable(folder: str) -> None:
    code = """
        import os, signal, sys, threading, time
        import medner
        model = medner.load(sys.argv[1])
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        begin = time.monotonic()
        try:
            model("Naloxone reverses the effect of clonidine. " * 200_000)
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted", len(model("Naloxone reverses the effect of clonidine.")) > 0)
    """
    result = run(code, folder)
    assert (result.stdout.strip(), result.returncode) == ("interrupted True", 0), result.stderr


def test_nothing_is_left_when_python_ends(folder: str) -> None:
    for ending in ["", "os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"]:
        code = f"""
            import os, signal, sys
            import medner
            model = medner.load(sys.argv[1])
            model("fever")
            print(model.pid, flush=True)
            {ending}
        """
        result = run(code, folder)
        pid = int(result.stdout)
        for _ in range(100):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"the worker outlives its Python: {ending}")
        assert "Traceback" not in result.stderr and "ResourceWarning" not in result.stderr


def test_a_note_of_5_mb(folder: str) -> None:
    """Whole: its last words are annotated, at their positions."""
    # Long words are one token each, so that this takes seconds.
    text = ("y" * 199 + " ") * 25_000 + "Naloxone reverses the effect of clonidine."
    with medner.load(folder) as model:
        found = model(text)
    assert text[found[-1].start : found[-1].end] == found[-1].text
    assert found[-1].start >= 5_000_000
