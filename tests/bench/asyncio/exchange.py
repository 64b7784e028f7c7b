"""Article 3.4, mended: two apps, two processes; ten clients at a time exchange data with the server as transactions.

    python3 exchange.py DIR MOVES

Two-phase commit over one connection a client: each side forces its log before it says so. What is still missing is the
larger part of it: after a crash nobody reads these logs to find out what was in doubt."""
import asyncio
import hashlib
import json
import multiprocessing
import os
import struct
import sys
import time

from measured import Lag, report

CLIENTS = 10


class Log:
    """Lines that are on the disk when `force` returns; one fsync for all who wait."""

    def __init__(self, path):
        self.file, self.lock, self.written, self.forced = open(path, "ab"), asyncio.Lock(), 0, 0

    async def force(self, **what):
        self.file.write(json.dumps(what).encode() + b"\n")
        self.written += 1
        mine = self.written
        async with self.lock:
            if self.forced < mine:
                upto = self.written
                self.file.flush()
                await asyncio.to_thread(os.fsync, self.file.fileno())
                self.forced = upto


async def say(writer, **what):
    text = json.dumps(what).encode()
    writer.write(struct.pack("!I", len(text)) + hashlib.sha256(text).digest() + text)
    await writer.drain()


async def hear(reader):
    size, = struct.unpack("!I", await reader.readexactly(4))
    digest = await reader.readexactly(32)
    text = await reader.readexactly(size)
    if size > 65536 or hashlib.sha256(text).digest() != digest:
        raise OSError("data was changed on the way")
    return json.loads(text)


async def serve(path, port):
    log, journal = Log(path), {}

    async def client(reader, writer):
        try:
            while True:
                move = await hear(reader)
                if move["what"] == "read":
                    await say(writer, what="journal", entries=journal.get(move["book"], []))
                    continue
                await log.force(**move)
                await say(writer, what="prepared")
                decision = await hear(reader)
                if decision["what"] == "commit":
                    journal.setdefault(move["book"], []).append(move["amount"])
                await log.force(**decision)
                await say(writer, what="done")
        except EOFError:
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    port.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def play(name, port, moves, log):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    journal = []
    for number in range(1, moves + 1):
        amount = 10 + number % 7 if number % 2 else -(number % 10)
        await say(writer, what="prepare", book=name, number=number, amount=amount)
        if (await hear(reader))["what"] != "prepared":
            raise OSError("refused")
        await log.force(what="commit", book=name, number=number, amount=amount)
        journal.append(amount)
        await say(writer, what="commit", book=name, number=number)
        await hear(reader)
    await say(writer, what="read", book=name)
    if (await hear(reader))["entries"] != journal:
        sys.exit(f"{name}: the journals differ")
    writer.close()


async def main(directory, moves):
    ours, theirs = multiprocessing.Pipe()
    path = os.path.join(directory, "server.log")
    server = multiprocessing.Process(target=lambda: asyncio.run(serve(path, theirs)), daemon=True)
    server.start()
    port = await asyncio.to_thread(ours.recv)
    began, lag, log = time.monotonic(), Lag(), Log(os.path.join(directory, "clients.log"))
    async with asyncio.TaskGroup() as group:
        for i in range(CLIENTS):
            group.create_task(play(f"c{i}", port, moves, log))
    server.terminate()
    server.join()
    report(began, lag, transactions=CLIENTS * moves)


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
