"""Charts by gnuplot, one style: bars for each contestant, a logarithmic axis, whiskers from least to most."""
import subprocess
import textwrap

import compare
import measure
import plan

COLOURS = {"troupe": "#0b6aa8", "go": "#e69f00", "erlang": "#a03a80", "caf": "#6b5b00", "asyncio": "#8a949e",
           "troupe-key": "#6fb1de", "nng-stream": "#2e8b57", "nng-push": "#9bd1b0", "nng-batch": "#5fae83"}

STYLE = """
set terminal svg size {width},{height} dynamic font 'DejaVu Sans,Helvetica,sans-serif,13' background '#ffffff'
set output '{svg}'
set datafile missing 'NaN'
set border 3 lc rgb '#5a6672'
set tics nomirror textcolor rgb '#17202a'
set grid ytics lc rgb '#d5dbe1' lw 1
set title "{title}\\n{subtitle}" textcolor rgb '#17202a' font ',15'
set key {key}
"""


def escaped(text):
    return text.replace("_", "\\\\_").replace('"', "'")


def subtitle(head, width):
    """Machine, versions, command, date; in as many lines as the width needs."""
    machine, versions = head["machine"], head["versions"]
    names = [f"{plan.PEERS[peer]} {versions[peer]}" for peer in plan.PEERS if peer in versions]
    text = (f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']} · {', '.join(names)} · "
            f"./dev bench · {head['date']}")
    return "\\n".join("{/=10 " + escaped(line) + "}" for line in textwrap.wrap(text, int(width / 6.2)))


def gnuplot(script):
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise SystemExit(f"bench: gnuplot: {done.stderr[-2000:]}")


def number(value):
    return "NaN" if value is None else f"{value:.6g}"


def digits(value):
    if value >= 999.5:
        return f"{value / 1000:.0f}k" if value >= 9950 else f"{value / 1000:.1f}k"
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"


def bars(svg, head, title, unit, rows, contestants, labels=None, width=900, bottom=None):
    """rows: (label, {contestant: (median, least, most)})."""
    body, label_lines = [], []
    step = 1 / (len(contestants) + 1.5)  # a group is 1 wide, with room of one and a half bars between
    for column, who in enumerate(contestants):
        lines = []
        for at, (_, values) in enumerate(rows):
            median, least, most = values.get(who, (None, None, None))[:3]
            x = at + (column - (len(contestants) - 1) / 2) * step
            lines.append(f"{x:.4f} {number(median)} {number(least)} {number(most)}")
            if median is not None:
                label_lines.append(f'set label "{digits(median)}" at {x:.4f},{most:.6g} center offset 0,0.55 '
                                   f"font ',9' textcolor rgb '#17202a'")
        body.append("$d%d << EOD\n%s\nEOD" % (column, "\n".join(lines)))
    tics = ", ".join(f'"{escaped(label)}" {at}' for at, (label, _) in enumerate(rows))
    values = [v for _, row in rows for triple in row.values() for v in triple[1:3] if v]
    low, high = bottom or min(values) / 2.5, max(values) * 2
    colour = {who: COLOURS.get(who, list(COLOURS.values())[at % 5]) for at, who in enumerate(contestants)}
    plots = []
    for column, who in enumerate(contestants):
        name = escaped((labels or plan.PEERS)[who])
        plots.append(f"$d{column} using 1:2:({step * 0.92:.4f}) with boxes fs solid 0.9 noborder lc rgb '{colour[who]}' "
                     f"title '{name}'")
        plots.append(f"$d{column} using 1:3:(0):($4-$3) with vectors heads size graph 0.004,90 lw 1.4 "
                     "lc rgb '#17202a' notitle")
    gnuplot(STYLE.format(width=width, height=420, svg=svg, title=title, subtitle=subtitle(head, width),
                         key="outside right center vertical Left reverse samplen 1.2 spacing 1.3") + "\n".join(body) + f"""
set logscale y
set ylabel '{unit}' textcolor rgb '#17202a'
set yrange [{low:.6g}:{high:.6g}]
set xrange [-0.6:{len(rows) - 0.4}]
set xtics scale 0 ({tics})
{chr(10).join(label_lines)}
plot {", ".join(plots)}
""")


def rows_of(results, wanted):
    rows = []
    for workload in plan.WORKLOADS:
        for metric in workload.metrics:
            if metric.unit not in wanted:
                continue
            values = {peer: compare.best_of(results, workload, metric, peer) for peer in plan.PEERS}
            values = {peer: value for peer, value in values.items() if value}
            if values:
                rows.append((metric.label or workload.key, values))
    return rows


def here(rows):
    return [peer for peer in plan.PEERS if any(peer in values for _, values in rows)]


