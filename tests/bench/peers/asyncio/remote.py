"""The workloads of `troupe bench` between two processes with asyncio's streams over loopback: a message is its length, kind
and number and the data. Prints one JSON object, its metrics named as troupe's; the receiver counts and checks. One way the
window is what the writer's buffer (64 KiB, then drain() waits) and the socket hold.

    python3 remote.py WORKLOAD [--parameter value]...
"""
import asyncio
import json
import struct
import sys
import time
from collections import deque

HEAD = struct.Struct("<IBQ")
PLAIN, ASKED, ANSWER, BEGIN, DONE = range(5)
DRAIN_EACH = 64  # messages between two calls of drain(), which costs as much as a message
now = time.perf_counter_ns


def check(good, text):
    if not good:
        sys.exit("asyncio peer: " + text)


async def receive(reader):
    length, kind, number = HEAD.unpack(await reader.readexactly(HEAD.size))
    return kind, number, await reader.readexactly(length)


def send(writer, kind, number, data=b""):
    writer.write(HEAD.pack(len(data), kind, number) + data)


# ---- the other process ----

async def serve(reader, writer):
    due = count = 0
    while True:
        try:
            kind, number, data = await receive(reader)
        except asyncio.IncompleteReadError:
            asyncio.get_running_loop().stop()
            return
        if kind == ASKED:
            send(writer, ANSWER, number, data)
        elif kind == BEGIN:
            due, count = number, 0
        else:
            check(number == count, f"{number} came where {count} was due")
            count += 1
            if count == due:
                send(writer, DONE, count)


def sink():
    async def listen():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(listen())
    loop.run_forever()


# ---- this side ----

async def rtt(reader, writer, messages, size):
    data, times = bytes(size), []
    for number in range(messages):
        began = now()
        send(writer, ASKED, number, data)
        kind, got, _ = await receive(reader)
        check(kind == ANSWER and got == number, f"the answer to {number} is {got}")
        times.append((now() - began) / 1000)
    times.sort()
    return {"p50": times[messages // 2], "p99": times[messages * 99 // 100]}


async def one_way(reader, writer, messages, size):
    data = bytes(size)
    began = now()
    send(writer, BEGIN, messages)
    for number in range(messages):
        send(writer, PLAIN, number, data)
        if number % DRAIN_EACH == 0 or size > 1024:
            await writer.drain()
    _, got, _ = await receive(reader)
    check(got == messages, f"{got} of {messages} came")
    return (now() - began) / 1e9


async def flood(reader, writer, messages, size):
    return {"rate": messages / await one_way(reader, writer, messages, size) / 1e6}


async def bulk(reader, writer, messages, size):
    return {"rate": messages * size / await one_way(reader, writer, messages, size) / 1e6}


async def asks(reader, writer, messages, outstanding, size):
    data = bytes(size)
    began = now()
    for number in range(min(messages, outstanding)):
        send(writer, ASKED, number, data)
    for due in range(messages):
        kind, got, _ = await receive(reader)
        check(kind == ANSWER and got == due, f"the answer to {due} is {got}")
        if due + outstanding < messages:
            send(writer, ASKED, due + outstanding, data)
    return {"rate": messages / ((now() - began) / 1e9)}


async def load(reader, writer, messages, outstanding, size):
    """The same, and how long each took."""
    data, began, times = bytes(size), now(), []
    begun = deque()
    for number in range(min(messages, outstanding)):
        begun.append(now())
        send(writer, ASKED, number, data)
    for due in range(messages):
        kind, got, _ = await receive(reader)
        check(kind == ANSWER and got == due, f"the answer to {due} is {got}")
        times.append((now() - begun.popleft()) / 1000)
        if due + outstanding < messages:
            begun.append(now())
            send(writer, ASKED, due + outstanding, data)
    rate = messages / ((now() - began) / 1e9)
    times.sort()
    return {"p50": times[messages // 2], "p99": times[messages * 99 // 100], "rate": rate}


WORKLOADS = {"remote-rtt": rtt, "remote-flood": flood, "remote-asks": asks, "remote-load": load, "remote-bulk": bulk}


async def main(name, params):
    other = await asyncio.create_subprocess_exec(sys.executable, __file__, "sink", stdout=asyncio.subprocess.PIPE)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(await other.stdout.readline()))
    work = WORKLOADS[name]
    await work(reader, writer, **{**params, "messages": params["messages"] // 5 + 1})  # so that the heap has grown
    print(json.dumps(await work(reader, writer, **params)))
    writer.close()
    await other.wait()


if sys.argv[1] == "sink":
    sink()
else:
    words = sys.argv[2:]
    asyncio.run(main(sys.argv[1], {key.removeprefix("--"): int(value) for key, value in zip(words[::2], words[1::2])}))
