"""The stage `tx`: transactions beside what the disk and the log do alone, a hot participant, and client apps at one server."""
import json
import os
import subprocess

import charts
import measure
import plan

STAGE = "tx"
COLUMNS = ("rate", "p50", "p99", "forces", "group", "disk")  # of the table of those that commit


# ---- measuring ----

def once(results, progress, workload, bench, params, number):
    key = {"stage": STAGE, "workload": workload, "run": number}
    if results.find(**key):
        return
    progress.say(f"tx: {workload}", f"run {number}")
    words = [str(measure.TROUPE), "bench", bench, "--runs", "1", "--json", *measure.words_of(params)]
    try:
        values = {line["metric"]: line["value"] for line in map(json.loads, measure.run(words).splitlines())}
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        progress.say(f"tx: {workload} gave no result: {str(error)[-200:]}", "")
        values = {}  # which is a verdict as well
    results.add(**key, values=values, params=params)


def small_of(params):
    return {**params, **{name: max(20, params[name] // 20) for name in ("messages", "n") if name in params}}


def hot_of(load):
    return {"load": load, **plan.TX_HOT}


def clients_of(clients):
    return {"clients": clients, "messages": min(plan.TX_ENTRIES_EACH, plan.TX_ENTRIES // clients)}


def all_of():
    """Workload, benchmark, parameters."""
    return ([(one.key, one.bench, one.params) for one in plan.TX] +
            [(f"hot {load}", "tx-hot", hot_of(load)) for load in plan.TX_LOADS] +
            [(f"clients {n}", "tx-clients", clients_of(n)) for n in plan.TX_CLIENTS])


# By --quick.
LEFT_OUT = [f"hot {load}" for load in plan.TX_LOADS[1:-1]] + [f"clients {n}" for n in plan.TX_CLIENTS if n not in (1, 10)]


def run(results, progress, runs, small, only=""):
    data = measure.ROOT / "build/bench/data"  # on the disk that the sources are on
    data.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(data)
    for number in range(1, min(runs, 3) + 1):  # in turn, so that what the machine does meets all alike; each has its warm-up
        for workload, bench, params in all_of():
            if only in workload and not (small and workload in LEFT_OUT):
                once(results, progress, workload, bench, small_of(params) if small else params, number)


# ---- what came of it ----

def of(results, workload, metric):
    return measure.series(results, metric, stage=STAGE, workload=workload)


def hot_points(results):
    """(load, % of what it carried before and after, in the same run, least, most)."""
    found = [(load, of(results, f"hot {load}", "share")) for load in plan.TX_LOADS]
    return [(load, *got[:3]) for load, got in found if got]


def client_points(results):
    """(clients, commits/s, least, most, p50 ms, p99 ms)."""
    points = []
    for n in plan.TX_CLIENTS:
        rate, p50, p99 = (of(results, f"clients {n}", metric) for metric in ("rate", "p50", "p99"))
        if rate:
            points.append((n, *rate[:3], p50[0] / 1000, p99[0] / 1000))
    return points


def reached(results, target):
    """The value, and beside it what it was made of; None: it wasn't measured."""
    if target.workload == "hot":
        points = hot_points(results)
        worst = [point for point in points if point[0] == max(plan.TX_LOADS)]
        if not worst:
            return None
        peak = max(100, *(point[1] for point in points))
        rate, carries = (of(results, f"hot {max(plan.TX_LOADS)}", metric) for metric in ("rate", "capacity"))
        return (worst[0][1] * 100 / peak,
                f"{figure(rate[0])}/s, when callers wait {figure(carries[0])}/s" + (f", the peak {figure(peak)} % of it" if peak > 100 else ""))
    got = of(results, target.workload, target.metric)
    if not got:
        return None
    if not target.of:
        return got[0], ""
    # Of the same run, so that what the disk did then counts.
    lines = [line["values"] for line in results.find(stage=STAGE, workload=target.workload) if line["run"]]
    lines = [line for line in lines if target.metric in line]
    value = measure.median(line[target.metric] / line[target.of] for line in lines)
    return value, f"{figure(got[0])}/s, the disk {figure(of(results, target.workload, target.of)[0])}/s"


def verdicts(results):
    out = []
    for target in plan.TX_TARGETS:
        got = reached(results, target)
        if not got:
            tried = f"hot {max(plan.TX_LOADS)}" if target.workload == "hot" else target.workload
            if results.find(stage=STAGE, workload=tried):
                out.append((target.key, "no run gave a result", f"{target.at_least or target.at_most}", False))
            continue
        value, made_of = got
        least = target.at_least is not None
        asked = target.at_least if least else target.at_most
        good = value >= asked if least else value <= asked
        out.append((target.key, f"{figure(value)} {target.unit}{': ' + made_of if made_of else ''}",
                    f"{'at least' if least else 'at most'} {figure(asked)}", good))
    return out


# ---- the page ----

def figure(value):
    return f"{value:,.0f}" if value >= 99.5 or value == 0 else f"{value:.3g}"


def cell(results, workload, metric):
    got = of(results, workload, metric)
    return figure(got[0]) if got else "–"


def log_table(results):
    lines = ["| records a force | forces/s, disk alone | records/s, log alone | p50 us | p99 us |", "|---|---|---|---|---|"]
    for one in plan.TX:
        if one.bench == "tx-force" and of(results, one.key, "rate"):
            cells = [cell(results, one.key, metric) for metric in ("disk", "rate", "p50", "p99")]
            lines.append(f"| {one.params['outstanding']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def table(results):
    lines = ["| | commits/s | p50 us | p99 us | forces a transaction | records a force | disk forces/s | of the log alone |",
             "|---|---|---|---|---|---|---|---|"]
    for one in plan.TX:
        if one.bench != "tx-force" and of(results, one.key, "rate"):
            share = cell(results, one.key, "share")
            cells = [cell(results, one.key, metric) for metric in COLUMNS] + [share + (" %" if share != "–" else "")]
            lines.append(f"| {one.key} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def many_table(results):
    columns = ("wounded", "overload", "late")
    lines = ["| | begun/s | commits/s | p50 us | p99 us | wounded | overload | late |", "|---|---|---|---|---|---|---|---|"]
    for workload, label in ([(f"hot {load}", f"hot, {load} times") for load in plan.TX_LOADS] +
                            [(f"clients {n}", f"{n:,} client{'s' * (n > 1)}") for n in plan.TX_CLIENTS]):
        if of(results, workload, "rate"):
            cells = [cell(results, workload, metric) for metric in ("offered", "rate", "p50", "p99", *columns)]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def spread(results):
    lines = ["| | median | least | most | runs |", "|---|---|---|---|---|"]
    for workload, bench, _ in all_of():
        got = of(results, workload, "rate")
        if got:
            unit = "records/s" if bench == "tx-force" else "commits/s"
            lines.append(f"| {workload} | {figure(got[0])} {unit} | {figure(got[1])} | {figure(got[2])} | {got[3]} |")
    return "\n".join(lines) + "\n\n"


def text(results, pictures):
    if not results.find(stage=STAGE):
        return ""
    out = ["## Transactions", "",
           "What is committed is on the disk. So the disk alone is measured in each run, by one process that appends a record "
           "and forces it; and the log alone, with as many records a force as the transactions had. Each run is checked: every "
           "participant has as many entries as transactions were committed that wrote it, and their sum is what it must be. "
           "The program is `cli/bench/tx.c` and those beside it; medians of 3.", "",
           "| | reached | asked for | |", "|---|---|---|---|"]
    out += [f"| {name} | {value} | {target} | {'reached' if met else '**short**'} |"
            for name, value, target, met in verdicts(results)]
    out += ["", log_table(results) + table(results) + many_table(results)]
    out += ["Aborted, of 1,000 that were committed, after up to five attempts: wounded by an older one; overload (a node has "
            "1,000 under way, or its caller 20,000, or too many wait for a participant); late (the lock wait, or the deadline). Hot: "
            "every transaction writes one participant of the other node and one of 1,024 here, half of them in each order; so "
            "many are begun a second, whether or not those before are over. What it can carry is measured before and after, by "
            "callers who wait, and counts as their mean. Clients: each is a node with a connection of its own, in up to ten "
            "processes; a transaction makes an entry in its journal at the server and takes the amount from another participant "
            "there, and is done again until it is committed, in the time that is measured; at the end all journals are "
            "compared.", ""]
    for file, alt in (("performance-tx-hot.svg", "Committed against offered, of a hot participant"),
                      ("performance-tx-clients.svg", "Committed a second and how long it took, by the number of clients")):
        if file in pictures:
            out.append(f"![{alt}]({file})\n")
    out += ["The work:", ""] + [f"- **{one.key}**: {one.work}." for one in plan.TX]
    out += ["", "### From least to most, transactions", "", spread(results)]
    return "\n".join(out)


# ---- charts ----

def draw(results, into):
    drawn = []
    points = hot_points(results)
    if points:
        charts.hot(into / "performance-tx-hot.svg", results.head_of(STAGE), points)
        drawn.append("performance-tx-hot.svg")
    points = client_points(results)
    if points:
        charts.clients(into / "performance-tx-clients.svg", results.head_of(STAGE), points)
        drawn.append("performance-tx-clients.svg")
    return drawn
