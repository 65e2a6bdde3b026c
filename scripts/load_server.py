#!/usr/bin/env python3
"""Puts load on `medner serve` and compares its answers with those of `medner annotate`.

`cargo xtask check load` trains a model on the sample and runs it. By hand:

    python scripts/load_server.py MEDNER MODEL DOCUMENTS.jsonl [--requests 10000] [--connections 64]

MEDNER is the program. DOCUMENTS.jsonl holds an `id` and a `text` a line (`medner convert` makes it of any corpus); requests
take them in turn. The server is started on a free port and ended with SIGTERM while requests are still sent. Both compute
in fp32, so that what differs is the order of additions and nothing else.

Measured are requests one at a time (a tenth of them) and over all connections at once, the server's memory before and
after, and how it ends. Compared is every answer: start, end, type and text of each mention must be equal, confidences to
0.001. Exits with 1 if an answer is lost or wrong, or if the load is not answered --times as fast as single requests (3; 0
asks for no speed).

Needs nothing but Python's own library (written with 3.11).
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def expected(medner, model, texts, common):
    """Spans of each document by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        # Requests hold no passages, which would say where sentences end.
        plain, out = Path(folder) / "plain.jsonl", Path(folder) / "found.jsonl"
        lines = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
        plain.write_text("\n".join(lines) + "\n", encoding="utf-8")
        subprocess.run([medner, "annotate", plain, "--model", model, "--out", out, "--no-run", *common], check=True)
        lines = [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n") if line]
    return [[(s["start"], s["end"], s["type"], s["text"], s["confidence"]) for s in line["mentions"]] for line in lines]


def is_right(found, wanted, close):
    found = [(m["start"], m["end"], m["type"], m["text"], m["confidence"]) for m in found]
    same = [mention[:4] for mention in found] == [mention[:4] for mention in wanted]
    return same and all(abs(a[4] - b[4]) < close for a, b in zip(found, wanted))


def memory(pid):
    """Resident megabytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def processor(pid):
    """Seconds of processors that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load:
    """Clients that each send the next request as soon as the one before is answered."""

    def __init__(self, address, bodies, wanted, close):
        self.address, self.bodies, self.wanted, self.close = address, bodies, wanted, close
        self.lock = threading.Lock()
        self.next = self.answered = self.wrong = self.lost = self.refused = 0
        self.seconds = []
        self.ends = False

    def run(self, connections, requests):
        self.last = self.next + requests
        threads = [threading.Thread(target=self.client) for _ in range(connections)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - begin

    def client(self):
        connection = http.client.HTTPConnection(self.address, timeout=600)
        while True:
            with self.lock:
                if self.next >= self.last:
                    return
                number = self.next % len(self.bodies)
                self.next += 1
            begin = time.monotonic()
            try:
                connection.request("POST", "/v1/annotate", self.bodies[number], {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = response.read()
            except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected, BrokenPipeError) as error:
                with self.lock:
                    # Before a byte of an answer: the server has not taken it, if it had been told to end.
                    if self.ends:
                        self.refused += 1
                        return
                    self.lost += 1
                print(f"lost: {type(error).__name__}", file=sys.stderr)
                connection.close()
                continue
            right = response.status == 200 and is_right(json.loads(answer)["documents"][0]["mentions"], self.wanted[number], self.close)
            with self.lock:
                self.seconds.append(time.monotonic() - begin)
                self.answered += 1
                self.wrong += not right


def numbers(address):
    connection = http.client.HTTPConnection(address)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("medner")
    parser.add_argument("model")
    parser.add_argument("documents", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--times", type=float, default=3)
    options = parser.parse_args()

    texts = [json.loads(line)["text"] for line in options.documents.read_text(encoding="utf-8").split("\n") if line]
    common = ["--precision", options.precision, "--device", options.device, "--quiet"]
    wanted = expected(options.medner, options.model, texts, common)
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    print(f"{len(texts)} documents of {sum(map(len, texts)) / len(texts):.0f} characters, {sum(map(len, wanted))} mentions")

    command = [options.medner, "serve", "--model", options.model, "--port", "0", *common]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().strip().removeprefix("http://").removesuffix("/")
    load = Load(address, bodies, wanted, 0.001 if options.precision == "fp32" else 0.05)
    load.run(1, min(len(bodies), 200))

    alone, used = options.requests // 10, processor(server.pid)
    rate_alone = alone / load.run(1, alone)
    print(f"one at a time: {alone} requests, {rate_alone:.1f} requests/s, "
          f"{(processor(server.pid) - used) / alone * 1e3:.1f} ms of processors each", flush=True)
    load.run(options.connections, 5 * options.connections)
    before, counted = memory(server.pid), numbers(address)
    load.seconds.clear()
    used = processor(server.pid)
    rate = options.requests / load.run(options.connections, options.requests)
    after, then = memory(server.pid), numbers(address)
    batches, documents = (then[f"medner_batch_documents_{key}"] - counted[f"medner_batch_documents_{key}"] for key in ("count", "sum"))
    seconds = sorted(load.seconds)
    print(f"{options.connections} connections: {options.requests} requests, {rate:.1f} requests/s ({rate / rate_alone:.1f} times), "
          f"median {seconds[len(seconds) // 2] * 1e3:.0f} ms, 99 % within {seconds[len(seconds) * 99 // 100] * 1e3:.0f} ms, "
          f"{documents / batches:.1f} documents a batch, {(processor(server.pid) - used) / options.requests * 1e3:.1f} ms of processors each")
    print(f"memory: {before:.0f} MB before, {after:.0f} MB after")

    def end():
        time.sleep(2)
        load.ends = True
        os.kill(server.pid, signal.SIGTERM)

    before_end = load.answered
    ending = threading.Thread(target=end)
    ending.start()
    load.run(options.connections, 10**9)
    ending.join()
    code = server.wait(120)
    print(f"SIGTERM under load: exit code {code}, {load.answered - before_end} answered, {load.refused} clients refused after it")
    print(f"lost {load.lost}, wrong {load.wrong} of {load.answered}")
    if load.lost or load.wrong or code != 0 or rate < options.times * rate_alone:
        sys.exit(1)


if __name__ == "__main__":
    main()
