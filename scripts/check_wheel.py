"""Installs the two wheels into an empty environment, finds a mention, and uninstalls them again.

Arguments: the folder of the wheels, the folder of a model. Prints times and sizes.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST = """
import sys, time
begin = time.monotonic()
import medner
model = medner.load(sys.argv[1])
found = model("Naloxone reverses the hypotensive effect of clonidine.")
assert found and "torch" not in sys.modules, found
assert medner._program.find().startswith(sys.prefix), medner._program.find()
print(f"first mention after {time.monotonic() - begin:.1f} s: {found[0].text} {found[0].type}")
"""


def size(folder):
    return sum(path.lstat().st_size for path in Path(folder).rglob("*") if path.is_file())


def main():
    wheels, model = Path(sys.argv[1]), str(Path(sys.argv[2]).resolve())
    paths = sorted(map(str, wheels.glob("medner*.whl")))
    assert len(paths) == 2, paths
    for path in paths:
        print(f"{Path(path).name}: {Path(path).stat().st_size / 1e6:.0f} MB")
    # Nothing of this checkout may help.
    clean = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    with tempfile.TemporaryDirectory() as folder:
        clean["TMPDIR"] = folder
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/env"], check=True)
        site = next(Path(folder, "env", "lib").glob("python*/site-packages"))
        before, empty = {path.name for path in site.iterdir()}, size(site)
        python = f"{folder}/env/bin/python"
        begin = time.monotonic()
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", *paths], check=True, env={**os.environ, "TMPDIR": folder})
        print(f"installed in {time.monotonic() - begin:.0f} s, {(size(site) - empty) / 1e6:.0f} MB on disk, of it:")
        for name in ["medner", "medner_libtorch", "pyarrow"]:
            print(f"  {name}: {size(site / name) / 1e6:.0f} MB")
        subprocess.run([python, "-c", FIRST, model], check=True, env=clean, cwd=folder)
        said = subprocess.run([f"{folder}/env/bin/medner", "--version"], check=True, env=clean, capture_output=True, text=True)
        print(f"the command says: {said.stdout.strip()}")
        subprocess.run([*pip, "uninstall", "--yes", "medner", "medner-libtorch", "pyarrow"], check=True)
        left = {path.name for path in site.iterdir()} - before
        assert not left, left
        assert not Path(folder, "env", "bin", "medner").exists()
        print("uninstalled: nothing is left")


main()
