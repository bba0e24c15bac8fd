#!/usr/bin/python3
"""Measures how fast chatd is, against a bare program and other servers in the same minutes (docs/performance.md).

    tests/bench/speed.py [--build build/release] [--only NAME ...] [--json FILE] [--plots FOLDER]

Each comparison alternates (A B C A B C ...) and takes medians. CPU of delivery is chatd without the threads of its
log, which are told beside it. --dir is on the disk that logs are to be measured on. Quick (--quick) is for tests:
small counts, correctness only, nothing that depends on the machine's speed.
"""
import statistics
import sys
import tempfile
import time

import harness
import speed_plots
from speed_bench import (NAMES, SpeedBench, figure, median, percentile99, ratios, spread, values, wait_for_crowd)

# name: (limit, of what)
LIMITS = {
    "gathered, of the floor": (2.0, "CPU a delivery with 64 posts under way"),
    "gathered, of gorilla": (1 / 10, "10 x less than the gorilla hub in the same run"),
    "gathered, us": (0.25, "6 x less than uWebSockets 20.79's 1.5 us, measured elsewhere"),
    "paced, of the floor": (1.10, "CPU a delivery at 50 posts/s"),
    "paced, p99 of the floor's": (1.2, "with the memory log"),
    "paced, pace ms": (2.0, "log-pace, which SQLite may add, with ..."),
    "paced, syncs": (2, "... so many fdatasyncs"),
    "rooms, of the floor": (1.25, "CPU a delivery in 1,000 rooms"),
    "pair, us": (25.0, "CPU of a post in a room of 2, without the log's threads"),
    "pair, log us": (20.0, "CPU of a post in the log's threads"),
    "idle, B": (640, "memory of an idle client, at 15,000"),
    "open, p99 ms": (15.0, "at 2,000 posts/s"),
    "open, rate": (5000, "posts/s that are to be reached with ..."),
    "open, p99 ms at the rate": (20.0, "... this p99 ..."),
    "open, lag ms": (100.0, "... and nothing lagging: no member is behind by more"),
    "bystander, p99 ms": (20.0, "in a room of 10 beside a large one"),
    "connect, us": (60.0, "CPU to connect, upgrade, join"),
    "connect, frames": (10, "frames each until the first post, so O(n) in all"),
    "stalled, p99 of the same": (1.2, "of the same run without stalled ones"),
    "stalled, KiB": (64, "memory of each beyond the log"),
    "scale, of the floor": (1.5, "CPU a delivery in every cell"),
}

FRAME = 150  # bytes of an entry's frame in `open`
CONTENT_MIN = 16
RATES = (3000, 4000, 5000, 6000, 8000, 10000, 12000, 16000, 20000)
SIZES = (16, 128, 1024, 16384, 65536)
MEMBERS = (10, 100, 1000, 10000)
ROOMS = (1, 10, 100, 1000, 10000)
POSTED_MAX = 16 << 20  # bytes of content a second, in `scale`
CHATD = ("sqlite", "memory")
CPU = "cpu_us_per_delivery"


def limit(name):
    return LIMITS[name][0]


def judge(bench, bar, figure_text, name, value, form="{:g}", at_least=False, well=True):
    """A row with the limit of that name."""
    good = value >= limit(name) if at_least else value <= limit(name)
    bench.row(bar, figure_text, form.format(limit(name)), bench.limit(good and well))


def judge_ratio(bench, bar, found, name, form="{:g} x"):
    text = "x " + spread(found, "{:.3f}" if limit(name) < 1 else "{:.2f}")
    judge(bench, bar, text, name, statistics.median(found), form)


def all_kinds(bench):
    return ["floor", *CHATD, *bench.peers]


def speed_of(runs):
    return statistics.median(run["deliveries"] / (run["post_seconds"] + run["drain_seconds"]) for run in runs)


