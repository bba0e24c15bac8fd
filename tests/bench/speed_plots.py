"""Draws what speed.py measured, with gnuplot, as SVG: bars of the CPU of a delivery, and lines."""
import math
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from speed_bench import NAMES

FOLDER = pathlib.Path(__file__).resolve().parent
# Read well on white and on dark.
COLORS = {"floor": "#8c8c8c", "sqlite": "#e07b1f", "memory": "#2b8fd0", "gorilla": "#3fa34d", "ws": "#a866cc"}


def gnuplot(script, **variables):
    given = ";".join(f"{name}={value}" if isinstance(value, (int, float)) else f"{name}='{value}'"
                     for name, value in variables.items())
    done = subprocess.run(["gnuplot", "-e", given, str(FOLDER / script)], capture_output=True, text=True, timeout=60,
                          check=False)
    if done.returncode != 0:
        print(f"speed.py: gnuplot drew no {variables['out']}: {done.stderr.strip()}", flush=True)


def bars(found, folder, name, title):
    """found: {kind: [figures]}"""
    lines = []
    for kind, runs in found.items():
        cost = [run["cpu_us_per_delivery"] for run in runs]
        lines.append(f'"{NAMES[kind]}" {statistics.median(cost)} {min(cost)} {max(cost)} {int(COLORS[kind][1:], 16)}')
    with tempfile.TemporaryDirectory() as temporary:
        data = pathlib.Path(temporary) / "bars"
        data.write_text("\n".join(lines) + "\n")
        gnuplot("speed_bars.gp", data=data, out=folder / f"{name}.svg", title=title)


def apart(ends, space):
    """Labels beside lines' ends, moved up until none covers another. ends: {kind: y}; space: of one, in decades."""
    placed, before = {}, -math.inf
    for kind, y in sorted(ends.items(), key=lambda item: item[1]):
        before = max(math.log10(y), before + space)
        placed[kind] = 10 ** before
    return placed


def panel(path, found, space):
    """found: {kind: [(x, y)]}. A block of points for each, then one of labels: y, color, text."""
    ends = apart({kind: points[-1][1] for kind, points in found.items()}, space)
    blocks = ["\n".join(f"{x} {y} {int(COLORS[kind][1:], 16)}" for x, y in points) for kind, points in found.items()]
    blocks.append("\n".join(f'{y} {int(COLORS[kind][1:], 16)} "{NAMES[kind]}"' for kind, y in ends.items()))
    path.write_text("\n\n\n".join(blocks) + "\n")


def lines(panels, folder, name, xlabel, ylabel, xscale):
    """panels: {title: {kind: [(x, y)]}}; all with the same range of y. xscale: x for logarithms, or nothing."""
    ys = [y for found in panels.values() for points in found.values() for _, y in points]
    least, most = 0.7 * min(ys), 1.6 * max(ys)
    space = math.log10(most / least) / (10 if len(panels) > 1 else 18)
    xs = [[x for points in found.values() for x, _ in points] for found in panels.values()]
    shape = {"counts": map(len, panels.values()), "lefts": map(min, xs), "rights": map(max, xs)}
    with tempfile.TemporaryDirectory() as temporary:
        for number, (title, found) in enumerate(panels.items()):
            panel(pathlib.Path(temporary) / f"panel{number}", found, space)
            (pathlib.Path(temporary) / f"title{number}").write_text(title)
        gnuplot("speed_lines.gp", folder=temporary, out=folder / f"{name}.svg", panels=len(panels), xlabel=xlabel,
                ylabel=ylabel, least=least, most=most, xscale=xscale,
                **{each: " ".join(map(str, found)) for each, found in shape.items()})


def scale_panels(cells):
    """By members: cost against the content; then cost against rooms."""
    panels = {}
    for cell in cells:
        title = "10,000 members, 128 B, by number of rooms" if cell["line"] == "rooms" else \
            f"{cell['line']} of one room, by bytes of content"
        for kind, cost in cell["cost"].items():
            if cost > 0:
                panels.setdefault(title, {}).setdefault(kind, []).append((cell["at"], cost))
    return panels


def draw(figures, folder):
    """All plots that there are figures for."""
    if not shutil.which("gnuplot"):
        print("speed.py: no plots without gnuplot: apt-get install --no-install-recommends gnuplot-nox", flush=True)
        return
    folder = pathlib.Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name, title in (("gathered", "64 posts under way: µs of server CPU a delivery"),
                        ("paced", "50 posts a second: µs of server CPU a delivery")):
        if name in figures:
            bars(figures[name]["runs"], folder, name, title)
    if "open_rates" in figures:
        rates = {kind: [(rate, max(run["p99_ms"], 0.01)) for rate, run in tried]
                 for kind, tried in figures["open_rates"].items()}
        lines({"1,000 members, open loop: p99 in ms": rates}, folder, "open", "posts a second", "", "")
    if "scale" in figures:
        lines(scale_panels(figures["scale"]), folder, "scale", "", "µs of server CPU a delivery", "x")
