"""`./dev bench` without a benchmark's name: measures, and writes docs/performance.md with its charts.

Stages: peers (troupe beside the peers that are installed), scaling (troupe at more loops), accounting (what the counts
cost), remote (between two processes), tx (transactions), overload (a receiver that gets ten times what it handles), asyncio (the table of docs/from-asyncio.md).
Results are kept in build/bench/ as they come: a run that was interrupted goes on; --fresh begins its stages anew. docs/ is written
once all stages have results; those of a stage that isn't measured now stay, and the page says of which commit they are."""
import argparse
import subprocess
import sys

import accounting
import asyncio_table
import charts
import compare
import measure
import overload
import plan
import remote
import report
import tx

STAGES = ("peers", "scaling", "accounting", "remote", "tx", "overload", "asyncio")


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)}; none: all")
    parser.add_argument("--quick", action="store_true",
                        help="small, once: to try it out; nothing is written into docs/, but into build/bench/quick/")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured of these stages before")
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="workloads whose name has this in it; nothing is written into docs/")
    options = parser.parse_args()
    for stage in options.stages:
        if stage not in STAGES:
            parser.error(f"no stage {stage}: there are {', '.join(STAGES)}; `troupe bench --list` has the benchmarks")
    return options


def main():
    options = arguments()
    stages = options.stages or STAGES
    small = options.quick
    folder = measure.ROOT / "build/bench"
    work = folder / "quick" if small else folder
    progress = measure.Progress()
    progress.say("building the peers", "")
    peers = measure.Peers(folder / "peers")
    runs = 1 if small else 5
    results = measure.Results(work / "results.jsonl", measure.new_head(peers, runs, small), measure.program(),
                              options.fresh, stages)
    if results.resumed:
        print(f"{results.resumed} measurements are kept from before; --fresh begins anew")
    comparison = compare.Comparison(results, peers, progress, runs, small)
    try:
        if "peers" in stages:
            comparison.run_peers([one for one in plan.WORKLOADS if options.only in one.key])
        if "scaling" in stages:
            comparison.run_scaling()
        if "remote" in stages:
            remote.run(results, peers, progress, runs, small, options.only)
        if "tx" in stages:
            tx.run(results, progress, runs, small, options.only)
        for stage, module in (("accounting", accounting), ("overload", overload), ("asyncio", asyncio_table)):
            if stage in stages:
                module.run(results, progress, small)
    except KeyboardInterrupt:
        progress.end()
        sys.exit(f"interrupted; what was measured is kept in {results.path.relative_to(measure.ROOT)}")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        progress.end()
        sys.exit(f"bench: {error}")
    progress.end()
    whole = not small and not options.only and all(results.find(stage=stage) for stage in STAGES)
    docs = measure.ROOT / "docs" if whole else work  # a part of it isn't for the docs
    pictures = charts.draw_peers(results, docs) + charts.draw_scaling(results, docs)
    pictures += remote.draw(results, docs) + tx.draw(results, docs) + overload.draw(results, docs)
    page = report.write(results, peers, pictures, docs / "performance.md")
    if whole:
        report.show_in_readme(results, pictures, measure.ROOT / "README.md")
    if results.find(stage="asyncio"):
        asyncio_table.write(results, docs / "from-asyncio.md")
    print(f"written: {page.relative_to(measure.ROOT)} and {len(pictures)} charts beside it")
    sys.exit(report.say_verdicts(results))


main()
