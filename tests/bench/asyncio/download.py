"""Article 3.1, mended: files come down eight at a time, in pieces, and are whole or not there.

    python3 download.py DIR URL...

Python's own library has no HTTP client for asyncio; this one does just what is needed of HTTP/1.1."""
import asyncio
import hashlib
import os
import sys
import time
from urllib.parse import urlsplit

from measured import Lag, report

PARALLEL, PIECE, LIMIT_S = 8, 256 * 1024, 300


async def fetch(url, into, free):
    parts = urlsplit(url)
    path = os.path.join(into, os.path.basename(parts.path))
    async with free, asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80, limit=PIECE)
        try:
            writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status, fields = head[0].split(" ", 2), dict(line.lower().split(": ", 1) for line in head[1:] if line)
            if status[1] != "200":
                raise OSError(f"{url}: the server answers {status[1]}")
            left, digest = int(fields["content-length"]), hashlib.sha256()
            with open(path + ".part", "wb") as file:
                while left:
                    piece = await reader.read(min(left, PIECE))
                    if not piece:
                        raise OSError(f"{url}: {left} bytes are missing")
                    digest.update(piece)  # stalls the loop, as does the write: a piece is small
                    file.write(piece)
                    left -= len(piece)
            os.rename(path + ".part", path)
            return path, os.path.getsize(path), digest.hexdigest()
        except BaseException:
            if os.path.exists(path + ".part"):
                os.remove(path + ".part")
            raise
        finally:
            writer.close()


async def main(into, urls):
    began, lag, free = time.monotonic(), Lag(), asyncio.Semaphore(PARALLEL)
    async with asyncio.TaskGroup() as group:  # the first error cancels the others
        tasks = [group.create_task(fetch(url, into, free)) for url in urls]
    report(began, lag, bytes=sum(task.result()[1] for task in tasks))


asyncio.run(main(sys.argv[1], sys.argv[2:]))
