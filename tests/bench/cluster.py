#!/usr/bin/python3
"""Measures three chatd on NATS JetStream beside one chatd with a log in SQLite, all on this machine (docs/performance.md).

    tests/bench/cluster.py [--build build/release] [--only NAME ...] [--json FILE] [--dir FOLDER]

One NATS server keeps one replica (R1), or three of them three (R3); the three chatd are nodes of one chat in both. Comparisons
alternate (A B C A B C ...) and take medians. CPU is that of all threads of the chatd processes, those of the log and of libnats
too; what NATS itself needs is told beside it. Quick (--quick) is for tests: small counts, correctness only.
"""
import contextlib
import json
import pathlib
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time

import harness

sys.path.insert(0, str(harness.ROOT / "tests/integration"))
from nats import Natses  # noqa: E402

KINDS = {"sqlite": "one node, SQLite", "r1": "three nodes, R1", "r3": "three nodes, R3"}
LIMITS = {"latency ms": 3.0, "cost": 1.10, "posts": 20000, "join s": 1.0}
NODES = 3


class Machine:
    """What is measured: its chatd, and NATS, if it is on that."""

    def __init__(self, nodes, nats):
        self.nodes, self.nats = nodes, nats
        self.process, self.pid = nodes[0].process, nodes[0].pid  # for harness.Load
        self.urls = nodes[0].urls

    def everywhere(self, scheme="ws"):
        """What chatbench needs to use all nodes, and to count them all."""
        return {"url": ",".join(node.urls[scheme] for node in self.nodes), "pid": ",".join(str(n.pid) for n in self.nodes)}

    def nats_cpu(self):
        return sum(cpu_of(one.process.pid) for one in self.nats.all) if self.nats else 0.0


def cpu_of(pid):
    """Seconds of CPU of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class ClusterBench(harness.Bench):
    def __init__(self, programs, folder, quick, runs):
        super().__init__(programs, quick, runs)
        self.folder = pathlib.Path(folder)
        self.number = 0

    @contextlib.contextmanager
    def machine(self, kind, *options):
        """A machine of that kind, with an empty log."""
        self.number += 1
        folder = self.folder / str(self.number)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, True)
            folder.mkdir()
            if kind == "sqlite":
                nodes = [stack.enter_context(self.chatd(*options, log=f"sqlite:{folder}/chat.db"))]
                yield Machine(nodes, None)
                return
            nats = Natses(folder, 3 if kind == "r3" else 1)
            stack.callback(nats.stop)
            nats.start()
            log = ("--log-replicas", "3" if kind == "r3" else "1")
            nodes = [stack.enter_context(self.chatd(*log, *options, "--name", f"node-{number + 1}",
                                                    log=f"jetstream:{nats.urls()}")) for number in range(NODES)]
            yield Machine(nodes, nats)

    def once(self, kind, everywhere=False, **load):
        """One run of chatbench on a new machine: its figures, and the CPU of NATS meanwhile, from the first connection on."""
        with self.machine(kind) as machine:
            before = machine.nats_cpu()
            run = self.load(machine, "ws", **{**load, **(machine.everywhere() if everywhere else {})})
            run["nats_cpu_seconds"] = machine.nats_cpu() - before
        return run

    def begin(self, server, scheme, **options):
        """As harness.Bench.begin, to several nodes if `url` and `pid` say so."""
        url, pid = options.pop("url", server.urls[scheme]), options.pop("pid", None)
        made = harness.Load(self.programs["chatbench"], server, url, {**options, **({"pid": pid} if pid else {})})
        return made

    def alternate(self, name, kinds, **load):
        found = {kind: [] for kind in kinds}
        for number in range(self.pairs):
            for kind in kinds:
                self.step(f"{name}, {KINDS[kind]}, {number + 1} of {self.pairs}")
                found[kind].append(self.once(kind, **load))
        self.keep(name, found)
        for kind, runs in found.items():
            for run in runs:
                if not run["well"]:
                    self.row(f"{name}, {KINDS[kind]}", "not all arrived", "all, once, in order", False, run)
        return found


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def spread(found, form="{:.2f}"):
    return f"{form.format(statistics.median(found))} ({form.format(min(found))} to {form.format(max(found))})"


# ---------------------------------------------------------------------------------------------------------------- bars


def bar_latency(bench):
    """100 posts/s in a room of 10: from when a post is due until a member has it, on the poster's node and on all."""
    load = {"clients": 10, "rate": 100, "seconds": 0.5 if bench.quick else 5, "size": 128}
    found = bench.alternate("latency", list(KINDS), **load)
    local = median(found["sqlite"], "p50_ms")
    bench.row(f"latency, {KINDS['sqlite']}", f"p50 {local:.2f}, p99 {median(found['sqlite'], 'p99_ms'):.2f} ms", "", None)
    across = bench.alternate("latency over nodes", ["r1", "r3"], everywhere=True, **{**load, "clients": 12})
    for kind in ("r1", "r3"):
        added = median(found[kind], "p50_ms") - local
        bench.row(f"latency, {KINDS[kind]}", f"p50 {median(found[kind], 'p50_ms'):.2f}, p99 {median(found[kind], 'p99_ms'):.2f} "
                  f"ms; {added:+.2f} ms", f"{LIMITS['latency ms']:g} ms more", bench.limit(added <= LIMITS["latency ms"]))
        bench.row("  its members on all nodes", f"p50 {median(across[kind], 'p50_ms'):.2f}, "
                  f"p99 {median(across[kind], 'p99_ms'):.2f} ms", "", None)


