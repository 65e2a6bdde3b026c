#!/usr/bin/env python3
"""Checks `medner annotate` on object stores: moto for S3 and Google Cloud Storage, Azurite for Azure.

`cargo xtask check stores` brings what it needs and runs it. By hand:

    python scripts/check_stores.py MEDNER MODEL --azurite PROGRAM

A collection of texts, tables and row groups of Parquet is annotated on this machine. Then it is put into a bucket of
each store, and

- shards annotate it from the bucket into the bucket, while the store sometimes asks for patience (503). The first is
  killed in the middle of its upload, stopped by Ctrl-C there, and repeated. The union of the parts equals the local
  annotation.
- `--check` names what is missing and what was changed, and these shards write it again. While an object cannot be read, no
  shard finishes.
- one object, one object for each input with --resume, and an input that ends too early.
- every fault of the list FAULTS, and of the store's own list, has its message. No message holds the secret.

No object may appear that is not whole, and no upload in parts may remain after Ctrl-C, except on Azure. Needs a Python
environment with scripts/stores-requirements.txt, and Azurite from scripts/stores-package.json. Without Azurite, az://
is skipped.

Google's XML API is that of S3 in all that medner asks for, except credentials: each request has a token that the key
of a service account signs. The gate before moto refuses requests without one.
"""

import argparse
import base64
import contextlib
import gzip
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import pyarrow
import pyarrow.parquet
from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

SECRET = "a-secret-that-nobody-may-see"
# Of Azure.
ACCOUNT, KEY = "somebody", base64.b64encode(SECRET.encode()).decode()
OF = 4

# Arguments, further variables (None removes one), and what the message says.
Fault = tuple[list[str], dict[str, str | None], str]

# {url} is a bucket with the collection, and {bucket} what the store calls a bucket.
FAULTS: list[Fault] = [
    (["{scheme}://nowhere/notes/"], {}, "{scheme}://nowhere/notes: there is no such {bucket}"),
    (["{url}/none"], {}, "{url}/none: there is no such object"),
    (["{scheme}://forbidden/notes/"], {}, "{scheme}://forbidden/notes: access is denied ({denied}"),
    (["{scheme}:///notes"], {}, "the URL names no {bucket}: write {scheme}://"),
    (["{url}/notes/", "--out", "{url}/new.jsonl", "--resume"], {}, "an object cannot be continued"),
    (["{url}/notes/", "--out", "{url}/new/", "--to", "brat"], {}, "brat output is a folder of files"),
    (["{url}/brat/"], {}, "is a brat or i2b2 collection"),
    (["{url}/notes/", "--out", "{scheme}://nowhere/new.jsonl"], {}, "nowhere/new.jsonl: there is no such {bucket}"),
]

SETTINGS = "settings in the environment are missing or wrong"

