"""The stages `peers` and `scaling`: troupe beside the peers, and troupe beside itself at more loops."""
import json
import subprocess
import time

import measure
import plan

WORSE = 1.15  # a mode whose warm-up is so much slower in all metrics isn't measured further
LONG_S = 3  # a measurement that takes longer is repeated three times, not five


def loop_counts():
    counts = [1]
    while counts[-1] * 2 <= measure.cores():
        counts.append(counts[-1] * 2)
    return counts


def modes_of(peer, workload=None):
    if peer == "troupe":
        return [f"{n} loop{'s' * (n > 1)}" for n in loop_counts() if n == 1 or not workload or not workload.one_at_a_time]
    return ["pin"] if peer == "asyncio" else ["both", "pin"]  # asyncio is of one thread


def why_absent(workload, peer):
    if peer in workload.absent:
        return workload.absent[peer]
    needs = workload.needs_gb.get(peer, 0)
    return f"needs {needs} GB of free memory" if measure.free_gb() < needs else None


def better(metric, a, b):
    return a > b if metric.more_is_better else a < b


class Comparison:
    def __init__(self, results, peers, progress, runs, small):
        self.results, self.peers, self.progress, self.runs, self.small = results, peers, progress, runs, small

    def params(self, workload, peer):
        params = {**workload.params, **workload.fewer.get(peer, {})}
        return plan.made_smaller(workload, params) if self.small else params

    def once(self, stage, workload, peer, mode, number):
        key = {"stage": stage, "workload": workload.key, "peer": peer, "mode": mode, "run": number}
        if self.results.find(**key):
            return
        params = self.params(workload, peer)
        self.progress.say(f"{stage}: {workload.key}", f"{plan.PEERS[peer]}, {mode}, " +
                          (f"run {number} of {self.runs}" if number else "warm-up"))
        began = time.monotonic()
        try:
            if peer == "troupe":
                values = measure.run_troupe(workload, params, int(mode.split()[0]))
            else:
                values = measure.run_peer(self.peers.commands[peer], workload, params, mode == "pin")
            self.results.add(**key, values=values, params=params, seconds=round(time.monotonic() - began, 2))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            if peer == "troupe":
                raise
            self.results.add(**key, values={}, params=params, seconds=round(time.monotonic() - began, 2),
                             failed=str(error)[:300])

    def warm(self, workload, peer, mode):
        return self.results.find(stage="peers", workload=workload.key, peer=peer, mode=mode, run=0)[0]

    def good_modes(self, workload, peer):
        """Those that are near the best in a metric, by the warm-up."""
        firsts = {mode: self.warm(workload, peer, mode)["values"] for mode in modes_of(peer, workload)}
        good = []
        for metric in workload.metrics:
            values = {mode: values[metric.name] for mode, values in firsts.items() if metric.name in values}
            for mode, value in values.items():
                best = max(values.values()) if metric.more_is_better else min(values.values())
                ratio = best / value if metric.more_is_better else value / best if best else 1
                if ratio <= WORSE and mode not in good:
                    good.append(mode)
        return good

    def run_peers(self, workloads):
        for workload in workloads:
            here = []
            for peer in plan.PEERS:
                absent = why_absent(workload, peer) if peer == "troupe" or peer in self.peers.commands else "not here"
                if absent:
                    continue
                here.append(peer)
                for mode in modes_of(peer, workload):
                    self.once("peers", workload, peer, mode, 0)
            chosen = [(peer, mode) for peer in here for mode in self.good_modes(workload, peer)]
            for number in range(1, self.runs + 1):  # in turn, so that what the machine does meets all alike
                for peer, mode in chosen:
                    if number <= 3 or self.warm(workload, peer, mode)["seconds"] <= LONG_S:
                        self.once("peers", workload, peer, mode, number)

    def line(self, stage, workload, number):
        """How far apart the two cores are just now (line.c)."""
        key = {"stage": stage, "workload": workload.key, "peer": "cache line", "mode": "", "run": number}
        if measure.cores() > 1 and not self.results.find(**key):
            self.results.add(**key, values=json.loads(measure.run([str(measure.TROUPE.parent / "bench-line")])))

    def run_scaling(self):
        for workload in plan.SCALING:
            for number in range(self.runs + 1):
                self.line("scaling", workload, number)
                for mode in modes_of("troupe"):
                    self.once("scaling", workload, "troupe", mode, number)


# ---- what came of it ----

def best_of(results, workload, metric, peer):
    """(median, least, most, runs, mode) at its best mode; None: none."""
    found = None
    for mode in modes_of(peer, workload):
        key = {"stage": "peers", "workload": workload.key, "peer": peer, "mode": mode}
        got = measure.series(results, metric.name, **key)
        if got and (found is None or better(metric, got[0], found[0])):
            found = (*got, mode)
    return found


def ratio_of(metric, ours, theirs):
    return ours / theirs if metric.more_is_better else theirs / ours


def verdict(results, workload, metric):
    """(text of what was reached, text of the target, met: True, False or None where nothing is asked)."""
    ours = best_of(results, workload, metric, "troupe")
    theirs = {peer: best_of(results, workload, metric, peer) for peer in plan.PEERS if peer != "troupe"}
    theirs = {peer: value[0] for peer, value in theirs.items() if value}
    if not ours:
        return "", metric.target, None
    if metric.target.startswith("at most"):
        limit = float(metric.target.split()[-1])
        return f"{ours[0]:.3g} {metric.unit}", f"{metric.target} {metric.unit}", ours[0] <= limit
    ratios = {peer: ratio_of(metric, ours[0], value) for peer, value in theirs.items()}
    if metric.target == "flow":
        others = [ratio for peer, ratio in ratios.items() if peer != "go"]
        text = [f"{ratios['go']:.2f} of Go"] if "go" in ratios else []
        text += [f"{min(others):.2f} of the others"] if others else []
        met = ratios.get("go", 9) >= 1.5 and (not others or min(others) >= 6)
        return ", ".join(text), "1.5 of Go, 6 of the others", met
    if not ratios:
        return "", metric.target, None
    least = min(ratios, key=ratios.get)
    text = f"{ratios[least]:.2f} of {plan.PEERS[least]}"
    return text, "4 of the best peer" if metric.target else "", ratios[least] >= 4 if metric.target else None
