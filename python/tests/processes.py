"""Processes that tests watch."""

from __future__ import annotations

import os
import subprocess


def descendants(name: str) -> list[int]:
    """Processes below this one whose command has a name, the deepest last."""
    # Whole commands, even if COLUMNS is set.
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    lines = (line.split(None, 2) for line in listed.splitlines())
    processes = {int(pid): (int(parent), args) for pid, parent, args in lines}

    def depth(pid: int) -> int:
        """0 if it is not below this one."""
        parent = processes.get(pid, (0, ""))[0]
        above = depth(parent) if parent > 1 else 0
        return 1 if parent == os.getpid() else above and above + 1

    return sorted((pid for pid, (_, args) in processes.items() if name in args and depth(pid)), key=depth)
