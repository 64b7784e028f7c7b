"""What the four programs share: how late timers are meanwhile, and the line that each prints at its end."""
import asyncio
import json
import resource
import time

EVERY_S = 0.005


class Lag:
    """A task that wants to run every 5 ms, and notes how late it was."""

    def __init__(self):
        self.late = []
        self.task = asyncio.create_task(self.tick())

    async def tick(self):
        due = time.monotonic() + EVERY_S
        while True:
            await asyncio.sleep(due - time.monotonic())
            while due <= (now := time.monotonic()):
                self.late.append(now - due)
                due += EVERY_S

    def p99_ms(self):
        self.task.cancel()
        self.late.sort()
        return 1000 * self.late[len(self.late) * 99 // 100] if self.late else 0.0


def report(began, lag, **more):
    own, children = (resource.getrusage(who).ru_maxrss / 1024 for who in
                     (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": time.monotonic() - began, "lag_p99_ms": lag.p99_ms(), "memory_mb": own,
                      "children_mb": children, **more}))
