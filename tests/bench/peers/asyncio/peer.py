"""The workloads of `troupe bench` with Python's asyncio: an actor is a task and the asyncio.Queue that it reads,
unbounded. Prints one JSON object, its metrics named as troupe's. Each receiver counts and checks; what it got wrong
ends the program with status 1.

    python3 peer.py WORKLOAD [--parameter value]...
"""
import asyncio
import gc
import json
import os
import sys
import time
from asyncio import Queue, create_task

now = time.perf_counter_ns


def check(good, text):
    if not good:
        sys.exit("asyncio peer: " + text)


# ---- few in flight ----

async def pingpong(messages):
    ping, pong = Queue(), Queue()

    async def player():
        for _ in range(messages):
            ping.put_nowait(await pong.get())

    other = create_task(player())
    began = now()
    for number in range(messages):
        pong.put_nowait(number)
        got = await ping.get()
        check(got == number, f"ball {number} came back as {got}")
    took = now() - began
    await other
    return {"round_trip": took / messages}


async def ring(actors, messages):
    done = Queue()

    async def member(own, neighbour):
        while True:
            hop = await own.get()
            (done if hop == messages else neighbour).put_nowait(hop + 1)

    queues = [Queue() for _ in range(actors)]
    tasks = [create_task(member(queues[i], queues[(i + 1) % actors])) for i in range(actors)]
    began = now()
    queues[0].put_nowait(0)
    got = await done.get()
    took = now() - began
    check(got == messages + 1, f"{got - 1} hops, not {messages}")
    for task in tasks:
        task.cancel()
    return {"hop": took / messages}


async def ask(messages):
    server = Queue()
    loop = asyncio.get_running_loop()

    async def answer():
        for _ in range(messages):
            number, future = await server.get()
            future.set_result(number + 1)

    other = create_task(answer())
    began = now()
    for number in range(messages):
        future = loop.create_future()
        server.put_nowait((number, future))
        async with asyncio.timeout(10):
            got = await future
        check(got == number + 1, f"the answer to {number} is {got}")
    took = now() - began
    await other
    return {"round_trip": took / messages}


# ---- many at once ----

async def fan_in(senders, messages):
    to = Queue()

    async def send(sender):  # a hundred, then the others' turn
        for number in range(messages):
            to.put_nowait((sender, number))
            if number % 100 == 99:
                await asyncio.sleep(0)

    async def gather():
        due = [0] * senders
        for _ in range(senders * messages):
            sender, number = await to.get()
            check(number == due[sender], f"sender {sender}: {number} came where {due[sender]} was due")
            due[sender] += 1

    began = now()
    tasks = [create_task(send(sender)) for sender in range(senders)]
    await create_task(gather())
    took = now() - began
    await asyncio.gather(*tasks)
    return {"rate": senders * messages * 1e3 / took}


async def counting(messages):
    counter = Queue()

    async def count():
        total = 0
        while True:
            by, future = await counter.get()
            if future:
                future.set_result(total)
                return
            total += by

    task = create_task(count())
    began = now()
    for number in range(messages):
        counter.put_nowait((1, None))
        if number % 100 == 99:
            await asyncio.sleep(0)
    future = asyncio.get_running_loop().create_future()
    counter.put_nowait((0, future))
    got = await future
    took = now() - began
    await task
    check(got == messages, f"the sum is {got}, not {messages}")
    return {"rate": messages * 1e3 / took}


async def fork_join(actors, messages):
    queues = [Queue() for _ in range(actors)]

    async def join(own):
        for due in range(messages):
            number = await own.get()
            check(number == due, f"{number} came where {due} was due")
        return messages

    tasks = [create_task(join(queue)) for queue in queues]
    began = now()
    for number in range(messages):
        for queue in queues:
            queue.put_nowait(number)
        if number % 10 == 9:
            await asyncio.sleep(0)
    total = sum(await asyncio.gather(*tasks))
    took = now() - began
    check(total == actors * messages, f"{total} of {actors * messages} were handled")
    return {"rate": total * 1e3 / took}


