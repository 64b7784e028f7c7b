"""Runs one measurement in a process of its own, and keeps each result as a line of JSON, so that a run that was
interrupted goes on where it was."""
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
TROUPE = ROOT / "build/release/bin/troupe"
PEER_SOURCES = Path(__file__).resolve().parent / "peers"
LIMIT_S = 180


def output_of(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=20, check=False).stdout.strip()
    except OSError:
        return ""


COMMIT = output_of("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "?"


def cores():
    return len(os.sched_getaffinity(0))


def free_gb():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1e6
    return 0


# ---- who takes part ----

class Peers:
    """The peers that can be built here, and the command of each."""

    def __init__(self, into):
        self.into = into
        self.commands, self.versions, self.missing = {}, {}, {}
        into.mkdir(parents=True, exist_ok=True)
        self.remote = {}  # commands of the workloads between two processes, by plan.REMOTE_PEERS
        for name in ("go", "erlang", "caf", "asyncio", "nng"):
            getattr(self, name)()
        self.versions["gcc"] = output_of("gcc", "-dumpfullversion")

    def build(self, name, words, **more):
        done = subprocess.run(words, capture_output=True, text=True, check=False, **more)
        if done.returncode:
            sys.exit(f"bench: the {name} peer doesn't build:\n{done.stderr[-3000:]}")

    def go(self):
        if not shutil.which("go"):
            self.missing["go"] = "no `go` here"
            return
        program = self.into / "go-peer"
        self.build("Go", ["go", "build", "-o", str(program), str(PEER_SOURCES / "go/peer.go"), str(PEER_SOURCES / "go/remote.go")],
                   env={**os.environ, "GO111MODULE": "off", "GOCACHE": str(self.into / "go-cache")})
        self.commands["go"] = self.remote["go"] = [str(program)]
        self.versions["go"] = output_of("go", "version").split()[2].removeprefix("go")

    def erlang(self):
        if not shutil.which("erlc") or not shutil.which("erl"):
            self.missing["erlang"] = "no `erl` here"
            return
        self.build("Erlang", ["erlc", "-o", str(self.into), str(PEER_SOURCES / "erlang/troupe_peer.erl"),
                              str(PEER_SOURCES / "erlang/troupe_remote.erl")])
        self.commands["erlang"] = ["erl", "+P", "20000000", "-noshell", "-pa", str(self.into), "-s", "troupe_peer",
                                   "main", "-extra"]
        port = str(20000 + os.getpid() % 20000)  # in epmd's place: nothing is left running
        self.remote["erlang"] = ["erl", "-noshell", "-sname", f"bench{port}@localhost", "-setcookie", "troupe",
                                 "-start_epmd", "false", "-erl_epmd_port", port, "-dist_listen", "false", "-pa",
                                 str(self.into), "-s", "troupe_remote", "main", "-extra"]
        release = 'io:format("~s~n", [erlang:system_info(otp_release)]), halt().'
        self.versions["erlang"] = output_of("erl", "-noshell", "-eval", release)

    def caf(self):
        header = Path("/usr/include/caf/config.hpp")
        if not header.exists() or not shutil.which("g++"):
            self.missing["caf"] = "no libcaf-dev here"
            return
        program = self.into / "caf-peer"
        self.build("CAF", ["g++", "-O2", "-std=c++17", "-o", str(program), str(PEER_SOURCES / "caf/peer.cpp"),
                           "-lcaf_core", "-lpthread"])
        self.commands["caf"] = [str(program)]
        if Path("/usr/include/caf/io/all.hpp").exists():
            remote = self.into / "caf-remote"
            self.build("CAF", ["g++", "-O2", "-std=c++17", "-o", str(remote), str(PEER_SOURCES / "caf/remote.cpp"),
                               "-lcaf_io", "-lcaf_core", "-lpthread"])
            self.remote["caf"] = [str(remote)]
        number = re.search(r"#define CAF_VERSION (\d+)", header.read_text())
        self.versions["caf"] = "{}.{}.{}".format(*split_version(int(number.group(1)))) if number else "?"

    def asyncio(self):
        self.commands["asyncio"] = [sys.executable, str(PEER_SOURCES / "asyncio/peer.py")]
        self.remote["asyncio"] = [sys.executable, str(PEER_SOURCES / "asyncio/remote.py")]
        self.versions["asyncio"] = platform.python_version()

    def nng(self):
        program = self.into / "nng-peer"
        self.build("nng", ["gcc", "-O2", "-o", str(program), str(PEER_SOURCES / "nng/peer.c"), "-lnng", "-luv", "-lpthread"])
        for variant in ("stream", "push", "batch"):
            self.remote["nng-" + variant] = [str(program), variant]


def split_version(number):
    return number // 10000, number // 100 % 100, number % 100


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {"cpu": model.group(1).strip() if model else platform.machine(), "cores": cores(),
            "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
            "kernel": platform.release()}


# ---- results ----

class Results:
    """Lines of JSON: what the run is, then its results, each with the program that gave it. A run with other peers or of
    another size begins anew; a stage that is measured now forgets what another program gave, and all if it is to be fresh."""

    def __init__(self, path, head, program, fresh, stages):
        self.path, self.program, self.lines = path, program, []
        old = self.read()
        same = old and self.identity(old[0]) == self.identity(head)
        if old and not same:
            print("what is in", path.relative_to(ROOT), "was measured otherwise: begun anew")
        kept = [line for line in old[1:] if line["stage"] not in stages or
                (line["program"] == program and not fresh)] if same else []
        self.resumed = sum(line["program"] == program for line in kept)
        self.lines = [old[0] if kept else head] + kept
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    @staticmethod
    def identity(head):
        return {**head, "date": None}

    def read(self):
        lines = []
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                lines.append(json.loads(line))
            except ValueError:
                break  # it was cut off in the middle of this line
        return lines

    @property
    def head(self):
        return self.lines[0]

    def find(self, **key):
        return [line for line in self.lines[1:] if all(line.get(name) == value for name, value in key.items())]

    def programs(self, **key):
        """What git calls the programs that gave these results, oldest first."""
        return list(dict.fromkeys(line["troupe"] for line in self.find(**key)))

    def head_of(self, stage):
        """The head, with the program that gave the results of that stage among the versions."""
        return {**self.head, "versions": {"troupe": ", ".join(self.programs(stage=stage)), **self.head["versions"]}}

    def add(self, **line):
        self.lines.append({**line, "program": self.program, "troupe": COMMIT})
        with self.path.open("a") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")


def new_head(peers, runs, small):
    return {"machine": machine(), "versions": peers.versions, "runs": runs, "small": small,
            "date": date.today().isoformat()}


def program():
    """The program itself, not how git calls it."""
    return (output_of("sha256sum", str(TROUPE)).split() or [""])[0]


def series(results, metric, **key):
    """Median, least, most and how many; the warm-up, run 0, doesn't count. None: there is none."""
    values = [line["values"][metric] for line in results.find(**key) if line["run"] and metric in line["values"]]
    return (median(values), min(values), max(values), len(values)) if values else None


# ---- one measurement ----

def words_of(params):
    return [word for name, value in params.items() for word in ("--" + name, str(value))]


def run_troupe(workload, params, loops):
    words = [str(TROUPE), "bench", workload.bench, "--runs", "1", "--loops", str(loops), "--json", *words_of(params)]
    return {line["metric"]: line["value"] for line in map(json.loads, run(words).splitlines())}


def run_peer(command, workload, params, pinned):
    pin = ["taskset", "-c", "0"] if pinned else []
    return json.loads(run(pin + command + [workload.bench] + words_of(params)).splitlines()[-1])


def run(words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False,
                          env={**os.environ, "ERL_CRASH_DUMP": "/dev/null"})
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(f"{' '.join(words)}: status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


class Progress:
    """One line that is written over on a terminal, a line a workload elsewhere."""

    def __init__(self):
        self.began, self.shown, self.terminal = time.monotonic(), None, sys.stderr.isatty()

    def say(self, what, detail):
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        if self.terminal:
            print(f"\r\033[K{minutes:2}:{seconds:02}  {what}: {detail}", end="", file=sys.stderr, flush=True)
        elif what != self.shown:
            print(f"{minutes:2}:{seconds:02}  {what}", file=sys.stderr, flush=True)
        self.shown = what

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