CHARTS = [
    ("performance-times.svg", "Time of one operation: less is better", "ns", ("ns",), 1100),
    ("performance-rates.svg", "Messages a second: more is better", "million a second", ("M/s",), 900),
    ("performance-fib.svg", "Fibonacci by actors: less is better", "ms", ("ms",), 620),
    ("performance-memory.svg", "An idle actor, of a million: less is better", "bytes", ("bytes",), 520),
]


def draw_peers(results, into):
    drawn = []
    for file, title, unit, wanted, width in CHARTS:
        rows = rows_of(results, wanted)
        if rows:
            bars(into / file, results.head_of("peers"), title, unit, rows, here(rows), width=width)
            drawn.append(file)
    return drawn


def draw_scaling(results, into):
    modes = compare.modes_of("troupe")
    rows = []
    for workload in plan.SCALING:
        metric, values = workload.metrics[0], {}
        base = measure.series(results, metric.name, stage="scaling", workload=workload.key, mode=modes[0])
        for mode in modes:
            got = measure.series(results, metric.name, stage="scaling", workload=workload.key, mode=mode)
            if got and base:
                speeds = [value / base[0] if metric.more_is_better else base[0] / value for value in got[:3]]
                values[mode] = (speeds[0], min(speeds), max(speeds))
        if values:
            rows.append((f"{workload.key}: {metric.target} asked for at 2", values))
    if not rows:
        return []
    file = "performance-scaling.svg"
    scaling(into / file, results.head_of("scaling"), rows, modes)
    return [file]


def scaling(svg, head, rows, modes):
    """Speed against one loop, by the number of loops, beside the line where each loop brings its whole."""
    blocks, plots = [], []
    for at, (label, values) in enumerate(rows):
        lines = [f"{int(mode.split()[0])} {' '.join(number(v) for v in values[mode])}" for mode in modes if mode in values]
        blocks.append("$d%d << EOD\n%s\nEOD" % (at, "\n".join(lines)))
        colour = list(COLOURS.values())[at]
        plots.append(f"$d{at} using 1:2:3:4 with yerrorbars pt 7 ps 0.9 lw 1.4 lc rgb '{colour}' title '{escaped(label)}'")
        plots.append(f"$d{at} using 1:2 with lines lw 2 lc rgb '{colour}' notitle")
    most = int(modes[-1].split()[0])
    speeds = [value for _, values in rows for triple in values.values() for value in triple]
    low, high = min(0.8, min(speeds) / 1.1), max(most, max(speeds)) * 1.5
    gnuplot(STYLE.format(width=620, height=400, svg=svg, title="More loops: speed against one", subtitle=subtitle(head, 620),
                         key="top left Left reverse samplen 1.4") + "\n".join(blocks) + f"""
set xlabel 'loops'
set ylabel 'times as fast as one loop'
set logscale xy 2
set xrange [0.9:{most * 1.15}]
set yrange [{low:.3g}:{high:.3g}]
set xtics ({", ".join(mode.split()[0] for mode in modes)})
plot x with lines dt 2 lc rgb '#8a949e' title 'each loop brings its whole', {", ".join(plots)}
""")


def curves(svg, head, title, x, y, lines):
    """lines: {name: [(x, y, least, most)]}; both axes logarithmic."""
    blocks, plots = [], []
    for at, (name, points) in enumerate(lines.items()):
        blocks.append("$d%d << EOD\n%s\nEOD" % (at, "\n".join(" ".join(number(v) for v in point) for point in points)))
        colour = list(COLOURS.values())[at % len(COLOURS)]
        plots.append(f"$d{at} using 1:2 with lines lw 2 lc rgb '{colour}' notitle")
        plots.append(f"$d{at} using 1:2:3:4 with yerrorbars pt 7 ps 0.7 lw 1.4 lc rgb '{colour}' title '{escaped(name)}'")
    gnuplot(STYLE.format(width=900, height=440, svg=svg, title=title, subtitle=subtitle(head, 900),
                         key="outside right center vertical Left reverse samplen 1.2 spacing 1.3") + "\n".join(blocks) + f"""
set xlabel '{x}' textcolor rgb '#17202a'
set ylabel '{y}' textcolor rgb '#17202a'
set logscale xy
set xtics ("16" 16, "64" 64, "256" 256, "1 K" 1024, "4 K" 4096, "16 K" 16384, "64 K" 65536, "256 K" 262144, "1 M" 1048576)
plot {", ".join(plots)}
""")


