"""The stage `remote`: troupe and its peers between two processes on loopback, and rates against the size of a
message, and latency against the number of asks outstanding."""
import json
import subprocess

import charts
import compare
import measure
import plan

KEY = measure.ROOT / "build/bench/remote.key"
STAGE = "remote"


# ---- measuring ----

def modes_of(peer, work=None):
    if work and work.one_loop:
        return ["1 loop"]
    if peer == "troupe":
        return compare.modes_of("troupe")
    return ["1 loop"] if peer == "troupe-key" else ["both"]


def here(peers):
    return [peer for peer in plan.REMOTE_PEERS if peer.startswith("troupe") or peer in peers.remote]


def measured(peers, peer, mode, bench, params):
    words = measure.words_of(params)
    if not peer.startswith("troupe"):
        return json.loads(measure.run(peers.remote[peer] + [bench] + words).splitlines()[-1])
    key = ["--key", str(KEY)] if peer == "troupe-key" else []
    words = [str(measure.TROUPE), "bench", bench, "--runs", "1", "--loops", mode.split()[0], "--json", *words, *key]
    return {line["metric"]: line["value"] for line in map(json.loads, measure.run(words).splitlines())}


def once(results, peers, progress, workload, peer, mode, bench, params, number):
    key = {"stage": STAGE, "workload": workload, "peer": peer, "mode": mode, "run": number}
    if results.find(**key):
        return
    progress.say(f"remote: {workload}", f"{plan.REMOTE_PEERS[peer]}, {mode}, " + (f"run {number}" if number else "warm-up"))
    try:
        values = measured(peers, peer, mode, bench, params)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        if peer.startswith("troupe"):
            raise
        values = {}
        progress.say(f"remote: {workload}: {plan.REMOTE_PEERS[peer]} gave no result: {str(error)[:200]}", "")
    results.add(**key, values=values, params=params)


def name_of(work):
    """Two metrics of one benchmark are of the same runs."""
    return f"{work.bench} {work.params['size']}"