def rows_of(bench, bar, found):
    """What each kind of server needed."""
    for kind, runs in found.items():
        log = f"; log {median(runs, 'log_us_per_post'):.1f} us a post" if kind == "sqlite" else ""
        bench.row(f"{bar}, {NAMES[kind]}", f"{spread(values(runs, CPU), '{:.3f}')} us CPU a delivery{log}", "", None)
        bench.row("", f"{speed_of(runs) / 1e6:.2f} M deliveries/s; p50 {median(runs, 'p50_ms'):.2f}, "
                  f"p99 {spread(values(runs, 'p99_ms'))} ms", "", None)


# -------------------------------------------------------------------------------------------------- CPU of a delivery

def bar_gathered(bench):
    """One room, 64 posts under way: many entries ride in a write."""
    load = {"clients": 50, "posts": 200} if bench.quick else {"clients": 1000, "seconds": 2}
    found = bench.alternate("gathered", all_kinds(bench), {"size": 128, "outstanding": 64, **load})
    rows_of(bench, "gathered", found)
    for kind in CHATD:
        judge_ratio(bench, f"  {NAMES[kind]}, of the floor", ratios(found[kind], found["floor"], CPU),
                    "gathered, of the floor")
        if "gorilla" in found:
            judge_ratio(bench, f"  {NAMES[kind]}, of gorilla", ratios(found[kind], found["gorilla"], CPU),
                        "gathered, of gorilla", "{:.3f} x")
        judge(bench, f"  {NAMES[kind]}, for itself", f"{median(found[kind], CPU):.3f} us", "gathered, us",
              median(found[kind], CPU), "{:g} us")


def bar_paced(bench):
    """One room, 50 posts a second: nothing can be gathered."""
    load = {"clients": 50, "seconds": 0.5} if bench.quick else {"clients": 1000, "seconds": 4}
    disk, syncs = harness.Disk(bench.folder / "disk"), []

    def sync():
        for _ in range(5 if bench.quick else 100):
            syncs.append(disk.write(1) * 1000)
            time.sleep(0.002)
    found = bench.alternate("paced", all_kinds(bench), {"size": 128, "rate": 50, **load}, between=sync)
    disk.close()
    bench.keep("paced_syncs_ms", syncs)
    rows_of(bench, "paced", found)
    for kind in CHATD:
        judge_ratio(bench, f"  {NAMES[kind]}, of the floor", ratios(found[kind], found["floor"], CPU),
                    "paced, of the floor")
    judge_ratio(bench, "  p99, memory log, of the floor's", ratios(found["memory"], found["floor"], "p99_ms"),
                "paced, p99 of the floor's")
    floor, sqlite, p99 = median(found["floor"], "p99_ms"), median(found["sqlite"], "p99_ms"), percentile99(syncs)
    most = limit("paced, p99 of the floor's") * floor + limit("paced, pace ms") + limit("paced, syncs") * p99
    bench.row("  p99, SQLite", f"{sqlite:.2f} ms; bare write and fdatasync of 4 KiB: p50 {statistics.median(syncs):.2f}, "
              f"p99 {p99:.2f} ms", f"{most:.2f} ms", bench.limit(sqlite <= most))


def bar_rooms(bench):
    """1,000 rooms of 10 members, 2,000 posts a second."""
    load = {"clients": 50, "rooms": 5, "rate": 200, "seconds": 0.5} if bench.quick else \
        {"clients": 10000, "rooms": 1000, "rate": 2000, "seconds": 3, "ramp": 128}
    found = bench.alternate("rooms", ["floor", *CHATD], {"size": 128, **load})
    rows_of(bench, "rooms", found)
    for kind in CHATD:
        judge_ratio(bench, f"  {NAMES[kind]}, of the floor", ratios(found[kind], found["floor"], CPU), "rooms, of the floor")