S3_FAULTS: list[Fault] = [
    (["{scheme}://elsewhere/notes/"], {}, "the bucket is in another region (AuthorizationHeaderMalformed: expecting"),
    (["{url}/notes/"], {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "there are no credentials"),
    (["{url}/notes/"], {"AWS_ALLOW_HTTP": None}, "set AWS_ALLOW_HTTP=true"),
    # Of Azure, but without a server.
    (["az://ward/notes/"], {}, SETTINGS),
]

GOOGLE_FAULTS: list[Fault] = [
    (["{url}/notes/"], {"GOOGLE_SERVICE_ACCOUNT": None}, "are no credentials: set GOOGLE_APPLICATION_CREDENTIALS"),
    (["{url}/notes/"], {"GOOGLE_SERVICE_ACCOUNT": "unsigned.json"}, "the store does not accept the credentials"),
    (["{url}/notes/"], {"GOOGLE_SERVICE_ACCOUNT": "none.json"}, SETTINGS),
    (["{url}/notes/"], {"GOOGLE_SERVICE_ACCOUNT": None, "GOOGLE_APPLICATION_CREDENTIALS": "none.json"}, SETTINGS),
    (["{url}/notes/"], {"GOOGLE_SERVICE_ACCOUNT": "broken.json"}, SETTINGS),
]

AZURE_FAULTS: list[Fault] = [
    (["{url}/notes/"], {"AZURE_STORAGE_ACCOUNT_KEY": None}, "there are no credentials: set AZURE_STORAGE_ACCOUNT_NAME"),
    (["{url}/notes/"], {"AZURE_STORAGE_ACCOUNT_KEY": "b3RoZXI="}, "the store does not accept the credentials"),
    (["{url}/notes/"], {"AZURE_STORAGE_ACCOUNT_KEY": SECRET}, SETTINGS),
    (["{url}/notes/"], {"AZURE_ALLOW_HTTP": None}, "set AZURE_ALLOW_HTTP=true"),
]


class Gate:
    """Stands before a store: refuses two buckets, asks for patience, and holds uploads of parts, except one."""

    def __init__(self, store: Any, signed: str, denied: str) -> None:
        self.store = store
        # What the header Authorization begins with, and the store's word for what is not allowed.
        self.signed, self.denied = signed, denied
        self.busy = 0
        # A key whose requests never succeed.
        self.broken: str | None = None
        self.holds = False
        self.passes = threading.Semaphore(0)
        self.held = threading.Event()
        self.released = threading.Event()

    def hold(self) -> None:
        """Lets one part through, and holds the next."""
        self.held.clear()
        self.passes.release()
        self.holds = True

    def release(self) -> None:
        self.holds = False
        self.released.set()

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        # Where machines in the cloud ask for credentials.
        if path.startswith(("/latest/", "/computeMetadata/", "/metadata/")):
            return answer(start, "404 Not Found", "None", "none")
        if not environ.get("HTTP_AUTHORIZATION", "").startswith(self.signed):
            return answer(start, "401 Unauthorized", "AuthenticationRequired", "Authentication required.")
        if "forbidden" in path.split("/"):
            return answer(start, "403 Forbidden", self.denied, "Access Denied")
        if "elsewhere" in path.split("/"):
            return answer(start, "400 Bad Request", "AuthorizationHeaderMalformed", "expecting 'eu-west-1'")
        if self.busy > 0 or (self.broken and path.endswith(self.broken)):
            self.busy = max(0, self.busy - 1)
            return answer(start, "503 Slow Down", "SlowDown", "Please reduce your request rate.")
        is_part = environ["REQUEST_METHOD"] == "PUT" and ("partNumber=" in query or "comp=block&" in query)
        if is_part and self.holds and not self.passes.acquire(blocking=False):
            self.held.set()
            self.released.wait()
            return answer(start, "503 Slow Down", "SlowDown", "Whoever asked is gone.")
        return self.store(environ, start)


def answer(start: Any, status: str, code: str, message: str) -> list[bytes]:
    start(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()]


class Forward:
    """Hands requests on to another server."""

    def __init__(self, server: str) -> None:
        self.server = server

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        given = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_")) and value}
        headers = {name.removeprefix("HTTP_").replace("_", "-"): value for name, value in given.items()}
        connection = http.client.HTTPConnection(self.server)
        # As it was sent, because the signature covers it.
        connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], body, headers)
        response = connection.getresponse()
        ours = ("connection", "keep-alive", "transfer-encoding")
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in ours]
        start(f"{response.status} {response.reason}", kept)
        return [response.read()]


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def serve(application: Any) -> str:
    """Starts a server, and returns its host and port."""
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_port}"


class Bucket:
    """A bucket of moto. The client is not medner's: two programs must agree on what the store holds."""

    def __init__(self, server: str, name: str) -> None:
        self.name = name
        self.client = boto3.client(
            "s3", endpoint_url=f"http://{server}", region_name="us-east-1", aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        self.client.create_bucket(Bucket=name)

    def keys(self, prefix: str) -> dict[str, Any]:
        """Keys, and when each object was written."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return {entry["Key"]: entry["LastModified"] for page in pages for entry in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def write(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def came_in_parts(self, key: str) -> bool:
        return "-" in self.client.head_object(Bucket=self.name, Key=key)["ETag"]

    def uploads(self) -> list[str]:
        """Uploads in parts that are not finished."""
        uploads = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return [upload["UploadId"] for upload in uploads]


class Container:
    """A container of Azurite, by Microsoft's client."""

    def __init__(self, server: str, name: str) -> None:
        self.name = name
        credential = {"account_name": ACCOUNT, "account_key": KEY}
        # The newest version that the client knows may be newer than Azurite.
        service = BlobServiceClient(f"http://{server}/{ACCOUNT}", credential, api_version="2023-11-03")
        self.client = service.create_container(name)

    def keys(self, prefix: str) -> dict[str, Any]:
        return {blob.name: blob.last_modified for blob in self.client.list_blobs(name_starts_with=prefix)}

    def read(self, key: str) -> bytes:
        return self.client.download_blob(key).readall()

    def write(self, key: str, body: bytes) -> None:
        self.client.upload_blob(key, body, overwrite=True)

    def delete(self, key: str) -> None:
        self.client.delete_blob(key)

    def came_in_parts(self, key: str) -> bool:
        return len(self.client.get_blob_client(key).get_block_list("committed")[0]) > 1

    def uploads(self) -> list[str]:
        blobs = {blob.name for blob in self.client.list_blobs(include=["uncommittedblobs"])}
        return sorted(blobs - self.keys("").keys())


@dataclass
class Store:
    """A store: how medner comes to it, and what is in it."""

    scheme: str
    # What the store calls a bucket.
    bucket: str
    objects: Bucket | Container
    gate: Gate
    variables: dict[str, str]
    # Another way to give credentials.
    otherwise: dict[str, str | None]
    secrets: list[str]
    faults: list[Fault]

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.objects.name}"

    def fill(self, text: str) -> str:
        return text.format(scheme=self.scheme, url=self.url, bucket=self.bucket, denied=self.gate.denied)


