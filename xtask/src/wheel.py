"""Writes the two wheels: medner (the package of python/ and the program) and medner-libtorch (the libraries that it needs).

Arguments: the folder python/, the program, the folder of libraries, the folder for the wheels. Needs nothing but Python
and readelf.
"""

import base64
import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

# manylinux allows these releases of the C++ library with a glibc (PEP 600, and the policies of auditwheel).
CXX_OF_GLIBC = [(17, 19), (24, 24), (26, 25), (28, 24), (31, 28), (34, 29), (35, 30), (36, 30), (38, 32), (39, 33), (40, 33)]
# What every Linux of that age has; everything else must be in a wheel.
SYSTEM = re.compile(r"(libc|libm|libdl|librt|libpthread|libutil|libgcc_s|libstdc\+\+|ld-linux-x86-64)\.so\.\d+")
EPOCH = (1980, 1, 1, 0, 0, 0)


def readelf(option, path):
    return subprocess.run(["readelf", option, "--wide", path], check=True, capture_output=True, text=True).stdout


def newest(symbols, prefix):
    """The newest version of a library's symbols: `GLIBC_2.34` is 34 of the prefix `GLIBC_2.`."""
    return max((int(number) for number in re.findall(re.escape(prefix) + r"(\d+)", symbols)), default=0)


def platform(files):
    """The tag of the oldest Linux that has what the files need."""
    bundled = {path.name for path in files}
    glibc = cxx = 0
    for path in files:
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d", path))
        outside = [name for name in needed if name not in bundled and not SYSTEM.fullmatch(name)]
        if outside:
            sys.exit(f"{path.name} needs {', '.join(outside)}, which is in no wheel")
        symbols = readelf("--version-info", path)
        # Only what a file asks for: libgomp and others also define versions.
        symbols = symbols[symbols.find("Version needs section") :] if "Version needs section" in symbols else ""
        glibc, cxx = max(glibc, newest(symbols, "GLIBC_2.")), max(cxx, newest(symbols, "GLIBCXX_3.4."))
    age = next((age for age, has in CXX_OF_GLIBC if age >= glibc and has >= cxx), None)
    if age is None:
        sys.exit(f"no manylinux has GLIBC_2.{glibc} and GLIBCXX_3.4.{cxx}")
    print(f"The files need GLIBC_2.{glibc} and GLIBCXX_3.4.{cxx}", file=sys.stderr)
    return f"manylinux_2_{age}_x86_64"


class Wheel:
    def __init__(self, out, name, version, tag):
        self.info = f"{name}-{version}.dist-info"
        self.path = out / f"{name}-{version}-{tag}.whl"
        self.zip = zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self.record = []
        self.tag = tag

    def add(self, name, content, executable=False):
        if isinstance(content, Path):
            content = content.read_bytes()
        elif isinstance(content, str):
            content = content.encode()
        entry = zipfile.ZipInfo(name, EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = (0o100755 if executable else 0o100644) << 16
        self.zip.writestr(entry, content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        self.record.append(f"{name},sha256={digest},{len(content)}")

    def finish(self, metadata, licences):
        for path in licences:
            self.add(f"{self.info}/licenses/{path.name}", path)
        self.add(f"{self.info}/METADATA", metadata)
        self.add(f"{self.info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: medner xtask\nRoot-Is-Purelib: false\nTag: {self.tag}\n")
        self.record.append(f"{self.info}/RECORD,,")
        self.zip.writestr(zipfile.ZipInfo(f"{self.info}/RECORD", EPOCH), "\n".join(self.record) + "\n")
        self.zip.close()
        os.chmod(self.path, 0o644)
        print(self.path)


def metadata(name, version, summary, licence, python, requires=(), extras=()):
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", f"Summary: {summary}"]
    lines += [f"License: {licence}", f"Requires-Python: {python}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    for extra, requirements in dict(extras).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {requirement}; extra == "{extra}"' for requirement in requirements]
    return "\n".join(lines) + "\n"


def main():
    python, program, libraries, out = map(Path, sys.argv[1:])
    project = tomllib.loads((python / "pyproject.toml").read_text())["project"]
    libraries = sorted(libraries.iterdir())
    tag = f"py3-none-{platform([program, *libraries])}"
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("medner*.whl"):
        old.unlink()
    version, requires_python = project["version"], project["requires-python"]
    # The libraries have the version of the torch that they come from: a new medner does not bring them again.
    torch = sys.stdin.read().strip()
    licences = [python.parent / "LICENSE-APACHE", python.parent / "LICENSE-MIT"]

    wheel = Wheel(out, "medner", version, tag)
    source = python / "src"
    for path in sorted((source / "medner").rglob("*")):
        if path.is_file() and path.suffix in (".py", ".typed"):
            wheel.add(path.relative_to(source).as_posix(), path)
    wheel.add("medner/bin/medner", program, executable=True)
    entry_points = "[console_scripts]\n" + "".join(f"{k} = {v}\n" for k, v in project["scripts"].items())
    for group, entries in project["entry-points"].items():
        entry_points += f"\n[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in entries.items())
    wheel.add(f"{wheel.info}/entry_points.txt", entry_points)
    requires = [*project["dependencies"], f"medner-libtorch=={torch}"]
    extras = project["optional-dependencies"]
    wheel.finish(
        metadata("medner", version, project["description"], project["license"], requires_python, requires, extras), licences
    )

    wheel = Wheel(out, "medner_libtorch", torch, tag)
    wheel.add("medner_libtorch/__init__.py", '"""The libraries of libtorch that medner needs. Not for import."""\n')
    for path in libraries:
        wheel.add(f"medner_libtorch/lib/{path.name}", path, executable=True)
    summary = "The CPU libraries of libtorch that the program medner needs"
    wheel.finish(metadata("medner-libtorch", torch, summary, "BSD-3-Clause", requires_python), [])


main()
