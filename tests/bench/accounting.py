"""The stage `accounting`: what counts and the like cost, against a build without them (base/accounting.h). Instructions by
callgrind, and CPU time of runs in turn, so that what the machine does meets both alike."""
import os
import re
import shutil
import subprocess
from statistics import median

import measure

LIMIT = 0.10
PAIRS = 20
WORK = [  # name, parameter that grows, for callgrind from and to, for CPU time, others
    ("pingpong", "messages", 20_000, 120_000, 2_000_000, {}),
    ("ring", "messages", 20_000, 120_000, 4_000_000, {"actors": 100}),
    ("fan-in", "messages", 1_000, 6_000, 200_000, {"senders": 20}),
    ("spawn", "actors", 10_000, 60_000, 1_000_000, {}),
    ("ask", "messages", 20_000, 120_000, 1_000_000, {}),
]


def builds():
    return {"with": measure.TROUPE, "without": measure.ROOT / "build/no-accounting/bin/troupe"}


def build(progress):
    progress.say("accounting", "a build without it")
    folder = measure.ROOT / "build/no-accounting"
    jobs = os.environ.get("TROUPE_JOBS", str(measure.cores()))
    for words in (["cmake", "-S", str(measure.ROOT), "-B", str(folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                   "-DTR_NO_ACCOUNTING=ON"], ["ninja", "-C", str(folder), "-j", jobs, "troupe_program"]):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: the build without accounting failed:\n{(done.stdout + done.stderr)[-3000:]}")


def words_of(program, name, grows, size, more):
    return [str(program), "bench", name, "--runs", "1", "--" + grows, str(size), *measure.words_of(more)]


def instructions(words):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *words], capture_output=True,
                          text=True, timeout=measure.LIMIT_S, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise SystemExit(f"bench: callgrind says no count: {done.stderr[-1000:]}")
    return int(found.group(1))


def cpu_seconds(words):
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"bench: {' '.join(words)} failed")
    return usage.ru_utime + usage.ru_stime


def run(results, progress, small):
    if len(results.find(stage="accounting")) == 2 * len(WORK):
        return
    build(progress)
    for name, grows, low, high, long, more in WORK:
        if shutil.which("valgrind") and not results.find(stage="accounting", kind="instructions", workload=name):
            progress.say("accounting", f"{name}, instructions")
            count = {}
            for which, program in builds().items():
                sizes = [instructions(words_of(program, name, grows, size, more)) for size in (low, high)]
                # Each program runs the work twice, the warm-up too: what the start costs falls out of the difference.
                count[which] = (sizes[1] - sizes[0]) / (high - low) / 2 / more.get("senders", 1)
            results.add(stage="accounting", kind="instructions", workload=name, **count)
        if not results.find(stage="accounting", kind="cpu", workload=name):
            ratios = []
            for pair in range(2 if small else PAIRS):
                progress.say("accounting", f"{name}, pair {pair + 1}")
                order = sorted(builds(), reverse=pair % 2)
                size = long // 20 if small else long
                took = {which: cpu_seconds(words_of(builds()[which], name, grows, size, more)) for which in order}
                ratios.append(took["with"] / took["without"])
            results.add(stage="accounting", kind="cpu", workload=name, ratios=ratios)


def costs(results):
    """(workload, instructions with and without, their cost, CPU costs sorted); what is missing is None."""
    lines = []
    for name, *_ in WORK:
        count = results.find(stage="accounting", kind="instructions", workload=name)
        cpu = results.find(stage="accounting", kind="cpu", workload=name)
        if count or cpu:
            lines.append((name, count[0]["with"] if count else None, count[0]["without"] if count else None,
                          count[0]["with"] / count[0]["without"] - 1 if count else None,
                          sorted(ratio - 1 for ratio in cpu[0]["ratios"]) if cpu else None))
    return lines


def verdicts(results):
    out = []
    for name, _, _, count, cpu in costs(results):
        reached = [f"{count:.1%} instructions"] if count is not None else []
        reached += [f"{median(cpu):.1%} CPU time"] if cpu else []
        met = (count is None or count <= LIMIT) and (not cpu or median(cpu) <= LIMIT)
        out.append((f"accounting, {name}", ", ".join(reached), f"at most {LIMIT:.0%}", met))
    return out


def text(results):
    lines = []
    for name, with_it, without, count, cpu in costs(results):
        cells = [name]
        cells += [f"{with_it:.1f}", f"{without:.1f}", f"{count:+.1%}"] if count is not None else ["–", "–", "–"]
        cells += [f"{median(cpu):+.1%}", f"{cpu[0]:+.1%}", f"{cpu[-1]:+.1%}"] if cpu else ["–", "–", "–"]
        lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return ""
    return f"""## What the accounting costs

Counts, what an actor is doing now, the ring of what a loop did: against a build without them (`TR_NO_ACCOUNTING`).
Instructions of one operation by callgrind; CPU time in pairs of runs, in turn. Asked for: at most {LIMIT:.0%}.

| | instructions | without | cost | CPU time, median | least | most |
|---|---|---|---|---|---|---|
""" + "\n".join(lines) + "\n\n"
