#!/usr/bin/env python3
"""Attacks `medner serve` with clients that are slow, give up or never read, while others work with it.

`cargo xtask check hostile` trains a model on the sample and runs it. By hand:

    python scripts/hostile_clients.py MEDNER MODEL DOCUMENTS.jsonl [--connections 2000] [--seconds 60]

The arguments are those of `load_server.py`. Half of the connections ask for documents and wait for each answer. The other
half are, in equal parts, clients that

- send a head, or a body, one byte at a time
- send a body without end
- connect and send nothing
- send a large text and never read the answer
- send --body-mb megabytes and disconnect at once; at most --given-up of them are open at a time

Meanwhile, a process asks for /healthz on new connections. Afterwards one sentence must be answered. Then all of them come
again, and the server is told to end (SIGTERM).

Compared is every answer. Exits with 1 if one is wrong, if a request of a client that stays gets no answer (503 is one, and
the client asks again; so is a closed connection for requests sent after SIGTERM), if the server fails, or if its peak
memory exceeds --most-mb. Times are measured; only --healthz-seconds and --end-seconds judge them.

Needs nothing but Python's own library (written with 3.11), and Linux.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
import weakref
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from load_server import expected, is_right, memory  # noqa: E402

HEAD = "POST /v1/annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def peak(pid):
    """Peak resident megabytes since the start."""
    return int(Path(f"/proc/{pid}/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) / 1024


def request(body):
    return f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader):
    """Status and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    return int(head.split(" ")[1]), await reader.readexactly(length), "connection: close" in head


class Clients:
    def __init__(self, address, bodies, wanted, large, given_up):
        (self.host, port), self.bodies, self.wanted = address.split(":"), bodies, wanted
        self.port, self.large, self.given_up = int(port), large, asyncio.Semaphore(given_up)
        self.writers = weakref.WeakSet()
        self.counts, self.seconds, self.ended = Counter(), [], float("inf")

    async def open(self):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.writers.add(writer)
        return reader, writer

    async def honest(self, number):
        reader = writer = None
        while True:
            number = (number + 1) % len(self.bodies)
            begin = None
            try:
                if writer is None:
                    reader, writer = await self.open()
                begin = time.monotonic()
                writer.write(request(self.bodies[number]))
                await writer.drain()
                status, body, closes = await answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                if writer:
                    writer.close()
                writer = None
                if self.ended < float("inf"):
                    if begin is not None and begin < self.ended:
                        self.counts["lost"] += 1
                    return
                # Without a connection there was no request.
                self.counts["unconnected" if begin is None else "lost"] += 1
                if begin is not None:
                    print(f"lost: {type(error).__name__}", file=sys.stderr)
                await asyncio.sleep(1)
                continue
            self.counts[f"status {status}"] += 1
            if status == 200:
                self.seconds.append(time.monotonic() - begin)
                if not is_right(json.loads(body)["documents"][0]["mentions"], self.wanted[number], 0.001):
                    self.counts["wrong"] += 1
            elif status == 503:
                number -= 1
            else:
                self.counts["wrong"] += 1
            if closes:
                writer.close()
                writer = None
            if status == 503:
                await asyncio.sleep(1)

    async def hostile(self, number):
        kinds = [self.slow_head, self.slow_body, self.endless, self.silent, self.never_reads, self.gives_up]
        attack = kinds[number % len(kinds)]
        while self.ended == float("inf"):
            writer = None
            try:
                reader, writer = await self.open()
                await attack(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            self.counts[attack.__name__] += 1
            if writer:
                writer.transport.abort()
            await asyncio.sleep(0.2)

    async def drip(self, writer, data):
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)

    async def slow_head(self, _, writer):
        await self.drip(writer, HEAD.encode() * 10)

    async def slow_body(self, _, writer):
        writer.write(f"{HEAD}Content-Length: 1000000\r\n\r\n".encode())
        await self.drip(writer, b'{"text": "' + b"a" * 1000)

    async def endless(self, reader, writer):
        writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        while not reader.at_eof():
            writer.write(b"2000\r\n" + b"a" * 0x2000 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.5)

    async def silent(self, reader, _):
        await reader.read(1)

    async def never_reads(self, _, writer):
        writer.transport.pause_reading()
        for _ in range(100):
            writer.write(request(self.bodies[0]))
            await writer.drain()
        await asyncio.sleep(60)

    async def gives_up(self, _, writer):
        async with self.given_up:
            writer.write(request(self.large))
            await writer.drain()

    async def run(self, honest, hostile, seconds, end=None):
        """All clients for some seconds; with `end`, it is called then, and the honest ones go on until they are refused."""
        honest = [asyncio.create_task(self.honest(number)) for number in range(honest)]
        hostile = [asyncio.create_task(self.hostile(number)) for number in range(hostile)]
        await asyncio.sleep(seconds)
        if end:
            self.ended = time.monotonic()
            end()
            await asyncio.wait(honest, timeout=300)
        for task in honest + hostile:
            task.cancel()
        for writer in list(self.writers):
            writer.transport.abort()
        await asyncio.sleep(1)
        done = await asyncio.gather(*honest, *hostile, return_exceptions=True)
        for fault in done:
            if isinstance(fault, Exception) and not isinstance(fault, asyncio.CancelledError):
                raise fault


