"""The stage `asyncio`: the article's four programs in Python, mended, and in C, against servers on this machine; and the
table of docs/from-asyncio.md."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

import measure
import report

HERE = Path(__file__).resolve().parent / "asyncio"
BIN = measure.ROOT / "build/release/bin"
BEGIN, END = "<!-- measured: ./dev bench asyncio -->", "<!-- until here -->"

NGINX = """daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; keepalive_requests 100000000; client_body_temp_path {0}/t1; proxy_temp_path {0}/t2;
    fastcgi_temp_path {0}/t3; uwsgi_temp_path {0}/t4; scgi_temp_path {0}/t5;
    server {{ listen 127.0.0.1:{1}; root {0}/files; }}
}}
"""


class Server:
    """nginx as ./dev unpacks it, with some files to serve."""

    def __init__(self, folder, file_mb):
        self.port = 20000 + os.getpid() % 20000
        (folder / "files").mkdir()
        for i in range(100):
            (folder / f"files/{i}.txt").write_text(str(i))
        for i in range(8):
            (folder / f"files/large{i}.bin").write_bytes(os.urandom(1 << 20) * file_mb)
        (folder / "nginx.conf").write_text(NGINX.format(folder, self.port))
        program = measure.ROOT / "build/test-servers/bin/nginx"
        if not program.exists():
            raise SystemExit("bench: no nginx in build/test-servers: ./dev bench unpacks it")
        self.process = subprocess.Popen([str(program), "-p", str(folder), "-c", str(folder / "nginx.conf")],
                                        stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/0.txt", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        self.close()
        raise SystemExit("bench: nginx doesn't answer")

    def close(self):
        self.process.terminate()
        self.process.wait()


def jobs(folder, port, small):
    """(job, words after the program's name; %s is a fresh directory)."""
    urls = [f"http://127.0.0.1:{port}/large{i}.bin" for i in range(8)]
    rounds, moves = (5, 3) if small else (200, 50)
    return {
        "download": ["%s", *urls],
        "compute": ["8", "sha256sum", str(folder / "files/large0.bin")],
        "many": ["127.0.0.1", str(port), str(rounds)],
        "exchange": ["%s", str(moves)],
    }


def once(job, language, words, folder):
    fresh = folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    program = [sys.executable, "-B", str(HERE / f"{job}.py")] if language == "asyncio" else [str(BIN / f"asyncio-{job}")]
    words = program + [word.replace("%s", str(fresh)) for word in words]
    # A shell in between: a process counts into its most resident memory that of who it was forked from.
    return json.loads(measure.run(["sh", "-c", '"$@"; exit $?', "sh", *words]).splitlines()[-1])


def run(results, progress, small):
    runs, file_mb = (1, 2) if small else (5, 40)
    if len(results.find(stage="asyncio")) == 8 * runs:
        return
    with tempfile.TemporaryDirectory(prefix="troupe-bench-") as name:
        folder = Path(name)
        server = Server(folder, file_mb)
        try:
            for job, words in jobs(folder, server.port, small).items():
                for number in range(1, runs + 1):
                    for language in ("asyncio", "troupe"):
                        key = {"stage": "asyncio", "job": job, "language": language, "run": number}
                        progress.say(f"asyncio: {job}", f"{language}, run {number}")
                        if not results.find(**key):
                            results.add(**key, **once(job, language, words, folder))
        finally:
            server.close()


SAID = {
    "download": "8 files, {bytes:,} bytes in all, from nginx",
    "compute": "{jobs} times `sha256sum` of 40 MiB",
    "many": "{answers:,} answers of nginx, 100 at a time",
    "exchange": "{transactions:,} transactions, 10 at a time",
}


def table(results):
    lines = ["| | | time, s | timers late, p99 ms | memory, MB |", "|---|---|---|---|---|"]
    for job, said in SAID.items():
        for language in ("asyncio", "troupe"):
            got = results.find(stage="asyncio", job=job, language=language)
            if got:
                time_s, late = (median(line[key] for line in got) for key in ("seconds", "lag_p99_ms"))
                memory = median(line["memory_mb"] + (line["children_mb"] if job == "exchange" else 0) for line in got)
                what = said.format(**got[0]) if language == "asyncio" else ""
                lines.append(f"| {what} | {language} | {time_s:.2f} | {late:.2f} | {memory:.1f} |")
    head = results.head
    machine = head["machine"]
    return "\n".join(lines) + f"""

Medians of {len(results.find(stage='asyncio')) // 8}, by `./dev bench asyncio`, on {head['date']}: {machine['cpu']},
{machine['cores']} cores, Linux {machine['kernel']}, Python {head['versions']['asyncio']}, troupe {', '.join(results.programs(stage='asyncio'))}.
"""


def write(results, path):
    report.between(path, BEGIN, END, table(results))
