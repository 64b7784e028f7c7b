"""Writes docs/performance.md of the results: the command's only way into the docs, nothing in it is by hand."""
import textwrap

import accounting
import compare
import measure
import overload
import plan
import remote
import tx

HEAD = """# Performance

Written by `./dev bench`, which measures all of it; nothing here is by hand. Measured on {date} with:

- machine: {cpu}, {cores} cores, {memory} GB, Linux {kernel}
- troupe {troupe} (gcc {gcc}, `RelWithDebInfo`){others}{peers}
- command: `./dev bench{quick}`, medians of {runs}{unless} after a warm-up, one process a measurement, in turn
{missing}
Ratios are worth quoting, absolute figures only find one's way. Peers are shown at the better of all cores and of one
(`taskset -c 0`), troupe at its best number of loops; where one message is in flight, with one loop. Every receiver counts and checks what it got; a run that
lost a message is no result. Go's channels and troupe's mailboxes are bounded (1,024) and a sender waits in
the time that is measured; the other peers' mailboxes are unbounded. The peers are programs of ours,
`tests/bench/peers`.

"""


WIDTH = 105


def wrapped(text):
    """Lines of prose and of lists, none too long; tables and pictures stay."""
    lines = []
    for line in text.split("\n"):
        if len(line) <= WIDTH or line.startswith(("|", "!", "#")):
            lines.append(line)
        else:
            lines += textwrap.wrap(line, WIDTH, subsequent_indent="  " if line.startswith("- ") else "",
                                   break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def commits(results):
    """The program of most stages, and those that another one gave."""
    by_stage = {stage: ", ".join(results.programs(stage=stage)) for stage in dict.fromkeys(line["stage"] for line in results.find())}
    usual = max(by_stage.values(), key=list(by_stage.values()).count)
    return usual, "".join(f"; {stage}: {commit}" for stage, commit in by_stage.items() if commit != usual)


def head_text(results, peers):
    head = results.head
    troupe, others = commits(results)
    machine, versions = head["machine"], head["versions"]
    named = "".join(f", {plan.PEERS[peer]} {versions[peer]}" for peer in plan.PEERS if peer in versions and peer != "troupe")
    missing = "".join(f"- not measured: {plan.PEERS[peer]}, {why}\n" for peer, why in peers.missing.items())
    return HEAD.format(date=head["date"], cpu=machine["cpu"], cores=machine["cores"], memory=machine["memory_gb"],
                       kernel=machine["kernel"], troupe=troupe, others=others, gcc=versions["gcc"], peers=named,
                       quick=" --quick" if head["small"] else "", runs=head["runs"], missing=missing,
                       unless="" if head["small"] else f" (of 3 where one takes over {compare.LONG_S} s)")


def figure(value):
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


def picture(pictures, name, text):
    return f"![{text}]({name})\n\n" if name in pictures else ""


def all_metrics():
    return [(workload, metric) for workload in plan.WORKLOADS for metric in workload.metrics]


def targets(results):
    lines = ["| | unit | " + " | ".join(plan.PEERS.values()) + " |", "|---|---|" + "---|" * len(plan.PEERS)]
    for workload, metric in all_metrics():
        cells = []
        for peer in plan.PEERS:
            best = compare.best_of(results, workload, metric, peer)
            cells.append(figure(best[0]) if best else "–")
        if set(cells) != {"–"}:
            lines.append(f"| {metric.label or workload.key} | {metric.unit} | {' | '.join(cells)} |")
    lines += ["", "| | reached | asked for | |", "|---|---|---|---|"]
    for workload, metric in all_metrics():
        reached, target, met = compare.verdict(results, workload, metric)
        if reached:
            word = "" if met is None else "reached" if met else "**short**"
            lines.append(f"| {metric.label or workload.key} | {reached} | {target} | {word} |")
    return "\n".join(lines) + "\n\n"


def spread(results):
    lines = ["| | | mode | median | least | most | runs |", "|---|---|---|---|---|---|---|"]
    for workload, metric in all_metrics():
        for peer, name in plan.PEERS.items():
            best = compare.best_of(results, workload, metric, peer)
            if best:
                value, least, most, runs, mode = best
                lines.append(f"| {metric.label or workload.key} | {name} | {mode} | {figure(value)} | {figure(least)} | "
                             f"{figure(most)} | {runs} |")
    return "\n".join(lines) + "\n\n"


def said_of(params):
    return ", ".join(f"{name} {value:,}" for name, value in params.items())


def workloads(results):
    lines = [f"- **{one.key}**: {one.work}." for one in plan.WORKLOADS]
    notes = []
    for one in plan.WORKLOADS:
        notes += [f"- {one.key}: {plan.PEERS[peer]} with {said_of(params)}." for peer, params in one.fewer.items()]
        notes += [f"- {one.key}: not {plan.PEERS[peer]}, {why}." for peer, why in one.absent.items()]
        for line in results.find(stage="peers", workload=one.key):
            if "failed" in line and line["run"] == 0:
                notes.append(f"- {one.key}: {plan.PEERS[line['peer']]}, {line['mode']}, gave no result.")
    for (peer, bench, metric), why in plan.LACKS.items():
        notes.append(f"- {bench}, {metric}: not {plan.PEERS[peer]}, {why}.")
    return "\n".join(lines) + "\n\nWith less, or not at all, where one run would take minutes:\n\n" + "\n".join(notes) + "\n\n"


def scaling_lines(results):
    """(workload, mode, median, least, most, speed, target at two loops or None, met)."""
    lines, modes = [], compare.modes_of("troupe")
    for workload in plan.SCALING:
        metric = workload.metrics[0]
        base = measure.series(results, metric.name, stage="scaling", workload=workload.key, mode=modes[0])
        for mode in modes:
            got = measure.series(results, metric.name, stage="scaling", workload=workload.key, mode=mode)
            if got and base:
                speed = got[0] / base[0] if metric.more_is_better else base[0] / got[0]
                target = float(metric.target) if mode == "2 loops" else None
                lines.append((workload, mode, *got[:3], speed, target, target is None or speed >= target))
    return lines


def scaling(results):
    lines = ["| | loops | median | least | most | speed | asked for | |", "|---|---|---|---|---|---|---|---|"]
    for workload, mode, value, least, most, speed, target, met in scaling_lines(results):
        word = "" if target is None else "reached" if met else "**short**"
        unit = workload.metrics[0].unit
        lines.append(f"| {workload.key} | {mode.split()[0]} | {figure(value)} {unit} | {figure(least)} | {figure(most)} | "
                     f"{speed:.2f} | {target or ''} | {word} |")
    what = "".join(f"- {one.work}.\n" for one in plan.SCALING)
    return "\n".join(lines) + "\n\n" + what + "\n" + how_far_apart(results)


def how_far_apart(results):
    """What two loops pay for what they share: it is the machine's, and not the same from hour to hour on a virtual one."""
    trip = measure.series(results, "trip_ns", stage="scaling", peer="cache line")
    return (f"Between these runs a cache line took {figure(trip[0])} ns from one core to the other and back (median; "
            f"{figure(trip[1])} to {figure(trip[2])}).\n\n") if trip else ""


def write(results, peers, pictures, path):
    text = head_text(results, peers)
    if results.find(stage="peers"):
        text += "## Against the peers\n\n" + targets(results)
        for name, alt in (("performance-times.svg", "Time of one operation, troupe and its peers"),
                          ("performance-rates.svg", "Messages a second"), ("performance-fib.svg", "Fibonacci by actors"),
                          ("performance-memory.svg", "Bytes of an idle actor")):
            text += picture(pictures, name, alt)
        text += "### The work\n\n" + workloads(results)
        text += "### From least to most\n\n" + spread(results)
    if scaling_lines(results):
        text += "## More loops\n\n" + scaling(results) + picture(pictures, "performance-scaling.svg", "Speed by loops")
    text += remote.text(results, pictures) + tx.text(results, pictures)
    text += accounting.text(results) + overload.text(results, pictures)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(wrapped(text).rstrip("\n") + "\n")
    return path


def between(path, begin, end, text):
    """Puts the text between two marks of a page; where there is no such page, makes one of it."""
    page = path.read_text() if path.exists() else f"{begin}\n{end}\n"
    before, after = page.split(begin)[0], page.split(end)[1]
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


def show_in_readme(results, pictures, path):
    """One chart, and where the rest is."""
    if "performance-times.svg" not in pictures:
        return
    names = [name for peer, name in plan.PEERS.items() if peer != "troupe" and peer in results.head["versions"]]
    between(path, "<!-- measured: ./dev bench -->", "<!-- until here -->",
            "![Time of one operation, troupe and its peers](docs/performance-times.svg)\n\n" +
            wrapped(f"Beside {', '.join(names[:-1])} and {names[-1]}, in one run on one machine; rates, memory, more "
                    "loops, overload and what was asked for: [docs/performance.md](docs/performance.md).") + "\n")


def say_verdicts(results):
    """Prints what was reached and what wasn't; the exit status: 0 if all was."""
    short = 0
    lines = [(metric.label or workload.key, *compare.verdict(results, workload, metric)) for workload, metric in all_metrics()]
    lines += [(f"{one[0].key}, {one[1]}", f"{one[5]:.2f} of one loop", f"{one[6]}", one[7])
              for one in scaling_lines(results) if one[6]]
    lines += remote.verdicts(results) + tx.verdicts(results) + accounting.verdicts(results) + overload.verdicts(results)
    for name, reached, target, met in lines:
        if reached and met is not None:
            short += not met
            print(f"{'ok   ' if met else 'short'}  {name}: {reached}; asked for: {target}")
    if short and results.head["small"]:
        print("a quick run: its figures say nothing")
    return 1 if short and not results.head["small"] else 0
