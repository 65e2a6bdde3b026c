#!/usr/bin/env python3
"""Stands between the package and the real program (FRAGILE_PROGRAM), and dies on certain texts as a crash would."""

import os
import signal
import subprocess
import sys
import threading

poison = os.environ.get("FRAGILE_POISON", "POISON").encode()
if sys.argv[1] != "worker":
    os.execv(os.environ["FRAGILE_PROGRAM"], sys.argv)
with subprocess.Popen([os.environ["FRAGILE_PROGRAM"], *sys.argv[1:]], stdin=subprocess.PIPE) as real:
    assert real.stdin is not None
    # Its end is this one's end.
    threading.Thread(target=lambda: os._exit(real.wait() & 0xFF), daemon=True).start()
    while length := sys.stdin.buffer.read(8):
        body = sys.stdin.buffer.read(int.from_bytes(length, "little"))
        if poison in body:
            # The real one ends with its input.
            os.kill(os.getpid(), signal.SIGKILL)
        real.stdin.write(length + body)
        real.stdin.flush()
    real.stdin.close()