def s3(moto: Any, behind: str) -> Store:
    gate = Gate(moto, "AWS4-HMAC-SHA256 ", "AccessDenied")
    endpoint = f"http://{serve(gate)}"
    variables = {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_METADATA_ENDPOINT": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }
    otherwise: dict[str, str | None] = {"AWS_SESSION_TOKEN": "a"}
    return Store("s3", "bucket", Bucket(behind, "hospital"), gate, variables, otherwise, [SECRET], S3_FAULTS)


def google(moto: Any, behind: str, folder: Path) -> Store:
    gate = Gate(moto, "Bearer ey", "AccessDenied")
    server = serve(gate)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = rsa.generate_private_key(65537, 2048).private_bytes(encoding, form, serialization.NoEncryption()).decode()
    account = {"client_email": "a", "private_key_id": "1", "private_key": key, "gcs_base_url": f"http://{server}"}
    text = json.dumps(account)
    for name, written in [("key", text), ("unsigned", text[:-1] + ', "disable_oauth": true}'), ("broken", text[:-9])]:
        (folder / f"{name}.json").write_text(written, encoding="utf-8")
    # Without HOME, gcloud's own file of credentials is not found.
    variables = {
        "GOOGLE_SERVICE_ACCOUNT": "key.json",
        "GCE_METADATA_HOST": server,
        "GCE_METADATA_IP": server,
        "HOME": str(folder),
    }
    otherwise: dict[str, str | None] = {"GOOGLE_SERVICE_ACCOUNT": None, "GOOGLE_SERVICE_ACCOUNT_KEY": text}
    secrets = [key.splitlines()[1]]
    return Store("gs", "bucket", Bucket(behind, "clinic"), gate, variables, otherwise, secrets, GOOGLE_FAULTS)


def azure(server: str) -> Store:
    gate = Gate(Forward(server), "", "AuthorizationPermissionMismatch")
    endpoint = f"http://{serve(gate)}"
    variables = {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_STORAGE_ENDPOINT": f"{endpoint}/{ACCOUNT}",
        "AZURE_MSI_ENDPOINT": f"{endpoint}/metadata/identity/oauth2/token",
        "AZURE_ALLOW_HTTP": "true",
    }

    def sas(days: int) -> dict[str, str | None]:
        """A shared access signature that ends in some days."""
        allowed = AccountSasPermissions(read=True, list=True)
        end = datetime.now(timezone.utc) + timedelta(days)
        text = generate_account_sas(ACCOUNT, KEY, ResourceTypes(container=True, object=True), allowed, end)
        return {"AZURE_STORAGE_ACCOUNT_KEY": None, "AZURE_STORAGE_SAS_KEY": text}

    faults: list[Fault] = [*AZURE_FAULTS, (["{url}/notes/"], sas(-1), "the store does not accept the credentials")]
    return Store("az", "container", Container(server, "ward"), gate, variables, sas(1), [SECRET, KEY, "sig="], faults)


@contextlib.contextmanager
def azurite(program: str) -> Iterator[str]:
    """Azurite, and where it listens."""
    process = subprocess.Popen(
        [program, "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--silent"],
        env=os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}, stdout=subprocess.PIPE, text=True,
    )
    try:
        address = next((line for line in process.stdout or [] if "listens on" in line), None)
        assert address, "Azurite does not start"
        yield address.split("//")[1].strip()
    finally:
        process.terminate()
        process.wait()


