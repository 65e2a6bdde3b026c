#!/usr/bin/env python3
"""Keeps the piece that lies beside this script, and unpacks the whole once all pieces are there.

    python3 receive.py [FOLDER]        FOLDER is /tmp/medner-gpu by default
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tarfile
from pathlib import Path


def main() -> None:
    here = Path(__file__).resolve().parent
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "/tmp/medner-gpu")
    note = json.loads((here / "part.json").read_text(encoding="utf-8"))
    kept = out / "pieces" / note["name"]
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(here / "piece", kept / str(note["number"]))
    pieces = [kept / str(number) for number in range(note["of"])]
    missing = sum(not piece.exists() for piece in pieces)
    if missing:
        print(f"{note['name']}: {missing} of {note['of']} pieces are missing")
        return
    data = b"".join(piece.read_bytes() for piece in pieces)
    if hashlib.sha256(data).hexdigest() != note["sha256"]:
        sys.exit(f"{note['name']}: the pieces do not belong together")
    folder = out / note["name"]
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
    print(f"unpacked {folder}")


if __name__ == "__main__":
    main()
