"""unpack.py WHEEL OUT PATTERN...: a wheel's headers, matching libraries and metadata, as libtorch lays them out.

Libraries end up in one folder although NVIDIA's wheels use several: each finds its neighbours by $ORIGIN.
"""

import fnmatch
import pathlib
import shutil
import sys
import zipfile

wheel, out, patterns = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]

with zipfile.ZipFile(wheel) as archive:
    for member in archive.infolist():
        path = pathlib.PurePosixPath(member.filename)
        if member.is_dir():
            continue
        elif path.parts[:2] == ("torch", "include"):
            target = out.joinpath(*path.parts[1:])
        elif path.parent.name == "lib" and any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns):
            target = out / "lib" / path.name
        elif path.name == "METADATA" and path.parent.name.endswith(".dist-info"):
            target = out / "METADATA"
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, open(target, "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