def bar_pair(bench):
    """A room of 2, 5,000 posts a second: what a post costs, all in."""
    load = {"rate": 500, "seconds": 0.5} if bench.quick else {"rate": 5000, "seconds": 3}
    found = bench.alternate("pair", CHATD, {"clients": 2, "size": 128, **load})
    for kind, runs in found.items():
        judge(bench, f"post in a room of 2, {NAMES[kind]}", f"{spread(values(runs, 'cpu_us_per_post'), '{:.1f}')} us CPU",
              "pair, us", median(runs, "cpu_us_per_post"), "{:g} us")
    logs = values(found["sqlite"], "log_us_per_post")
    judge(bench, "  in the log's threads", f"{spread(logs, '{:.1f}')} us CPU", "pair, log us", statistics.median(logs),
          "{:g} us")


# ----------------------------------------------------------------------------------------------------------- open loop

def keeps_up(run):
    return (run["well"] and run["p99_ms"] <= limit("open, p99 ms at the rate")
            and figure(run, "lag_ms") <= limit("open, lag ms"))


def highest_rate(bench, kind, load, first):
    """Searches by steps, the better of two tries each: (rate or 0, [(rate, figures)])."""
    reached, tried = first["rate"] if keeps_up(first["run"]) else 0, [(first["rate"], first["run"])]
    for rate in RATES:
        best = None
        for number in range(2):
            bench.step(f"open, {NAMES[kind]}, {rate:,} posts/s, try {number + 1}")
            run = bench.once(kind, **load, rate=rate)
            best = run if not best or run["p99_ms"] < best["p99_ms"] else best
            if keeps_up(best):
                break
        tried.append((rate, best))
        if not keeps_up(best):
            break
        reached = rate
    return reached, tried


