"""Article 3.2, mended: commands that compute, as many at a time as there are cores, each with a deadline.

    python3 compute.py COUNT COMMAND [ARGUMENT]..."""
import asyncio
import os
import signal
import sys
import time

from measured import Lag, report

LIMIT_S, OUTPUT_MAX = 300, 1 << 20


async def run(command, free):
    async with free:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE,
                                                       stderr=asyncio.subprocess.STDOUT, start_new_session=True)
        try:
            async with asyncio.timeout(LIMIT_S):
                output = b""
                while piece := await process.stdout.read(65536):
                    output += piece
                    if len(output) > OUTPUT_MAX:
                        raise OSError(f"{command[0]} prints too much")
                status = await process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # what it started, too
            await process.wait()
            raise
        if status != 0:
            raise OSError(f"{command[0]}: exit status {status}: {output[-200:]!r}")
        return output


async def main(count, command):
    began, lag, free = time.monotonic(), Lag(), asyncio.Semaphore(len(os.sched_getaffinity(0)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(command, free)) for _ in range(count)]
    if len({task.result() for task in tasks}) != 1:
        sys.exit("the same command printed different things")
    report(began, lag, jobs=len(tasks))


asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
