#!/usr/bin/python3
"""Measures chatd against the bars of docs/performance.md: starts it, drives it with chatbench, prints a table.

    tests/bench/bars.py [--build build/release] [--only NAME ...] [--json FILE]

Quick (--quick) is for tests: small counts, correctness only, nothing that depends on the machine's speed.
"""
import concurrent.futures
import statistics
import sys

import harness


def arrived(run):
    return (f"{run['deliveries']:,} of {run['expected']:,}; p50 {run['p50_ms']:.1f}, "
            f"p99 {run['p99_ms']:.1f} ms; {run.get('cpu_us_per_delivery', 0):.2f} us CPU")


def bar_fanout(bench):
    """1,000 clients, one room, 200 posts of 128 B a second for 10 s: each once and in order."""
    clients, seconds, rate = (100, 1, 100) if bench.quick else (1000, 10, 200)
    for scheme in ("ws", "tcp"):
        with bench.chatd() as chatd:
            run = bench.load(chatd, scheme, clients=clients, rate=rate, seconds=seconds, size=128)
        whole = run["deliveries"] == run["expected"] == clients * seconds * rate
        bench.row(f"fan-out to {clients:,}, {scheme}", arrived(run), "all, once, in order", run["well"] and whole, run)
        bench.keep(f"fanout_{scheme}", run)


def bar_idle(bench):
    """10,000 members that posted once and received 100 entries, idle for 30 s: at most 1,024 B each."""
    clients, rooms, idle = (500, 5, 0.1) if bench.quick else (10000, 100, 30)
    common = {"rooms": rooms, "posts": clients, "rate": 1000, "size": 128, "ramp": 128, "idle": idle}
    with bench.chatd() as chatd:
        run = bench.load(chatd, "ws", clients=clients, posters=clients, **common)
    bench.keep("idle", run)
    if bench.quick:
        bench.row(f"{clients} idle clients", arrived(run), "all, once, in order", run["well"], run)
        return
    # The same entries in the same rooms with as few clients as can be: what log and code cost.
    with bench.chatd() as chatd:
        few = bench.load(chatd, "ws", clients=rooms, posters=rooms, **common)
    bench.keep("idle_few", few)
    growth, base = run["pss_end"] - run["pss_start"], few["pss_end"] - few["pss_start"]
    gross, net = growth / clients, (growth - base) / (clients - rooms)
    bench.row("idle client, log and all else", f"{gross:.0f} B of PSS each ({growth / 1024:,.0f} KiB)", "1,024 B",
              run["well"] and gross <= 1024, run)
    bench.row("  of that the client alone", f"{net:.0f} B (log, windows, code: {base / 1024:,.0f} KiB)", "", None, few)


def bar_join(bench):
    """10,000 clients join one room within seconds: at most 30 presence frames each."""
    clients, settle = (500, 2.5) if bench.quick else (10000, 10)
    with bench.chatd() as chatd:
        run = bench.load(chatd, "ws", clients=clients, posts=1, ramp=128, settle=settle)
    bench.row(f"{clients:,} join in {run['join_seconds']:.1f} s",
              f"{run['presence_mean']:.1f} presence frames each, at most {run['presence_end']}", "30",
              run["well"] and 0 < run["presence_end"] <= 30, run)
    bench.keep("join", run)


def stall_load(bench, stall, log_entries):
    if bench.quick:
        load = {"clients": 6, "posts": 2000, "rate": 1000, "stall_seconds": 2.5}
    else:
        load = {"clients": 21, "posts": 8000, "rate": 140, "stall_seconds": 60}
    if log_entries < load["posts"]:
        load["gaps_ok"] = True
    options = ["--log-entries", log_entries, "--log-bytes", "128m", "--log-total-bytes", "256m"]
    with bench.chatd(*options) as chatd:
        return bench.load(chatd, "ws", size=4096, stall=stall, **load)


def lagged(run):
    return f"{run['lag_min']:,} behind, {run['kernel_max'] / 1024:,.0f} KiB of them in the kernel"