def bar_open(bench):
    """One room, small frames, posts at a fixed rate whatever happens: latency, and how far it goes."""
    small = bench.entry_size(CONTENT_MIN)
    size = max(CONTENT_MIN, CONTENT_MIN + FRAME - small)
    rate, load = (500, {"clients": 20, "size": size, "seconds": 0.3}) if bench.quick else \
        (2000, {"clients": 1000, "size": size, "seconds": 4})
    bench.row("open loop", f"frames of {small + size - CONTENT_MIN} B, content {size} B", "", None)
    found = bench.alternate("open", ["floor", *CHATD], {**load, "rate": rate})
    for kind, runs in found.items():
        text = f"p99 {spread(values(runs, 'p99_ms'))} ms; at most {max(values(runs, 'lag_max')):,} behind"
        if kind == "floor":
            bench.row(f"  {rate:,} posts/s, {NAMES[kind]}", text, "", None)
        else:
            judge(bench, f"  {rate:,} posts/s, {NAMES[kind]}", text, "open, p99 ms", median(runs, "p99_ms"), "{:g} ms")
    if bench.quick:
        return
    searched = {}
    for kind, runs in found.items():
        middle = sorted(runs, key=lambda run: run["p99_ms"])[len(runs) // 2]
        reached, searched[kind] = highest_rate(bench, kind, dict(load, seconds=5), {"rate": rate, "run": middle})
        text = f"{reached:,} posts/s, {reached * load['clients'] / 1e6:.1f} M deliveries/s"
        if kind == "floor":
            bench.row(f"  the most, {NAMES[kind]}", text, "", None)
        else:
            judge(bench, f"  the most, {NAMES[kind]}", text, "open, rate", reached, "{:,} posts/s", at_least=True)
        for at, run in searched[kind]:
            bench.row(f"    {at:,} posts/s", f"p99 {run['p99_ms']:.1f} ms, {run['lag_max']:,} behind; own CPU of chatbench "
                      f"{100 * run['own_cpu_seconds'] / (run['post_seconds'] + run['drain_seconds']):.0f} %", "", None)
    bench.keep("open_rates", searched)


# ------------------------------------------------------------------------------------------------------------ together

def quiet(bench, server, seconds, **_):
    return bench.load(server, "ws", clients=10, rate=20, seconds=seconds, room_prefix="bystander"), None


def while_posting(bench, server, seconds, members):
    """The crowd is there and posts before the bystanders come, and until they have gone."""
    settle = 0.1 if bench.quick else 2
    crowd = bench.begin(server, "ws", clients=members, rate=20, seconds=seconds + 2, settle=settle, ramp=128,
                        room_prefix="crowd")
    wait_for_crowd(crowd, members)
    time.sleep(settle + 0.5)
    run, _ = quiet(bench, server, seconds)
    return run, crowd.end()


def while_joining(bench, server, seconds, members):
    """The crowd comes when the bystanders begin to post, half a second after they joined."""
    bystanders = bench.begin(server, "ws", clients=10, rate=20, seconds=seconds, room_prefix="bystander")
    time.sleep(0.5)
    crowd = bench.begin(server, "ws", clients=members, posts=1, rate=1, ramp=128, room_prefix="crowd")
    return bystanders.end(), crowd.end()


def bar_bystander(bench):
    """A room of 10 beside one of 10,000 that gets 20 posts a second, or that is being joined."""
    members, seconds = (200, 0.5) if bench.quick else (10000, 3)
    found = {}
    for number in range(bench.few):
        for kind in CHATD:
            for how, name in ((quiet, "quiet"), (while_posting, "posts"), (while_joining, "joining")):
                bench.step(f"bystander, {name}, {NAMES[kind]}, {number + 1} of {bench.few}")
                with bench.serving(kind) as server:
                    found.setdefault((name, kind), []).append(how(bench, server, seconds=seconds, members=members))
    bench.keep("bystander", {f"{name}, {kind}": pairs for (name, kind), pairs in found.items()})
    for (name, kind), pairs in found.items():
        runs, crowds = [run for run, _ in pairs], [crowd for _, crowd in pairs if crowd]
        well = all(run["well"] for run in runs + crowds)
        beside = {"quiet": "", "posts": f"; the crowd's {median(crowds, 'p99_ms'):.0f} ms" if crowds else "",
                  "joining": f"; they joined in {median(crowds, 'join_seconds'):.1f} s" if crowds else ""}[name]
        text = f"p99 {spread(values(runs, 'p99_ms'), '{:.1f}')} ms{beside}"
        bad = next((run for run in runs + crowds if not run["well"]), None)
        if bad:
            bench.row(f"bystanders, {name}, {NAMES[kind]}", "not all arrived", "all, once, in order", False, bad)
        if name == "quiet":
            bench.row(f"bystanders, {name}, {NAMES[kind]}", text, "", None)
        else:
            judge(bench, f"bystanders, {name}, {NAMES[kind]}", text, "bystander, p99 ms", median(runs, "p99_ms"), "{:g} ms",
                  well=well)


def bar_connect(bench):
    """10,000 clients connect, upgrade, and join one room."""
    load = {"clients": 200, "settle": 0.5} if bench.quick else {"clients": 10000, "settle": 2}
    found = bench.alternate("connect", CHATD, {"posts": 1, "rate": 10, "ramp": 128, **load}, runs=bench.few)
    for kind, runs in found.items():
        judge(bench, f"{load['clients']:,} connect, {NAMES[kind]}",
              f"{spread(values(runs, 'connect_cpu_us'), '{:.1f}')} us CPU each, in {median(runs, 'join_seconds'):.1f} s",
              "connect, us", median(runs, "connect_cpu_us"), "{:g} us")
        judge(bench, "  frames", f"{median(runs, 'join_frames_mean'):.1f} each, at most {max(values(runs, 'join_frames_max'))}",
              "connect, frames", median(runs, "join_frames_mean"))


def bar_stalled(bench):
    """1 % of the members read nothing for a minute, while 32 MiB are posted."""
    few = 1 if bench.quick else 10
    load = {"clients": 20, "posts": 1000, "rate": 500, "stall_seconds": 2.5} if bench.quick else \
        {"clients": 1000, "posts": 2048, "rate": 34, "stall_seconds": 63}  # posted in 60; then memory is at rest
    pairs = []
    for number in range(bench.few):
        bench.step(f"stalled, without, {number + 1} of {bench.few}")
        without = bench.once("sqlite", size=16384, **load)
        bench.step(f"stalled, {few} clients, {number + 1} of {bench.few}")
        pairs.append((without, bench.once("sqlite", size=16384, stall=few, **load)))
    bench.keep("stalled", pairs)
    slow = [pair[1] for pair in pairs]
    posted = load["posts"] * 16384
    behind = all(run["lag_min"] * 16384 > run["kernel_max"] + posted // 4 for run in slow)
    bench.row(f"{few} of {load['clients']:,} stalled", f"{slow[0]['lag_min']:,} of {load['posts']:,} behind, "
              f"{slow[0]['kernel_max'] / 1024:,.0f} KiB in the kernel; then all", "all, once, in order",
              all(run["well"] and run["gaps"] == 0 for run in slow) and behind)
    if bench.quick:
        return
    judge_ratio(bench, "  p99 of the others", ratios(slow, [pair[0] for pair in pairs], "p99_ms"), "stalled, p99 of the same")
    extra = [(with_it["pss_posted"] - without["pss_posted"]) / few / 1024 for without, with_it in pairs]
    judge(bench, "  memory for each", f"{spread(extra, '{:.0f}')} KiB", "stalled, KiB", statistics.median(extra), "{:g} KiB")


def bar_idle(bench):
    """15,000 joined clients with names: memory of one more."""
    most, rooms = (500, 10) if bench.quick else (15000, 100)
    load = {"rooms": rooms, "posts": rooms, "rate": 100, "ramp": 128, "size": 128, "idle": 0.1 if bench.quick else 6}
    for kind, runs in (("sqlite", min(bench.few, 2)), ("floor", 1)):
        many = bench.alternate(f"idle_{kind}", [kind], {**load, "clients": most}, runs=runs)[kind]
        few = bench.alternate(f"idle_{kind}_base", [kind], {**load, "clients": rooms}, runs=runs)[kind]
        each = [(a["pss_end"] - b["pss_end"]) / (most - rooms) for a, b in zip(many, few)]
        text = f"{spread(each, '{:.0f}')} B, at {most:,}"
        if kind == "floor":
            bench.row(f"idle client, {NAMES[kind]}", text, "", None)
        else:
            judge(bench, f"idle client, {NAMES[kind]}", text, "idle, B", statistics.median(each), "{:g} B")


# --------------------------------------------------------------------------------------------------------------- scale

def cell_rate(members, size):
    """Posts a second that keep the floor's core busy to about a fifth; not more than a disk takes of them."""
    rate = 0.2 / (12e-6 + members * (3.5e-6 + size * 0.15e-9))
    return max(1, round(min(rate, POSTED_MAX / size)))


def cells(bench):
    """(axis, name of the cell's line, place on the axis, load)"""
    if bench.quick:
        return [("16 members", 16, {"clients": 16, "size": 128, "posts": 20, "rate": 100}),
                ("16 members", 65536, {"clients": 16, "size": 65536, "posts": 20, "rate": 50}),
                ("rooms", 8, {"clients": 16, "rooms": 8, "size": 128, "posts": 20, "rate": 100})]
    found = []
    for members in MEMBERS:
        for size in SIZES:
            found.append((f"{members:,} members", size, {"clients": members, "size": size, "rate": cell_rate(members, size)}))
    for rooms in ROOMS:
        load = {"clients": 10000, "rooms": rooms, "size": 128, "rate": cell_rate(10000 // rooms, 128)}
        found.append(("rooms", rooms, load))
    return [(line, at, dict(load, ramp=128, seconds=max(2, 4 / load["rate"]))) for line, at, load in found]


def bar_scale(bench):
    """Cost against size: members, content, rooms; the same rate for all servers in a cell."""
    kept = []
    runs = 1 if bench.quick else max(1, bench.runs // 5)
    for line, at, load in cells(bench):
        what = f"{at:,} rooms of {load['clients'] // at:,}" if line == "rooms" else f"{line}, {at:,} B"
        options = ("--max-content", "64k", "--max-message", "128k")
        found = bench.alternate(f"scale, {what}", ["floor", *CHATD], load, runs=runs, options=options)
        cost = {kind: median(some, CPU) for kind, some in found.items()}
        kept.append({"line": line, "at": at, "cost": cost, "rate": load["rate"]})
        of_floor = {kind: statistics.median(ratios(found[kind], found["floor"], CPU)) for kind in CHATD}
        judge(bench, f"scale, {what}", f"floor {cost['floor']:.3f} us; {load['rate']:,}/s; "
              + ", ".join(f"{kind} {of_floor[kind]:.2f} x" for kind in CHATD), "scale, of the floor",
              max(of_floor.values()), "{:g} x")
    bench.keep("scale", kept)


# ----------------------------------------------------------------------------------------------------------------- all

# name: (how, seconds that it takes)
BARS = {
    "gathered": (bar_gathered, lambda bench: bench.runs * (3 + len(bench.peers)) * 3.4),
    "paced": (bar_paced, lambda bench: bench.runs * ((3 + len(bench.peers)) * 5.2 + 0.5)),
    "rooms": (bar_rooms, lambda bench: bench.runs * 3 * 5.5),
    "pair": (bar_pair, lambda bench: bench.runs * 2 * 4),
    "open": (bar_open, lambda bench: bench.runs * 3 * 5.2 + 3 * 6 * 7),
    "bystander": (bar_bystander, lambda bench: bench.few * 2 * 18),
    "connect": (bar_connect, lambda bench: bench.few * 2 * 4.5),
    "stalled": (bar_stalled, lambda bench: bench.few * 2 * 66),
    "idle": (bar_idle, lambda bench: (min(bench.few, 2) + 1) * 22),
    "scale": (bar_scale, lambda bench: max(1, bench.runs // 5) * (20 * 3 * 3.9 + 5 * 3 * 5)),
}


def measure_all(bench, names):
    took = {name: 0 if bench.quick else BARS[name][1](bench) for name in names}
    if not bench.quick:
        print(f"speed.py: {', '.join(names)}; this takes about {sum(took.values()) / 60:.0f} minutes", flush=True)
    for number, name in enumerate(names):
        bench.begin_bar(took[name], sum(took[later] for later in names[number + 1:]))
        try:
            BARS[name][0](bench)
        except harness.Failed as failed:  # what the others measured is not lost
            print(f"speed.py: {failed}", file=sys.stderr, flush=True)
            bench.row(name, "could not be measured", "", False)


def measure(args):
    if not args.quick:
        harness.check_folder(args.dir)
    with tempfile.TemporaryDirectory(prefix="speed-", dir=args.dir) as folder:
        bench = SpeedBench(harness.paths(args, PROGRAMS), folder, args)
        bench.keep("limits", {name: {"limit": value, "source": source} for name, (value, source) in LIMITS.items()})
        measure_all(bench, args.only or list(BARS))
    if args.plots:
        speed_plots.draw(bench.figures, args.plots)
    return bench


PROGRAMS = ["chatd", "chatbench", "floor"]


def main():
    parser = harness.parser(__doc__, PROGRAMS, BARS)
    parser.add_argument("--runs", type=int, default=5, help="how often each comparison is repeated (5)")
    parser.add_argument("--dir", default="/var/tmp", help="folder on the disk for logs (/var/tmp)")
    parser.add_argument("--plots", help="draw plots (SVG) into this folder")
    return harness.run(measure, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
