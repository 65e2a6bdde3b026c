"""Generates a Python client from the description of a running `medner serve`, and compares its answers with those of
`medner annotate`.

Arguments: the program, a model's folder, a file of documents.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path


def main():
    medner, model, documents = sys.argv[1:]
    lines = subprocess.run(
        [medner, "annotate", documents, "--model", model, "--quiet", "--no-run"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    expected = [json.loads(line) for line in lines][:20]
    command = [medner, "serve", "--port", "0", "--quiet", "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, tempfile.TemporaryDirectory() as folder:
        try:
            address = server.stdout.readline().strip().rstrip("/")
            description = Path(folder, "openapi.json")
            description.write_bytes(urllib.request.urlopen(f"{address}/openapi.json").read())
            generated = subprocess.run(
                [sys.executable, "-m", "openapi_python_client", "generate", "--path", description, "--output-path", f"{folder}/made",
                 "--meta", "none"],
                capture_output=True, text=True, cwd=folder,
            )
            assert generated.returncode == 0, generated.stdout + generated.stderr
            sys.path.insert(0, folder)
            compare(address, expected)
        finally:
            server.terminate()


def compare(address, expected):
    made = importlib.import_module("made")
    client = made.Client(base_url=address)
    operations = {path.stem: path for path in Path(made.__file__).parent.glob("api/*/*.py") if path.stem != "__init__"}
    print("operations:", ", ".join(sorted(operations)))
    name = next(name for name in operations if "annotate" in name)
    path = operations[name]
    annotate = importlib.import_module(f"made.api.{path.parent.name}.{name}")
    # The generator has no type for a request that holds one of two keys, and takes any JSON.
    body = {"documents": [{"id": d["id"], "text": d["text"]} for d in expected]}
    answer = annotate.sync(client=client, body=body).to_dict()
    found = {document["id"]: document["mentions"] for document in answer["documents"]}
    places = lambda mentions: [(m["start"], m["end"], m["type"]) for m in mentions]
    for document in expected:
        assert places(found[document["id"]]) == places(document["mentions"]), document["id"]
    print(f"{len(expected)} documents: the same mentions")


main()