def small_of(params):
    return {**params, "messages": max(50, params["messages"] // 100)}


def run(results, peers, progress, runs, small, only=""):
    if not KEY.exists():
        measure.run([str(measure.TROUPE), "key", "new", str(KEY)])
    for number in range(runs + 1):  # in turn, so that what the machine does meets all alike
        for work in (one for one in plan.REMOTE if only in one.key):
            for peer in here(peers):
                params = {**work.params, **work.fewer.get(peer, {})}
                for mode in modes_of(peer, work) if peer not in work.absent else ():
                    once(results, peers, progress, name_of(work), peer, mode, work.bench,
                         small_of(params) if small else params, number)
    for number in range(min(runs, 3) + 1):
        for size in (one for one in plan.REMOTE_SIZES if only in f"size {one}"):
            for peer in here(peers):
                if peer in plan.REMOTE_SIZES_OF:
                    params = {"messages": plan.of_size(size, peer), "size": size}
                    once(results, peers, progress, f"size {size}", peer, modes_of(peer)[0], "remote-flood",
                         small_of(params) if small else params, number)
        for load in (one for one in plan.REMOTE_LOADS if only in f"load {one}"):
            for peer in here(peers):
                if peer in plan.REMOTE_LOADS_OF:
                    params = {"messages": plan.of_load(load, peer), "outstanding": load, "size": 64}
                    once(results, peers, progress, f"load {load}", peer, modes_of(peer)[0], "remote-load",
                         small_of(params) if small else params, number)


# ---- what came of it ----

def best_of(results, workload, metric, more, peer, modes=None):
    found = None
    for mode in modes or modes_of(peer):
        got = measure.series(results, metric, stage=STAGE, workload=workload, peer=peer, mode=mode)
        if got and (found is None or (got[0] > found[0] if more else got[0] < found[0])):
            found = (*got, mode)
    return found


def of(results, work, peer):
    got = best_of(results, name_of(work), work.metric, work.more_is_better, peer, modes_of(peer, work))
    if not got or not work.share_of:
        return got
    whole = next(one for one in plan.REMOTE if one.key == work.share_of)
    alone = measure.series(results, whole.metric, stage=STAGE, workload=name_of(whole), peer=peer, mode=got[4])
    return (*(value / alone[0] * 100 for value in got[:3]), *got[3:]) if alone else None


def verdicts(results):
    out = []
    for work in plan.REMOTE:
        ours = of(results, work, "troupe")
        if ours and work.at_least:
            out.append((work.key, f"{ours[0]:,.0f} {work.unit}", f"at least {work.at_least:,.0f}", ours[0] >= work.at_least))
        if ours and work.at_most:
            out.append((work.key, f"{ours[0]:,.0f} {work.unit}", f"at most {work.at_most:,.0f}", ours[0] <= work.at_most))
        for peer, times in work.targets.items():
            theirs = of(results, work, peer)
            if ours and theirs:
                ratio = ours[0] / theirs[0]
                good = ratio >= times if work.more_is_better else ratio <= times
                out.append((work.key, f"{ratio:.2f} of {plan.REMOTE_PEERS[peer]}",
                            f"{'at least' if work.more_is_better else 'at most'} {times}", good))
    return out


# ---- the page ----

def figure(value):
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


def table(results):
    shown = [peer for peer in plan.REMOTE_PEERS if any(of(results, work, peer) for work in plan.REMOTE)]
    lines = ["| | unit | " + " | ".join(plan.REMOTE_PEERS[peer] for peer in shown) + " |", "|---|---|" + "---|" * len(shown)]
    for work in plan.REMOTE:
        cells = [of(results, work, peer) for peer in shown]
        lines.append(f"| {work.key} | {work.unit} | " + " | ".join(figure(cell[0]) if cell else "–" for cell in cells) + " |")
    lines += ["", "| | reached | asked for | |", "|---|---|---|---|"]
    lines += [f"| {name} | {reached} | {target} | {'reached' if met else '**short**'} |"
              for name, reached, target, met in verdicts(results)]
    return "\n".join(lines) + "\n\n"


def spread(results):
    lines = ["| | | mode | median | least | most | runs |", "|---|---|---|---|---|---|---|"]
    for work in plan.REMOTE:
        for peer, name in plan.REMOTE_PEERS.items():
            best = of(results, work, peer)
            if best:
                value, least, most, runs, mode = best
                lines.append(f"| {work.key} | {name} | {mode} | {figure(value)} | {figure(least)} | {figure(most)} | {runs} |")
    return "\n".join(lines) + "\n\n"


def text(results, pictures):
    if not results.find(stage=STAGE):
        return ""
    out = ["## Between two processes", "",
           "Two processes on loopback, from actor to actor; the receiver counts and checks each message. The peers are programs "
           "of ours, `tests/bench/peers`; Go has a goroutine with a bounded channel at both ends, and encodes and decodes "
           "between channel and socket. What nng gives is the layer below troupe's connections, with a uv loop at both ends and "
           "without actors, types or checksums. With a key every frame is sealed.", "", table(results)]
    for file, alt in (("performance-remote.svg", "Messages and bytes a second between two processes"),
                      ("performance-remote-times.svg", "Round trips between two processes"),
                      ("performance-sizes.svg", "Bytes a second against the size of a message"),
                      ("performance-load.svg", "How long an ask takes against how many are outstanding")):
        if file in pictures:
            out.append(f"![{alt}]({file})\n")
    if "performance-load.svg" in pictures:
        out.append("Latency under load: questions of 64 bytes, each answered; whenever an answer comes the next is asked. A line "
                   "is half of them, a dashed one 99 of 100, each the median of the runs; with N outstanding at a rate R the "
                   "mean is N / R.\n")
    out.append("The work:\n")
    out += [f"- **{work.key}**: {work.work}." for work in plan.REMOTE if work.work != "the same"]
    out += ["", "What may be under way one way, where a sender then waits:", ""]
    out += [f"- {plan.REMOTE_PEERS[peer]}: {window}." for peer, window in plan.WINDOWS.items()]
    out += ["", "### From least to most, between two processes", "", spread(results)]
    return "\n".join(out)


# ---- charts ----

def rows(results, wanted):
    found = []
    for work in plan.REMOTE:
        if work.unit in wanted:
            scale = 1e6 if work.unit == "round trips/s" else 1
            values = {peer: of(results, work, peer) for peer in plan.REMOTE_PEERS}
            values = {peer: tuple(v / scale for v in value[:3]) for peer, value in values.items() if value}
            if values:
                found.append((work.key, values))
    return found


def sizes(results):
    """By peer: (size, MB/s, least, most)."""
    lines = {}
    for peer in plan.REMOTE_SIZES_OF:
        points = []
        for size in plan.REMOTE_SIZES:
            got = best_of(results, f"size {size}", "rate", True, peer)
            if got:
                points.append((size, *(rate * size for rate in got[:3])))
        if points:
            lines[peer] = points
    return lines


def loads(results):
    """By peer: (outstanding, p50, p99) in us."""
    lines = {}
    for peer in plan.REMOTE_LOADS_OF:
        got = [(load, *(best_of(results, f"load {load}", metric, False, peer) for metric in ("p50", "p99")))
               for load in plan.REMOTE_LOADS]
        points = [(load, p50[0], p99[0]) for load, p50, p99 in got if p50 and p99]
        if points:
            lines[peer] = points
    return lines


def draw(results, into):
    drawn = []
    for file, title, unit, wanted in (
            ("performance-remote.svg", "Between two processes: more is better", "million a second", ("M/s", "round trips/s")),
            ("performance-remote-times.svg", "Round trips between two processes: less is better", "us", ("us",))):
        found = rows(results, wanted)
        if found:
            who = [peer for peer in plan.REMOTE_PEERS if any(peer in values for _, values in found)]
            charts.bars(into / file, results.head_of(STAGE), title, unit, found, who, labels=plan.REMOTE_PEERS, width=1100)
            drawn.append(file)
    lines = sizes(results)
    if lines:
        charts.curves(into / "performance-sizes.svg", results.head_of(STAGE), "Against the size of a message", "bytes of a message",
                      "MB a second", {plan.REMOTE_PEERS[peer]: points for peer, points in lines.items()})
        drawn.append("performance-sizes.svg")
    lines = loads(results)
    if lines:
        charts.loads(into / "performance-load.svg", results.head_of(STAGE),
                     {plan.REMOTE_PEERS[peer]: points for peer, points in lines.items()})
        drawn.append("performance-load.svg")
    return drawn