class Bench:
    def __init__(self, medner: str, model: str, folder: Path, store: Store) -> None:
        self.medner, self.model, self.folder = os.path.abspath(medner), os.path.abspath(model), folder
        self.store, self.gate, self.objects, self.url = store, store.gate, store.objects, store.url
        self.scratch = folder / f"scratch-{store.scheme}"
        self.scratch.mkdir()
        others = ("AWS_", "AZURE_", "GOOGLE_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        self.variables = clean | store.variables | {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.scratch)}

    def start(self, arguments: list[str], changed: dict[str, str | None] | None = None) -> "subprocess.Popen[str]":
        variables = self.variables | (changed or {})
        given = {name: value for name, value in variables.items() if value is not None}
        return subprocess.Popen(
            [self.medner, *arguments], env=given, cwd=self.folder, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def start_held(self, arguments: list[str]) -> "subprocess.Popen[str]":
        """Starts an upload in parts, and waits until it is in its middle."""
        self.gate.hold()
        process = self.start(arguments)
        assert self.gate.held.wait(300), "no upload in parts began"
        return process

    def run(self, arguments: list[str], changed: dict[str, str | None] | None = None, code: int = 0) -> str:
        process = self.start(arguments, changed)
        out, err = process.communicate()
        said = out + err
        assert process.returncode == code, f"{arguments}: exit code {process.returncode}\n{said}"
        assert not any(secret in said for secret in self.store.secrets), f"{arguments}: a secret is in its output"
        return said

    def arguments(self, *more: str) -> list[str]:
        return ["annotate", *more, "--model", self.model, "--precision", "fp32", "--no-run"]

    def shard(self, number: int) -> list[str]:
        notes = [f"{self.url}/notes/", "--id-column", "id"]
        return self.arguments(*notes, "--out", f"{self.url}/found", "--shard", f"{number}/{OF}")


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
    # Killed in the middle of its upload. Its parts remain, which no listing of objects shows.
    process = bench.start_held(bench.shard(0))
    process.kill()
    process.communicate()
    assert not bench.objects.keys("found"), bench.objects.keys("found")
    left = bench.objects.uploads()
    for copy in bench.scratch.iterdir():
        shutil.rmtree(copy)

    # Stopped by Ctrl-C there: the second ends the process at once.
    process = bench.start_held(bench.shard(0))
    process.send_signal(signal.SIGINT)
    threading.Event().wait(0.5)
    process.send_signal(signal.SIGINT)
    said = "".join(process.communicate())
    assert process.returncode == 130, said
    assert not bench.objects.keys("found"), said
    # Azure removes parts itself: after a week, or when the object is written.
    assert bench.objects.uploads() == left or bench.store.scheme == "az", said
    assert not list(bench.scratch.iterdir()), "copies remain"
    bench.gate.release()

    bench.gate.busy = 3
    for number in range(1, OF):
        bench.run(bench.shard(number))
    said = bench.run(["annotate", "--check", f"{bench.url}/found"], code=1)
    assert "3 of 4 shards finished" in said and "start again: 0" in said, said
    bench.run(bench.shard(0))
    said = bench.run(["annotate", "--check", f"{bench.url}/found/"])
    assert f"4 of 4 shards finished: {len(whole)} documents" in said, said
    parts = [f"found/part-{number:05}-of-{OF:05}" for number in range(OF)]
    assert not bench.objects.uploads() or bench.store.scheme != "az", bench.objects.uploads()
    assert documents(bench.objects.read(part + ".jsonl") for part in parts) == whole, "the union is another annotation"
    assert bench.objects.came_in_parts(parts[0] + ".jsonl"), "it was not uploaded in parts"

    before = bench.objects.keys("found")
    assert "finished already" in bench.run(bench.shard(1))
    assert bench.objects.keys("found") == before
    assert "these settings differ: threshold" in bench.run([*bench.shard(1), "--threshold", "0.9"], code=1)
    bench.objects.delete(parts[2] + ".manifest.json")
    bench.objects.write(parts[1] + ".jsonl", b"")
    said = bench.run(["annotate", "--check", f"{bench.url}/found"], code=1)
    assert "start again: 1-2" in said and "part-00001-of-00004.jsonl was changed" in said, said

    # Half a minute without an answer, which only one store may cost: the object is not taken for a bad one.
    if bench.store.scheme == "s3":
        bench.gate.broken = "notes/packed.jsonl.gz"
        said = bench.run(bench.shard(1), code=1)
        assert "cannot be dealt out to shards" in said and bench.gate.broken in said, said
        bench.gate.broken = None
    bench.run(bench.shard(1))
    bench.run(bench.shard(2))
    bench.run(["annotate", "--check", f"{bench.url}/found"])


def check_outputs(bench: Bench, whole: list[str]) -> None:
    notes = [f"{bench.url}/notes/", "--id-column", "id"]
    bench.run(bench.arguments(*notes, "--out", f"{bench.url}/one.jsonl.gz"))
    assert documents([gzip.decompress(bench.objects.read("one.jsonl.gz"))]) == whole
    bench.run(bench.arguments(*notes, "--out", f"{bench.url}/one.parquet", "--to", "parquet"))
    rows = pyarrow.parquet.read_table(io.BytesIO(bench.objects.read("one.parquet"))).num_rows
    assert rows == sum(len(json.loads(line)["mentions"]) for line in whole), rows
    said = bench.run(bench.arguments(f"{bench.url}/notes/more.csv", "--to", "csv"), bench.store.otherwise)
    assert said.startswith("document,"), said
    bench.run(bench.arguments(f"{bench.url}/notes.zip", "--out", f"{bench.url}/zip.jsonl"))
    assert len(documents([bench.objects.read("zip.jsonl")])) == 2

    each = bench.arguments(f"{bench.url}/notes/ward/", "--out", f"{bench.url}/each/")
    bench.run(each)
    first = bench.objects.keys("each/")
    assert len(first) == 7 and "each/b/note 1+%20.jsonl" in first, first
    assert "is not empty" in bench.run(each, code=1)
    bench.objects.delete("each/b/note 1+%20.jsonl")
    assert "with other models or settings" in bench.run([*each, "--resume", "--threshold", "0.9"], code=1)
    said = bench.run([*each, "--resume"])
    assert "skipping 5 of 6 files" in said and bench.objects.keys("each/").keys() == first.keys(), said

    # What ends too early gets no output under its name.
    packed = gzip.compress(b'{"id": "a", "text": "Fever."}\n' + os.urandom(9000).hex().encode())
    bench.objects.write("cut/b.jsonl.gz", packed[:-2000])
    bench.objects.write("cut/a.txt", b"Fever.")
    said = bench.run(bench.arguments(f"{bench.url}/cut/", "--out", f"{bench.url}/short.jsonl"), code=1)
    assert f"{bench.url}/cut/b.jsonl.gz: it cannot be read to the end" in said, said
    assert bench.objects.keys("short").keys() == {"short.part.jsonl"}, bench.objects.keys("short")


def check_faults(bench: Bench) -> None:
    faults, wrong = [*FAULTS, *bench.store.faults], []
    for arguments, changed, says in faults:
        given = bench.arguments(*map(bench.store.fill, arguments))
        said, says = bench.run(given, changed, code=1), bench.store.fill(says)
        if says not in said:
            wrong.append(f"{given}, {changed}: {says!r} and not\n{said}")
    assert not wrong, "\n".join(wrong)
    said = bench.run(["convert", f"{bench.url}/notes/more.csv", "more.jsonl", "--to", "jsonl"], code=2)
    assert "copy it to this machine first" in said, said
    print(f"{len(faults) + 1} faults: each has its message, and no secret is in one")


def check(bench: Bench, whole: list[str]) -> None:
    for path in sorted(path for path in (bench.folder / "notes").rglob("*") if path.is_file()):
        bench.objects.write(str(path.relative_to(bench.folder)), path.read_bytes())
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
        bench.objects.write(key, body)
    print(bench.url)
    check_shards(bench, whole)
    print("shards: the same documents, also after a kill and Ctrl-C")
    check_outputs(bench, whole)
    print("one object, one for each input, --resume, and an input that ends too early")
    check_faults(bench)
    assert not list(bench.scratch.iterdir()), "copies remain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medner")
    parser.add_argument("model", help="folder of a model")
    parser.add_argument("--azurite", metavar="PROGRAM", help="Azurite's azurite-blob; without it, az:// is skipped")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        moto = DomainDispatcherApplication(create_backend_app)
        behind = serve(moto)
        stores = [s3(moto, behind), google(moto, behind, folder)]
        if options.azurite:
            stores.append(azure(stack.enter_context(azurite(options.azurite))))
        benches = [Bench(options.medner, options.model, folder, store) for store in stores]
        collection(folder / "notes")
        benches[0].run(benches[0].arguments("notes", "--id-column", "id", "--out", "whole.jsonl"))
        whole = documents([(folder / "whole.jsonl").read_bytes()])
        print(f"{len(whole)} documents annotated on this machine")
        for bench in benches:
            check(bench, whole)
    if not options.azurite:
        print("SKIPPED: az://: --azurite names no program")


if __name__ == "__main__":
    main()