def probe(address, longest, count, stop):
    """Asks for /healthz on new connections."""
    async def ask():
        host, port = address.split(":")
        while not stop.is_set():
            begin = time.monotonic()
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            status, _, _ = await answer(reader)
            assert status == 200, status
            writer.close()
            longest.value = max(longest.value, time.monotonic() - begin)
            count.value += 1
            await asyncio.sleep(0.1)
    asyncio.run(ask())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("medner")
    parser.add_argument("model")
    parser.add_argument("documents", type=Path)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--body-mb", type=float, default=7.5)
    parser.add_argument("--given-up", type=int, default=60)
    parser.add_argument("--most-mb", type=float, default=0)
    parser.add_argument("--healthz-seconds", type=float, default=0)
    parser.add_argument("--end-seconds", type=float, default=0)
    options = parser.parse_args()

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    texts = [json.loads(line)["text"] for line in options.documents.read_text(encoding="utf-8").split("\n") if line]
    common = ["--precision", "fp32", "--device", "cpu", "--quiet"]
    wanted = expected(options.medner, options.model, texts, common)
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    words, size = " ".join(texts), int(options.body_mb * 1e6)
    large = json.dumps({"text": (words * (size // len(words) + 1))[:size]}).encode()

    command = [options.medner, "serve", "--model", options.model, "--port", "0", *common]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().strip().removeprefix("http://").removesuffix("/")
    clients = Clients(address, bodies, wanted, large, options.given_up)
    asyncio.run(clients.run(16, 0, 3))
    half = options.connections // 2
    faults = clients.counts["lost"] + clients.counts["wrong"]
    before = memory(server.pid)

    clients = Clients(address, bodies, wanted, large, options.given_up)
    longest, count, stop = multiprocessing.Value("d", 0.0), multiprocessing.Value("i", 0), multiprocessing.Event()
    prober = multiprocessing.Process(target=probe, args=(address, longest, count, stop))
    prober.start()
    asyncio.run(clients.run(half, half, options.seconds))
    stop.set()
    prober.join(60)
    print(f"{options.connections} connections for {options.seconds:.0f} s: {dict(sorted(clients.counts.items()))}")
    if clients.seconds:
        seconds = sorted(clients.seconds)
        print(f"answers: median {seconds[len(seconds) // 2]:.2f} s, longest {seconds[-1]:.2f} s")
    print(f"/healthz: {count.value} answers, longest {longest.value:.3f} s, exit code {prober.exitcode}", flush=True)
    faults += clients.counts["lost"] + clients.counts["wrong"] + (prober.exitcode != 0) + (count.value == 0)

    async def sentence():
        while True:
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(request(bodies[0]))
            status, _, _ = await answer(reader)
            writer.close()
            if status == 200:
                return
            await asyncio.sleep(0.1)

    begin = time.monotonic()
    asyncio.run(asyncio.wait_for(sentence(), 300))
    print(f"a document afterwards: answered after {time.monotonic() - begin:.2f} s")
    time.sleep(1)
    print(f"memory: {before:.0f} MB before, {memory(server.pid):.0f} MB after, peak {peak(server.pid):.0f} MB", flush=True)
    faults += 0 < options.most_mb < peak(server.pid)

    clients = Clients(address, bodies, wanted, large, options.given_up)
    ended = []

    def end():
        os.kill(server.pid, signal.SIGTERM)
        begin = time.monotonic()
        asyncio.get_running_loop().run_in_executor(None, lambda: ended.append((server.wait(400), time.monotonic() - begin)))

    asyncio.run(clients.run(half, half, min(options.seconds, 10), end))
    code, took = ended[0] if ended else (None, float("inf"))
    print(f"SIGTERM under this load: exit code {code} after {took:.1f} s, {dict(sorted(clients.counts.items()))}")
    faults += clients.counts["lost"] + clients.counts["wrong"] + (code != 0)
    faults += 0 < options.healthz_seconds < longest.value
    faults += 0 < options.end_seconds < took
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
