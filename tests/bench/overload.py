"""The stage `overload`: tests/bench/overload.c for a minute, and what came of it."""
import json

import charts
import measure

PROGRAM = measure.ROOT / "build/release/bin/bench-overload"
GROWTH_MB = 1.0  # of the resident size after the first quarter: less than this is flat
RESTART_MS = 100


def run(results, progress, small):
    if results.find(stage="overload"):
        return
    seconds = 3 if small else 60
    progress.say("overload", f"{seconds} s")
    results.add(stage="overload", **json.loads(measure.run([str(PROGRAM), "--seconds", str(seconds), "--json"])))


def outcome(results):
    found = results.find(stage="overload")
    return found[0] if found else None


def draw(results, into):
    got = outcome(results)
    return charts.draw_overload(results.head, got["samples"], into) if got else []


def verdicts(results):
    got = outcome(results)
    if not got:
        return []
    limit = 1 + 2 * got["budget_ms"]
    times = got["offered"] / max(1, got["handled"])
    return [
        ("overload, memory", f"grew by {got['growth_mb']:.1f} MB", f"at most {GROWTH_MB:.0f}",
         got["growth_mb"] <= GROWTH_MB),
        ("overload, accounts", f"{got['offered']:,} offered, {times:.1f} times the handled, {got['accepted']:,} "
         f"accepted, {got['refused']:,} refused, {got['dropped']:,} dropped at a stop", "all add up, 10 times",
         got["sums_hold"] and times >= 10),
        ("overload, other actors", f"p99 {got['p99_ms']:.2f} ms, p50 {got['p50_ms']:.2f}",
         f"at most {limit:.1f} ms: 1 and two turn budgets", got["p99_ms"] <= limit),
        ("overload, stop and restart", f"{got['stop_ms']:.0f} ms, the most of {got['stops']}",
         f"at most {RESTART_MS} ms", got["stop_ms"] <= RESTART_MS),
    ]


def text(results, pictures):
    got = outcome(results)
    if not got:
        return ""
    lines = ["## Overload", "",
             f"Four senders offer an actor ten times what it can handle, for {got['seconds']} s on {got['loops']} loop. An "
             "actor beside it",
             "is asked every millisecond; what counts is from when that was due to the answer. A supervisor stops and",
             "restarts the flooded one; what counts is until the new one has its first message. The program is",
             "`tests/bench/overload.c`.", "", "| | reached | asked for | |", "|---|---|---|---|"]
    for name, reached, target, met in verdicts(results):
        verdict = "reached" if met else "**short**"
        for piece in split(reached):
            lines.append(f"| {name.removeprefix('overload, ')} | {piece} | {target} | {verdict} |")
            name, target, verdict = "", "", ""
    lines.append("")
    if "performance-overload.svg" in pictures:
        lines += ["![Resident memory while an actor is flooded](performance-overload.svg)", ""]
    return "\n".join(lines) + "\n"


def split(reached):
    """Accounts are long for a line of a table."""
    parts = reached.split(" accepted, ")
    return [reached] if len(parts) == 1 else [parts[0] + " accepted", parts[1]]