def bar_stall(bench):
    """One reader stops for 60 s while 32 MB are posted, then gets all; others and memory hardly notice."""
    # Both runs of a pair at the same time, each with its own chatd: what else the machine does meets both.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pairs = [list(pool.map(lambda stall: stall_load(bench, stall, 10000), (0, 1))) for _ in range(bench.pairs)]
    bench.keep("stall_pairs", pairs)
    _, slow = pairs[0]
    posted = slow["sent"] * 4096
    behind = all(s["lag_min"] * 4096 > s["kernel_max"] + posted // 4 for _, s in pairs)
    bench.row("stalled reader gets all", lagged(slow), "all, once, in order",
              all(s["well"] and s["gaps"] == 0 for _, s in pairs) and behind, slow)
    gap = stall_load(bench, 1, 500 if bench.quick else 1000)
    bench.keep("stall_gap", gap)
    bench.row("  with a short log", f"{gap['gaps']} gap for {gap['gapped']:,} entries, then the rest", "a gap, the rest",
              gap["well"] and gap["gaps"] >= 1 and gap["gapped"] > 0, gap)
    if bench.quick:
        return
    extra = [s["pss_posted"] - n["pss_posted"] for n, s in pairs]
    memory = statistics.median(extra)
    bench.row("  memory for it", f"{memory / 1024:.0f} KiB ({', '.join(f'{e / 1024:.0f}' for e in extra)})", "64 KiB",
              memory < 65536)
    beside = [s["p99_ms"] / n["p99_ms"] for n, s in pairs]
    times = ", ".join(f"{s['p99_ms']:.2f} to {n['p99_ms']:.2f}" for n, s in pairs)
    bench.row("  p99 of the others", f"{statistics.median(beside):.2f} x "
              f"({times} ms)", "1.2 x",
              statistics.median(beside) <= 1.2)


def bar_cost(bench):
    """CPU of a delivery against the bare floor, in the same minute. No bar yet."""
    load = {"clients": 1000, "size": 128, "seconds": 10}
    schemes = {"floor": "tcp", "tcp": "tcp", "ws": "ws"}
    for name, how in (("200 posts/s", {"rate": 200}), ("64 outstanding", {"outstanding": 64})):
        costs = {kind: [] for kind in schemes}
        runs = []
        for _ in range(bench.pairs):
            for kind, cost in costs.items():
                with bench.floor() if kind == "floor" else bench.chatd("--log-entries", "1000") as server:
                    run = bench.load(server, schemes[kind], **load, **how)
                runs.append((kind, run))
                if not run["well"]:
                    bench.row(f"cost, {name}, {kind}", "not all arrived", "all", False, run)
                cost.append((run["cpu_us_per_delivery"], run["deliveries"] / (run["post_seconds"])))
        bench.keep("cost " + name, runs)
        middle = {kind: statistics.median(c for c, _ in cost) for kind, cost in costs.items()}
        speed = {kind: statistics.median(s for _, s in cost) for kind, cost in costs.items()}
        for kind in costs:
            bench.row(f"cost, {name}, {kind}", f"{middle[kind]:.3f} us CPU a delivery, {speed[kind] / 1e6:.2f} M/s",
                      f"{middle[kind] / middle['floor']:.2f} x the floor", None)


BARS = {"fanout": bar_fanout, "join": bar_join, "idle": bar_idle, "stall": bar_stall, "cost": bar_cost}
QUICK = ("fanout", "join", "idle", "stall")


def measure(args):
    programs = harness.paths(args, ["chatd", "chatbench"] if args.quick else ["chatd", "chatbench", "floor"])
    bench = harness.Bench(programs, args.quick, args.pairs)
    for name in args.only or (QUICK if args.quick else BARS):
        BARS[name](bench)
    return bench


def main():
    parser = harness.parser(__doc__, ["chatd", "chatbench", "floor"], BARS)
    parser.add_argument("--pairs", type=int, default=3, help="how often comparisons are repeated (3)")
    return harness.run(measure, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