def cost_of(run):
    return 1e6 * run["cpu_seconds"] / run["deliveries"]


def bar_cost(bench):
    """CPU of a delivery in a room of 1,000: one posts 50 times a second; 64 post 2,000 times, or as fast as 64 posts under way go
    (of one user only one is). The members are on one node, and on all."""
    clients = 66 if bench.quick else 999
    for name, how in (("50 posts/s", {"rate": 50}), ("2,000 posts/s", {"rate": 2000, "posters": 64}),
                      ("64 under way", {"outstanding": 64, "posters": 64})):
        load = {"clients": clients, "size": 128, "seconds": 0.5 if bench.quick else 4, **how}
        kinds = ["sqlite", "r1"] if bench.quick else list(KINDS)
        here = bench.alternate(f"cost, {name}", kinds, **load)
        all_over = bench.alternate(f"cost, {name}, over nodes", kinds[1:], everywhere=True, **load)
        base = [cost_of(run) for run in here["sqlite"]]
        bench.row(f"cost, {name}, {KINDS['sqlite']}", f"{spread(base, '{:.3f}')} us CPU a delivery", "", None)
        for where, found in (("one's clients", here), ("over nodes", all_over)):
            for kind in kinds[1:]:
                ratios = [cost_of(run) / one for run, one in zip(found[kind], base)]
                nats = statistics.median(1e6 * run["nats_cpu_seconds"] / run["deliveries"] for run in found[kind])
                bench.row(f"cost, {name}, {kind}, {where}",
                          f"{median_cost(found[kind]):.3f} us, {spread(ratios)} x; NATS {nats:.3f} us",
                          f"{LIMITS['cost']:g} x", bench.limit(statistics.median(ratios) <= LIMITS["cost"]))


def median_cost(runs):
    return statistics.median(cost_of(run) for run in runs)


def bar_posts(bench):
    """Posts through one node by many senders, in rooms of one: as many as are acked."""
    senders = 50 if bench.quick else 500
    load = {"clients": senders, "rooms": senders, "posters": senders, "outstanding": 4 * senders, "size": 128,
            "seconds": 0.5 if bench.quick else 5}
    found = bench.alternate("posts", ["r1", "r3"], **load)
    for kind, runs in found.items():
        rates = [run["acked"] / (run["post_seconds"] + run["drain_seconds"]) for run in runs]
        text = f"{spread(rates, '{:,.0f}')} posts/s; p50 {median(runs, 'p50_ms'):.1f}, p99 {median(runs, 'p99_ms'):.1f} ms"
        bar = LIMITS["posts"] if kind == "r1" else None
        bench.row(f"posts by {senders}, {kind}, one node", text, f"{bar:,}" if bar else "",
                  bench.limit(statistics.median(rates) >= bar) if bar else None)


def bar_crowd(bench):
    """2,000 posts/s by 900 of 3,000 clients in 300 rooms, over three nodes."""
    load = {"clients": 90, "rooms": 9, "posters": 27, "rate": 200, "seconds": 0.5} if bench.quick else \
        {"clients": 3000, "rooms": 300, "posters": 900, "rate": 2000, "seconds": 10, "ramp": 128}
    found = bench.alternate("crowd", ["r1", "r3"], everywhere=True, size=128, **load)
    for kind, runs in found.items():
        whole = all(run["well"] and run["deliveries"] == run["expected"] for run in runs)
        bench.row(f"{load['clients']:,} clients, {load['rate']:,} posts/s, {kind}",
                  f"{runs[0]['deliveries']:,} of {runs[0]['expected']:,}; p50 {median(runs, 'p50_ms'):.1f}, "
                  f"p99 {median(runs, 'p99_ms'):.1f} ms; {median_cost(runs):.2f} us CPU", "all, once, in order", whole, runs[0])


