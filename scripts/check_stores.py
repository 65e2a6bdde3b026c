#!/usr/bin/env python3
"""Checks `medner annotate` on object stores, with moto as a store that speaks S3.

`cargo xtask check stores` brings what it needs and runs it. By hand:

    python scripts/check_stores.py MEDNER MODEL

A collection of texts, tables and row groups of Parquet is annotated on this machine. Then it is put into a bucket, and

- shards annotate it from the bucket into the bucket, while the store sometimes asks for patience (503). The first is
  killed in the middle of its upload, stopped by Ctrl-C there, and repeated. The union of the parts equals the local
  annotation.
- `--check` names what is missing and what was changed.
- one object, one object for each input with --resume, and an input that ends too early.
- every fault of the list FAULTS has its message, and no message holds the secret key.

No object may appear that is not whole, and no upload in parts may remain after Ctrl-C. Needs a Python environment with
scripts/stores-requirements.txt.
"""

import argparse
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import boto3
import pyarrow
import pyarrow.parquet
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

SECRET = "a-secret-that-nobody-may-see"
BUCKET = "hospital"
OF = 4

# Arguments, further variables (None removes one), and what the message says.
FAULTS: list[tuple[list[str], dict[str, str | None], str]] = [
    (["s3://nowhere/notes/"], {}, "s3://nowhere/notes: there is no such bucket"),
    (["s3://hospital/none"], {}, "s3://hospital/none: there is no such object"),
    (["s3://forbidden/notes/"], {}, "s3://forbidden/notes: access is denied (AccessDenied"),
    (["s3://elsewhere/notes/"], {}, "the bucket is in another region (AuthorizationHeaderMalformed: expecting"),
    (["s3://hospital/notes/"], {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "there are no credentials"),
    (["s3://hospital/notes/"], {"AWS_ALLOW_HTTP": None}, "set AWS_ALLOW_HTTP=true"),
    (["s3:///notes"], {}, "the URL names no bucket"),
    (["az://notes/a.txt"], {}, "az://notes/a.txt: "),
    (["s3://hospital/notes/", "--out", "s3://hospital/new.jsonl", "--resume"], {}, "an object cannot be continued"),
    (["s3://hospital/notes/", "--out", "s3://hospital/new/", "--to", "brat"], {}, "brat output is a folder of files"),
    (["s3://hospital/brat/"], {}, "is a brat or i2b2 collection"),
    (["s3://hospital/notes/", "--out", "s3://nowhere/new.jsonl"], {}, "s3://nowhere/new.jsonl: there is no such bucket"),
]


class Gate:
    """Stands before the store: refuses two buckets, asks for patience, and holds uploads of parts."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.busy = 0
        self.holds = False
        self.held = threading.Event()
        self.released = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        if path.startswith("/forbidden"):
            return answer(start, "403 Forbidden", "AccessDenied", "Access Denied")
        if path.startswith("/elsewhere"):
            return answer(start, "400 Bad Request", "AuthorizationHeaderMalformed", "expecting 'eu-west-1'")
        # Where machines in the cloud ask for credentials.
        if path.startswith("/latest/"):
            return answer(start, "404 Not Found", "None", "none")
        if self.busy > 0:
            self.busy -= 1
            return answer(start, "503 Slow Down", "SlowDown", "Please reduce your request rate.")
        if self.holds and environ["REQUEST_METHOD"] == "PUT" and "partNumber=" in query:
            self.held.set()
            self.released.wait()
        return self.store(environ, start)


def answer(start: Any, status: str, code: str, message: str) -> list[bytes]:
    start(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()]


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class Bench:
    def __init__(self, medner: str, model: str, folder: Path) -> None:
        self.medner, self.model, self.folder = os.path.abspath(medner), os.path.abspath(model), folder
        self.gate = Gate(DomainDispatcherApplication(create_backend_app))
        server = make_server("127.0.0.1", 0, self.gate, threaded=True, request_handler=Quiet)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        others = ("AWS_", "AZURE_", "GOOGLE_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        self.variables = clean | {
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_METADATA_ENDPOINT": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.scratch),
        }
        # A client of its own, so that two programs must agree on what the store holds.
        self.s3 = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        self.s3.create_bucket(Bucket=BUCKET)

    def start(self, arguments: list[str], changed: dict[str, str | None] | None = None) -> "subprocess.Popen[str]":
        variables = self.variables | (changed or {})
        given = {name: value for name, value in variables.items() if value is not None}
        return subprocess.Popen(
            [self.medner, *arguments], env=given, cwd=self.folder, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def run(self, arguments: list[str], changed: dict[str, str | None] | None = None, code: int = 0) -> str:
        process = self.start(arguments, changed)
        out, err = process.communicate()
        said = out + err
        assert process.returncode == code, f"{arguments}: exit code {process.returncode}\n{said}"
        assert SECRET not in said, f"{arguments}: the secret is in its output"
        return said

    def arguments(self, *more: str) -> list[str]:
        return ["annotate", *more, "--model", self.model, "--precision", "fp32", "--no-run"]

    def shard(self, number: int) -> list[str]:
        notes = ["s3://hospital/notes/", "--id-column", "id"]
        return self.arguments(*notes, "--out", "s3://hospital/found", "--shard", f"{number}/{OF}")

    def keys(self, prefix: str) -> dict[str, Any]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {entry["Key"]: entry["LastModified"] for page in pages for entry in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def uploads(self) -> list[str]:
        return [upload["UploadId"] for upload in self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


def collection(notes: Path) -> None:
    """Texts, a packed file, a table, row groups, and a text that makes an output of several parts."""
    (notes / "ward/b").mkdir(parents=True)
    for at in range(6):
        place = notes / ("ward/b" if at % 2 else "ward") / f"note {at}+%20.txt"
        place.write_text(f"Note {at}: " + "no cough, " * at * 30 + "fever, naloxone 5 mg.", encoding="utf-8")
    # Blanks are no tokens, and the output repeats the text.
    (notes / "big.txt").write_text("Fever." + " \n" * (9 << 19) + "Naloxone 5 mg.", encoding="utf-8")
    (notes / "more.csv").write_text("id,text\nrow 1,Fever.\nrow 2,naloxone\n", encoding="utf-8")
    lines = "".join(json.dumps({"id": f"line {at}", "text": f"Cough {at} and fever."}) + "\n" for at in range(40))
    (notes / "packed.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (notes / "manifest.json").write_text('{\n "notes": 6\n}\n', encoding="utf-8")
    rows = range(300)
    # Columns that nobody reads make the row groups long.
    table = pyarrow.table({
        "id": [f"table {at}" for at in rows],
        "text": [f"Fever {at}." for at in rows],
        "other": [os.urandom(2000).hex() for _ in rows],
    })
    pyarrow.parquet.write_table(table, notes / "table.parquet", row_group_size=100)


def documents(parts: Iterable[bytes]) -> list[str]:
    """Lines, sorted. What shares a batch changes the last digits of a confidence."""
    found = []
    for line in b"".join(parts).splitlines():
        document = json.loads(line)
        for mention in document["mentions"]:
            mention["confidence"] = round(mention["confidence"], 4)
        found.append(json.dumps(document))
    return sorted(found)


def check_shards(bench: Bench, whole: list[str]) -> None:
    # Killed in the middle of its upload.
    bench.gate.holds = True
    process = bench.start(bench.shard(0))
    assert bench.gate.held.wait(300), "no upload in parts began"
    process.kill()
    process.communicate()
    assert not bench.keys("found"), bench.keys("found")
    for upload in bench.uploads():
        bench.s3.abort_multipart_upload(Bucket=BUCKET, Key=f"found/part-00000-of-0000{OF}.jsonl", UploadId=upload)
    for left in bench.scratch.iterdir():
        shutil.rmtree(left)

    # Stopped by Ctrl-C there: the second ends the process at once.
    bench.gate.held.clear()
    process = bench.start(bench.shard(0))
    assert bench.gate.held.wait(300), "no upload in parts began"
    process.send_signal(signal.SIGINT)
    threading.Event().wait(0.5)
    process.send_signal(signal.SIGINT)
    said = "".join(process.communicate())
    assert process.returncode == 130, said
    assert not bench.uploads() and not bench.keys("found"), (bench.uploads(), bench.keys("found"), said)
    assert not list(bench.scratch.iterdir()), "copies remain"
    bench.gate.holds = False
    bench.gate.released.set()

    bench.gate.busy = 3
    for number in range(1, OF):
        bench.run(bench.shard(number))
    said = bench.run(["annotate", "--check", "s3://hospital/found"], code=1)
    assert "3 of 4 shards finished" in said and "start again: 0" in said, said
    bench.run(bench.shard(0))
    said = bench.run(["annotate", "--check", "s3://hospital/found/"])
    assert f"4 of 4 shards finished: {len(whole)} documents" in said, said
    parts = [f"found/part-{number:05}-of-{OF:05}" for number in range(OF)]
    assert documents(bench.read(part + ".jsonl") for part in parts) == whole, "the union is another annotation"
    assert "-" in bench.s3.head_object(Bucket=BUCKET, Key=parts[0] + ".jsonl")["ETag"], "it was not uploaded in parts"

    before = bench.keys("found")
    assert "finished already" in bench.run(bench.shard(1))
    assert bench.keys("found") == before
    assert "these settings differ: threshold" in bench.run([*bench.shard(1), "--threshold", "0.9"], code=1)
    bench.s3.delete_object(Bucket=BUCKET, Key=parts[2] + ".manifest.json")
    bench.s3.put_object(Bucket=BUCKET, Key=parts[1] + ".jsonl", Body=b"")
    said = bench.run(["annotate", "--check", "s3://hospital/found"], code=1)
    assert "start again: 1-2" in said and "part-00001-of-00004.jsonl was changed" in said, said


def check_outputs(bench: Bench, whole: list[str]) -> None:
    notes = ["s3://hospital/notes/", "--id-column", "id"]
    bench.run(bench.arguments(*notes, "--out", "s3://hospital/one.jsonl.gz"))
    assert documents([gzip.decompress(bench.read("one.jsonl.gz"))]) == whole
    bench.run(bench.arguments(*notes, "--out", "s3://hospital/one.parquet", "--to", "parquet"))
    rows = pyarrow.parquet.read_table(io.BytesIO(bench.read("one.parquet"))).num_rows
    assert rows == sum(len(json.loads(line)["mentions"]) for line in whole), rows
    said = bench.run(bench.arguments("s3://hospital/notes/more.csv", "--to", "csv"))
    assert said.startswith("document,"), said
    bench.run(bench.arguments("s3://hospital/notes.zip", "--out", "s3://hospital/zip.jsonl"))
    assert len(documents([bench.read("zip.jsonl")])) == 2

    each = bench.arguments("s3://hospital/notes/ward/", "--out", "s3://hospital/each/")
    bench.run(each)
    first = bench.keys("each/")
    assert len(first) == 7 and "each/b/note 1+%20.jsonl" in first, first
    assert "is not empty" in bench.run(each, code=1)
    bench.s3.delete_object(Bucket=BUCKET, Key="each/b/note 1+%20.jsonl")
    assert "with other models or settings" in bench.run([*each, "--resume", "--threshold", "0.9"], code=1)
    said = bench.run([*each, "--resume"])
    assert "skipping 5 of 6 files" in said and bench.keys("each/").keys() == first.keys(), said

    # What ends too early gets no output under its name.
    packed = gzip.compress(b'{"id": "a", "text": "Fever."}\n' + os.urandom(9000).hex().encode())
    bench.s3.put_object(Bucket=BUCKET, Key="cut/b.jsonl.gz", Body=packed[:-2000])
    bench.s3.put_object(Bucket=BUCKET, Key="cut/a.txt", Body=b"Fever.")
    said = bench.run(bench.arguments("s3://hospital/cut/", "--out", "s3://hospital/short.jsonl"), code=1)
    assert "s3://hospital/cut/b.jsonl.gz: it cannot be read to the end" in said, said
    assert bench.keys("short").keys() == {"short.part.jsonl"}, bench.keys("short")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medner")
    parser.add_argument("model", help="folder of a model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.medner, options.model, Path(folder))
        notes = Path(folder) / "notes"
        collection(notes)
        bench.run(bench.arguments("notes", "--id-column", "id", "--out", "whole.jsonl"))
        whole = documents([(Path(folder) / "whole.jsonl").read_bytes()])
        for path in sorted(path for path in notes.rglob("*") if path.is_file()):
            bench.s3.upload_file(str(path), BUCKET, str(path.relative_to(folder)))
        # A folder as consoles make it, another prefix, an archive, and a collection that only a folder can be.
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as files:
            files.writestr("a.txt", "Fever.")
            files.writestr("b/c.txt", "Naloxone.")
        for key, body in [
            ("notes/ward/", b""),
            ("notes-2/other.txt", b"Cough."),
            ("notes.zip", archive.getvalue()),
            ("brat/a.txt", b"Fever."),
            ("brat/a.ann", b""),
        ]:
            bench.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        print(f"{len(whole)} documents annotated on this machine")
        check_shards(bench, whole)
        print("shards: the same documents, also after a kill and Ctrl-C")
        check_outputs(bench, whole)
        print("one object, one for each input, --resume, and an input that ends too early")
        for arguments, changed, says in FAULTS:
            said = bench.run(bench.arguments(*arguments), changed, code=1)
            assert says in said, f"{arguments}: {says!r} and not\n{said}"
        said = bench.run(["convert", "s3://hospital/notes/more.csv", "more.jsonl", "--to", "jsonl"], code=2)
        assert "copy it to this machine first" in said, said
        print(f"{len(FAULTS) + 1} faults: each has its message, and no secret is in one")
        assert not list(bench.scratch.iterdir()), "copies remain"


if __name__ == "__main__":
    main()