# ---- tasks made ----

async def spawn(actors):
    handled = total = 0
    done = asyncio.Event()

    async def one_message(own):
        nonlocal handled, total
        total += await own.get()
        handled += 1
        if handled == actors:
            done.set()

    began = now()
    tasks = set()  # a loop keeps tasks only weakly
    for number in range(actors):
        own = Queue()
        task = create_task(one_message(own))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        own.put_nowait(number)
        if number % 100 == 99:
            await asyncio.sleep(0)
    await done.wait()
    took = now() - began
    check(total == actors * (actors - 1) // 2, f"the numbers add up to {total}")
    return {"actor": took / actors}


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


async def memory(actors):
    async def idle(own):
        await own.get()
        return 1

    queues, tasks = [None] * actors, [None] * actors
    before = resident()
    for i in range(actors):
        queues[i] = Queue()
        tasks[i] = create_task(idle(queues[i]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    after = resident()
    for queue in queues:
        queue.put_nowait(1)
    there = 0
    for task in tasks:
        there += await task
    check(there == actors, f"{there} of {actors} are there")
    return {"actor": (after - before) / actors}


async def fib(n):
    async def actor(n, parent):
        if n < 2:
            parent.put_nowait((n, 1))
            return
        own = Queue()
        tasks = create_task(actor(n - 1, own)), create_task(actor(n - 2, own))
        a, left = await own.get()
        b, right = await own.get()
        parent.put_nowait((a + b, left + right + 1))
        del tasks

    due, after = 0, 1
    for _ in range(n):
        due, after = after, due + after
    mailbox = Queue()
    began = now()
    root = create_task(actor(n, mailbox))
    total, actors = await mailbox.get()
    took = now() - began
    await root
    check(total == due and actors == 2 * after - 1, f"fib is {total} by {actors} actors")
    return {"time": took / 1e6}


# ---- timers ----

async def timers(n):
    loop = asyncio.get_running_loop()
    count = total = 0
    done = asyncio.Event()

    def fired(number):
        nonlocal count, total
        total += number
        count += 1
        if count == n:
            done.set()

    began = now()
    handles = [loop.call_later(1 + number * 0x9E3779B9 % 60_000_000 / 1e6, fired, number) for number in range(n)]
    took_set = now() - began
    began = now()
    for handle in handles:
        handle.cancel()
    took_cancel = now() - began
    del handles
    await asyncio.sleep(0)  # the loop drops what is cancelled
    due = loop.time() + 0.02 + n * 5e-6
    for number in range(n):
        loop.call_at(due + number * 0x9E3779B9 % 1_000_000 / 1e9, fired, number)
    check(loop.time() < due and count == 0, "setting took until they were due")
    await done.wait()
    took_fire = loop.time() - due
    check(total == n * (n - 1) // 2, f"the numbers add up to {total}")
    return {"set": took_set / n, "cancel": took_cancel / n, "fire": took_fire * 1e9 / n}


# ---- the command line ----

WORKLOADS = {
    "pingpong": pingpong, "ring": ring, "ask": ask, "fan-in": fan_in, "counting": counting,
    "fork-join": fork_join, "spawn": spawn, "memory": memory, "fib": fib, "timers": timers,
}


def smaller(name, key, value):
    if name == "fib":
        return value - value // 5
    if name == "timers":
        return value  # as troupe does
    if key in ("messages", "n") or name == "spawn":
        return value // 5 + 1
    return value


def main():
    name, words = sys.argv[1], sys.argv[2:]
    params = {key.removeprefix("--"): int(value) for key, value in zip(words[::2], words[1::2])}
    work = WORKLOADS[name]
    if name != "memory":  # a smaller one first, so that the heap has grown; memory is what the growth itself costs
        asyncio.run(work(**{key: smaller(name, key, value) for key, value in params.items()}))
        gc.collect()
    print(json.dumps(asyncio.run(work(**params))))


main()