def count_at(url):
    """How many are in room bench-0, as this node says, who asks included."""
    host, port = url.removeprefix("tcp://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), 10) as one, one.makefile("rb") as answers:
        one.sendall(b'{"type":"join","room":"bench-0","now":true}\n{"type":"who","room":"bench-0","limit":1}\n')
        for line in answers:
            frame = json.loads(line)
            if frame["type"] == "who":
                return frame["count"]
    return 0


def expect_at(bench, machine, wanted):
    """So many are there, say the nodes that they did not come to."""
    for node in machine.nodes[:2]:
        until = time.monotonic() + 10  # who asked the other one may still be among them
        while (there := count_at(node.urls["tcp"])) != wanted and time.monotonic() < until:
            pass
        if there != wanted:
            bench.row("join", f"{there} are there, says a node that they did not come to", f"{wanted}", False)


def bar_join(bench):
    """5,000 clients come to one node, and later that node comes back after it was away: what it costs the other two."""
    clients, rooms = (100, 5) if bench.quick else (5000, 50)
    lease = "1s"
    costs = {"come": [], "come back": []}
    for number in range(bench.pairs):
        bench.step(f"join, {number + 1} of {bench.pairs}")
        with bench.machine("r1", "--node-lease", lease) as machine:
            others = [node.pid for node in machine.nodes[:2]]
            few = [bench.begin(machine, "ws", url=node.urls["ws"], pid=node.pid, clients=rooms, rooms=rooms, posts=rooms,
                               rate=1000, posters=rooms, idle=25 if not bench.quick else 9) for node in machine.nodes[:2]]
            time.sleep(1.5)
            before = sum(map(cpu_of, others))
            crowd = bench.begin(machine, "ws", url=machine.nodes[2].urls["ws"], pid=machine.nodes[2].pid, clients=clients,
                                rooms=rooms, posts=1, rate=1, settle=1.5 if bench.quick else 6, ramp=128,
                                idle=12 if not bench.quick else 6)
            time.sleep(2 if bench.quick else 6)
            costs["come"].append(sum(map(cpu_of, others)) - before)
            few_there = 3  # one of each of the few, and who asks
            expect_at(bench, machine, clients // rooms + few_there)
            machine.nodes[2].process.send_signal(signal.SIGSTOP)
            time.sleep(2.5)  # beyond its lease: the others take its members out
            expect_at(bench, machine, few_there)
            before = sum(map(cpu_of, others))
            machine.nodes[2].process.send_signal(signal.SIGCONT)
            time.sleep(2 if bench.quick else 4)
            costs["come back"].append(sum(map(cpu_of, others)) - before)
            expect_at(bench, machine, clients // rooms + few_there)
            for load in [crowd, *few]:
                run = load.end()
                if not run["well"]:
                    bench.row("join", "not all arrived", "all, once, in order", False, run)
    bench.keep("join", costs)
    for name, found in costs.items():
        bench.row(f"{clients:,} clients {name}: the other two", f"{spread(found)} s of CPU", f"{LIMITS['join s']:g} s",
                  bench.limit(statistics.median(found) <= LIMITS["join s"]))


BARS = {"latency": bar_latency, "cost": bar_cost, "posts": bar_posts, "crowd": bar_crowd, "join": bar_join}


def measure(args):
    if not shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin"):
        raise harness.Failed("there is no nats-server; install Debian's package of that name")
    harness.check_folder(args.dir or tempfile.gettempdir())
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        bench = ClusterBench(harness.paths(args, ["chatd", "chatbench"]), folder, args.quick, args.runs)
        for name in args.only or BARS:
            BARS[name](bench)
    return bench


def main():
    parser = harness.parser(__doc__, ["chatd", "chatbench"], BARS)
    parser.add_argument("--runs", type=int, default=3, help="how often comparisons are repeated (3)")
    parser.add_argument("--dir", help="a folder on the disk that logs are to be measured on")
    return harness.run(measure, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
