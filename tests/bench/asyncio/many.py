"""Article 3.3, mended: a hundred requests at once over one connection, answers matched to questions in order.

    python3 many.py HOST PORT ROUNDS"""
import asyncio
import sys
import time

from measured import Lag, report

MANY = 100


class Client:
    def __init__(self, reader, writer, host):
        self.reader, self.writer, self.host = reader, writer, host
        self.waiting = asyncio.Queue()
        self.task = asyncio.create_task(self.read_answers())

    async def ask(self, path):
        answer = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait(answer)
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        await self.writer.drain()
        async with asyncio.timeout(5):
            return await answer

    async def read_answers(self):
        try:
            while True:
                answer = await self.waiting.get()
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await self.reader.readexactly(int(fields["content-length"]))
                if not answer.done():
                    answer.set_result((int(head[0].split()[1]), body))
        except (OSError, EOFError) as error:
            while not self.waiting.empty():
                self.waiting.get_nowait().set_exception(error)


async def main(host, port, rounds):
    began, lag = time.monotonic(), Lag()
    client = Client(*await asyncio.open_connection(host, port), host)
    for _ in range(rounds):
        answers = await asyncio.gather(*(client.ask(f"/{i}.txt") for i in range(MANY)))
        for i, (status, body) in enumerate(answers):
            if status != 200 or body != str(i).encode():
                sys.exit(f"question {i} got {status} {body!r}")
    report(began, lag, answers=rounds * MANY)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