def loads(svg, head, lines):
    """lines: {name: [(asks outstanding, p50, p99)]}; both axes logarithmic."""
    blocks, plots = [], []
    for at, (name, points) in enumerate(lines.items()):
        blocks.append("$d%d << EOD\n%s\nEOD" % (at, "\n".join(" ".join(number(v) for v in point) for point in points)))
        colour = list(COLOURS.values())[at % len(COLOURS)]
        plots.append(f"$d{at} using 1:2 with linespoints pt 7 ps 0.6 lw 2 lc rgb '{colour}' title '{escaped(name)}, p50'")
        plots.append(f"$d{at} using 1:3 with linespoints pt 6 ps 0.6 lw 1.4 dt 2 lc rgb '{colour}' title 'p99'")
    at_x = ", ".join(f'"{point[0]:,}" {point[0]}' for point in max(lines.values(), key=len))
    gnuplot(STYLE.format(width=900, height=440, svg=svg, title="Latency under load: less is better", subtitle=subtitle(head, 900),
                         key="outside right center vertical Left reverse samplen 2 spacing 1.2") + "\n".join(blocks) + f"""
set xlabel 'asks outstanding' textcolor rgb '#17202a'
set ylabel 'us' textcolor rgb '#17202a'
set logscale xy
set xtics ({at_x})
plot {", ".join(plots)}
""")


def hot(svg, head, points):
    """points: (times its load, % of what it carries, least, most)."""
    lines = "\n".join(" ".join(number(v) for v in point) for point in points)
    most = max(100, *(point[3] for point in points))
    gnuplot(STYLE.format(width=720, height=360, svg=svg, title="A hot participant: committed against offered",
                         subtitle=subtitle(head, 720), key="bottom right Left reverse samplen 1.4") + f"""
$d << EOD
{lines}
EOD
set xlabel 'begun, times what it can carry' textcolor rgb '#17202a'
set ylabel 'committed, % of what it can carry' textcolor rgb '#17202a'
set xrange [0:{points[-1][0] * 1.05:.3g}]
set yrange [0:{most * 1.15:.4g}]
plot 70 with lines dt 2 lc rgb '#8a949e' title 'asked for', \\
     $d using 1:2 with lines lw 2 lc rgb '{COLOURS["troupe"]}' notitle, \\
     $d using 1:2:3:4 with yerrorbars pt 7 ps 0.8 lw 1.4 lc rgb '{COLOURS["troupe"]}' title 'committed'
""")


def clients(svg, head, points):
    """points: (clients, commits/s, least, most, p50 ms, p99 ms)."""
    lines = "\n".join(" ".join(number(v) for v in point) for point in points)
    tics = ", ".join(f'"{point[0]:,}" {point[0]}' for point in points)
    most = max(point[3] for point in points)
    gnuplot(STYLE.format(width=820, height=400, svg=svg, title="Client apps at one server",
                         subtitle=subtitle(head, 820), key="outside bottom center horizontal samplen 1.6") + f"""
$d << EOD
{lines}
EOD
set xlabel 'clients' textcolor rgb '#17202a'
set ylabel 'committed a second' textcolor rgb '#17202a'
set y2label 'ms' textcolor rgb '#17202a'
set border 11 lc rgb '#5a6672'
set y2tics
set logscale x
set logscale y2
set xtics ({tics})
set xrange [{points[0][0] * 0.8:.3g}:{points[-1][0] * 1.25:.4g}]
set yrange [0:{most * 1.25:.4g}]
plot $d using 1:2 with lines lw 2 lc rgb '{COLOURS["troupe"]}' notitle, \
     $d using 1:2:3:4 with yerrorbars pt 7 ps 0.8 lw 1.4 lc rgb '{COLOURS["troupe"]}' title 'committed a second', \
     $d using 1:5 axes x1y2 with linespoints pt 6 ps 0.7 lw 1.4 lc rgb '{COLOURS["go"]}' title 'p50, ms', \
     $d using 1:6 axes x1y2 with linespoints pt 6 ps 0.7 lw 1.4 dt 2 lc rgb '{COLOURS["erlang"]}' title 'p99, ms'
""")


def draw_overload(head, samples, into):
    """samples: (s, MB), of docs/performance.md's flood."""
    file = "performance-overload.svg"
    lines = "\n".join(f"{at:.2f} {size:.3f}" for at, size in samples)
    most = max(size for _, size in samples)
    gnuplot(STYLE.format(width=720, height=320, svg=into / file, title="Memory under ten times what is handled",
                         subtitle=subtitle(head, 720), key="off") + f"""
$d << EOD
{lines}
EOD
set xlabel 's'
set ylabel 'MB resident'
set yrange [0:{most * 1.4:.3g}]
plot $d using 1:2 with lines lw 2 lc rgb '{COLOURS["troupe"]}'
""")
    return [file]
