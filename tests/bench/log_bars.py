#!/usr/bin/python3
"""Measures logs in SQLite against the bars of docs/performance.md ("The log in SQLite") and prints a table.

    tests/bench/log_bars.py [--build build/release] [--dir FOLDER] [--only NAME ...] [--json FILE]

FOLDER is on the disk that is to be measured (/var/tmp), with 2 GB left. Quick (--quick) is for tests: small counts,
correctness only, nothing that depends on the machine's speed.
"""
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import harness
from harness import Disk, Failed, Server, arguments, first

ROOMS, CLIENTS, OUTSTANDING, SIZE = 100, 50, 16, 200


class LogBench(harness.Bench):
    """A bench with files on a disk."""

    def __init__(self, programs, folder, quick, pairs):
        super().__init__(programs, quick, pairs)
        self.folder = pathlib.Path(folder)
        self.filled = None  # the log with one large room, once it is made

    def file(self, name):
        """Where a log's file is to be; what was there is gone."""
        self.remove(name)
        return self.folder / name

    def remove(self, name):
        for path in self.folder.glob(name + "*"):
            path.unlink()

    def run(self, program, **options):
        """A program of the benches: the JSON object that it prints."""
        command = [str(self.programs[program]), *arguments(options)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, preexec_fn=first)
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def server(self, log, *options):
        command = [self.programs["chatd"], "--listen", "tcp://127.0.0.1:0", "--log", log, *options]
        return Server(command, {"tcp": harness.TCP})

    def large(self):
        """The file of a log with one room of a million entries; made once."""
        if not self.filled:
            count = 20000 if self.quick else 1000000
            path = self.file("large.db")
            run = self.run("log_posts", log=path, fill=count, size=SIZE, sync="normal")
            self.step(f"a room of {count:,} entries written in {run['seconds']:.1f} s")
            self.filled = path
        return self.filled


def middle(runs, name):
    return statistics.median(run[name] for run in runs)


def speed(run):
    return run["posts"] / run["seconds"]


def threads(pid):
    """Seconds that each thread of a process ran, by the thread's name; its first one is called "loop"."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            name = "loop" if task.name == str(pid) else (task / "comm").read_text().strip()
            ran = int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue
        found[name] = found.get(name, 0) + ran
    return found


def cpu_between(before, after):
    """(seconds of the log's threads, seconds of the loop's)"""
    spent = {name: ran - before.get(name, 0) for name, ran in after.items()}
    log = sum(ran for name, ran in spent.items() if name.startswith("chathub-log"))
    return log, spent["loop"]


# ------------------------------------------------------------------------------------------------------------- posts

def at_the_log(bench, sync):
    """The log, bare SQLite with the same batches, and both with single commits; one after the other, in pairs."""
    seconds, warm = (0.3, 2000) if bench.quick else (3, 100000)
    kinds = {"log": [], "bare": [], "log, single": [], "bare, single": []}
    batches, one = bench.folder / "batches", bench.folder / "one"
    one.write_text("1\n")
    for pair in range(bench.pairs if sync == "full" else min(bench.pairs, 3)):
        bench.step(f"posts at the log, {sync}, pair {pair + 1}")
        common = {"sync": sync, "seconds": seconds}
        kinds["log"].append(bench.run("log_posts", log=bench.file("posts.db"), clients=CLIENTS, rooms=ROOMS, size=SIZE,
                                      outstanding=OUTSTANDING, warm=warm, batches=batches, **common))
        bare = {"dir": bench.folder, "rows": warm, "rooms": ROOMS, **common}
        kinds["bare"].append(bench.run("schema", replay=batches, **bare))
        kinds["log, single"].append(bench.run("log_posts", log=bench.file("posts.db"), clients=1, outstanding=1, pace=0,
                                              rooms=ROOMS, size=SIZE, warm=warm, **common))
        kinds["bare, single"].append(bench.run("schema", replay=one, **bare))
    bench.remove("posts.db")
    bench.keep(f"posts_{sync}", kinds)
    return kinds


def rows_at_the_log(bench, sync, kinds):
    name = sync.upper()
    rate = {kind: statistics.median(map(speed, runs)) for kind, runs in kinds.items()}
    for kind, runs in kinds.items():
        size = f"by {middle(runs, 'posts') / middle(runs, 'commits'):.0f}"
        spread = f", {runs[-1]['batch_p10']} to {runs[-1]['batch_p90']}" if kind == "log" else ""
        bench.row(f"posts a second, {name}, {kind}",
                  f"{rate[kind]:>9,.0f} ({size}{spread}); {middle(runs, 'writer_us'):.1f} us CPU of the writer", "", None)
    part = statistics.median(speed(log) / speed(bare) for log, bare in zip(kinds["log"], kinds["bare"]))
    single = max(rate["log, single"], rate["bare, single"])
    bars_apply = sync == "full"
    bench.row(f"  of bare SQLite, {name}", f"{100 * part:.0f} %", "60 %" if bars_apply else "",
              bench.limit(part >= 0.6) if bars_apply else None)
    bench.row(f"  of single commits, {name}", f"{rate['log'] / single:.1f} x (the faster of the two)",
              "5 x" if bars_apply else "", bench.limit(rate["log"] >= 5 * single) if bars_apply else None)


def end_to_end(bench, sync, **load):
    """chatd under chatbench: one client in each of 100 rooms. (run, seconds of the log's threads, of the loop)"""
    with bench.server(f"sqlite:{bench.file('chatd.db')}", "--log-sync", sync) as chatd:
        before = threads(chatd.pid)
        run = bench.load(chatd, "tcp", clients=ROOMS, rooms=ROOMS, posters=ROOMS, size=SIZE, settle=0.1, **load)
        log, loop = cpu_between(before, threads(chatd.pid))
    bench.remove("chatd.db")
    return run, log, loop


def row_end_to_end(bench, sync, under_way):
    bench.step(f"posts through chatd, {sync}, {under_way:,} under way")
    run, log, loop = end_to_end(bench, sync, outstanding=under_way, seconds=0.3 if bench.quick else 4)
    seconds = run["post_seconds"]
    bench.keep(f"chatd_{sync}_{under_way}", {"run": run, "log": log, "loop": loop})
    bench.row(f"posts a second, {sync.upper()}, chatd, {under_way:,}",
              f"{run['acked'] / seconds:>9,.0f}; busy: loop {100 * loop / seconds:.0f} %, log {100 * log / seconds:.0f} %, "
              f"chatbench {100 * run['own_cpu_seconds'] / seconds:.0f} %", "all acked, in order", run["well"], run)


def bar_posts(bench):
    """50 clients in 100 rooms, 200 B, 16 under way each: against bare SQLite and against single commits."""
    for sync in ("full", "normal"):
        rows_at_the_log(bench, sync, at_the_log(bench, sync))
    for sync in ("full", "normal"):
        for under_way in (CLIENTS * OUTSTANDING, 5000):
            row_end_to_end(bench, sync, under_way)


def bar_cpu(bench):
    """5,000 posts a second in 100 rooms, FULL, with cids: CPU of the log's threads for a post."""
    rate, seconds, warm = (500, 0.5, 1000) if bench.quick else (5000, 10, 100000)
    bench.step(f"{rate:,} posts a second at the log")
    run = bench.run("log_posts", log=bench.file("rate.db"), rate=rate, seconds=seconds, warm=warm, clients=CLIENTS,
                    rooms=ROOMS, size=SIZE)
    bench.remove("rate.db")
    cost = run["writer_us"] + run["reader_us"]
    bench.keep("cpu", run)
    bench.row(f"CPU of a post, {rate:,}/s, the log",
              f"{cost:.1f} us by {run['posts'] / run['commits']:.1f}; p50 {run['p50_ms']:.1f}, p99 {run['p99_ms']:.1f} ms",
              "20 us", bench.limit(cost <= 20))
    bench.step(f"{rate:,} posts a second through chatd")
    run, log, loop = end_to_end(bench, "full", rate=rate, seconds=seconds)
    cost = log * 1e6 / max(run["acked"], 1)
    bench.keep("cpu_chatd", {"run": run, "log": log, "loop": loop})
    bench.row(f"CPU of a post, {rate:,}/s, chatd", f"{cost:.1f} us in the log's threads, {loop * 1e6 / run['acked']:.1f} "
              f"in the loop; p99 {run['p99_ms']:.1f} ms", "20 us", run["well"] and (bench.quick or cost <= 20), run)


# ----------------------------------------------------------------------------------------------------------- latency

class Line:
    """One client on TCP lines that waits for each reply."""

    def __init__(self, url):
        host, port = url.removeprefix("tcp://").rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest, self.ref = b"", 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, request):
        """The reply, and the seconds that it took."""
        self.ref += 1
        mark = b'"ref":%d,' % self.ref
        line = json.dumps(dict(request, ref=self.ref), separators=(",", ":")).encode() + b"\n"
        start = time.perf_counter()
        self.socket.sendall(line)
        while True:
            *lines, self.rest = (self.rest + self.read()).split(b"\n")
            took = time.perf_counter() - start
            for reply in lines:
                if mark in reply:
                    reply = json.loads(reply)
                    if reply["type"] == "error":
                        raise Failed(f"chatd answered {reply}")
                    return reply, took

    def read(self):
        data = self.socket.recv(65536)
        if not data:
            raise Failed("chatd ended a connection")
        return data

    def post(self, text):
        return self.ask({"type": "post", "room": "bench-0", "content": text, "cid": os.urandom(8).hex()})[1]


def in_turns(actions, count, gap):
    """Each action once in `gap` seconds, spread evenly; the seconds that each took, by its name."""
    took = {name: [] for name in actions}
    start = time.perf_counter()
    for number in range(count):
        for place, (name, action) in enumerate(actions.items()):
            due = start + gap * (number + place / len(actions))
            time.sleep(max(0, due - time.perf_counter()))
            took[name].append(action())
    return took


def warm_up(bench, server, posts):
    """So many posts that the WAL was written through and begins anew."""
    bench.load(server, "tcp", clients=10, rooms=1, posters=10, room_prefix="warm", outstanding=64, posts=posts, size=SIZE,
               settle=0.1)


def bar_latency(bench):
    """100 posts a second: how much later SQLite (FULL) acks than memory, against one bare write and fdatasync."""
    count = 20 if bench.quick else 2000
    text = "x" * SIZE
    bench.step("100 posts a second to memory and to SQLite, in turns with bare writes")
    disk = Disk(bench.folder / "disk")
    with bench.server("memory") as memory, bench.server(f"sqlite:{bench.file('latency.db')}") as sqlite:
        for server in memory, sqlite:
            warm_up(bench, server, 500 if bench.quick else 100000)
        with Line(memory.urls["tcp"]) as quick, Line(sqlite.urls["tcp"]) as lasting:
            for line in quick, lasting:
                line.ask({"type": "join", "room": "bench-0", "now": True})
            took = in_turns({"memory": lambda: quick.post(text), "sqlite": lambda: lasting.post(text),
                             "4 KiB": lambda: disk.write(1), "16 KiB": lambda: disk.write(4)}, count, 0.01)
    disk.close()
    for name in "latency.db", "disk":
        bench.remove(name)
    us = {name: statistics.median(times) * 1e6 for name, times in took.items()}
    p99 = {name: statistics.quantiles(times, n=100)[98] * 1e6 for name, times in took.items()}
    bench.keep("latency", {"median_us": us, "p99_us": p99})
    for name in "memory", "sqlite":
        bench.row(f"ack at 100/s, {name}", f"{us[name]:.0f} us (p99 {p99[name]:.0f})", "", None)
    for name in "4 KiB", "16 KiB":
        bench.row(f"write and fdatasync of {name}", f"{us[name]:.0f} us (p99 {p99[name]:.0f})", "", None)
    added = us["sqlite"] - us["memory"]
    bench.row("  SQLite later than memory", f"{added:.0f} us, {added / us['4 KiB']:.2f} x one write and fdatasync of 4 KiB",
              "2 x", bench.limit(added <= 2 * us["4 KiB"]))


# ------------------------------------------------------------------------------------------------------- coming back

class Memory:
    """The most memory that a process had while the `with` lasted, looked at 20 times a second."""

    def __init__(self, pid):
        self.pid, self.ended = pid, threading.Event()
        self.begin = self.most = None
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def look(self):
        """(PSS, anonymous), in KiB"""
        text = pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return tuple(int(re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE).group(1)) for name in ("Pss", "Anonymous"))

    def watch(self):
        while not self.ended.wait(0.05):
            self.most = tuple(map(max, self.most, self.look()))

    def __enter__(self):
        self.begin = self.most = self.look()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.most = tuple(map(max, self.most, self.look()))

    def growth(self):
        return tuple(most - begin for begin, most in zip(self.begin, self.most))


def said(server, name):
    """A number that chatd told in its last lines; -1: it did not."""
    found = re.findall(rf"\b{name}=(\d+)", server.said())
    return int(found[-1]) if found else -1


class Told:
    """A server that is stopped, and what it said then."""

    def __init__(self, server):
        self.server, self.pages = server, None

    def __enter__(self):
        return self.server.__enter__()

    def __exit__(self, kind, *rest):
        self.server.process.terminate()
        self.server.process.wait(20)
        self.pages = said(self.server, "log_pages")
        self.server.__exit__(kind, *rest)


def bar_reconnect(bench):
    """5,000 clients at once after a restart, each 200 entries behind in one room of a million."""
    clients, behind, page = (100 if bench.quick else 5000), 200, 100
    log = f"sqlite:{bench.large()}"
    bench.step(f"{clients:,} clients come back after a restart")
    with bench.server(log) as chatd, Line(chatd.urls["tcp"]) as line:
        joined = line.ask({"type": "join", "room": "bench-0", "now": True})[0]
    told = Told(bench.server(log))
    with told as chatd, Memory(chatd.pid) as memory:
        before = threads(chatd.pid)
        run = bench.load(chatd, "tcp", clients=clients, rooms=1, epoch=joined["epoch"], after=joined["position"] - behind,
                         behind=behind, ramp=256, rate=1, seconds=0.5)
        cpu, loop = cpu_between(before, threads(chatd.pid))
    pss, anonymous = memory.growth()
    bench.keep("reconnect", {"run": run, "pages": told.pages, "pss_kib": pss, "anonymous_kib": anonymous, "log": cpu,
                             "loop": loop})
    whole = run["well"] and run["caught_up"] == clients
    bench.row(f"{clients:,} come back, {behind} behind each", f"{run['caught_up']:,} had all after "
              f"{run['caught_up_seconds']:.2f} s; CPU: loop {loop:.2f} s, log {cpu * 1000:.0f} ms", "all, once, in order",
              whole, run)
    most = 2 * -(-behind // page)
    bench.row("  pages read for all", str(told.pages) if told.pages >= 0 else "chatd did not tell",
              f"{most} (each twice)", 0 < told.pages <= most)
    bench.row("  memory for it, at most", f"{pss / 1024:.1f} MiB of PSS, {anonymous / 1024:.1f} of them anonymous",
              "32 MiB", pss < 32768)


def bar_page(bench):
    """A page of 50 from the middle of a room of a million: CPU of the reader."""
    path = bench.large()
    bench.step("pages from the middle of the room")
    run = bench.run("log_posts", log=path, pages=100 if bench.quick else 5000)
    bench.keep("page", run)
    for way in "forward", "backward":
        bench.row(f"page of 50 mid-room, {way}", f"{run[way + '_cpu_us']:.0f} us CPU, there after {run[way + '_us']:.0f} us",
                  "1,000 us CPU", bench.limit(run[way + "_cpu_us"] < 1000))
    bench.row("  the very first one", f"{run['first_cpu_us']:.0f} us CPU, there after {run['first_us']:.0f} us",
              "1,000 us CPU", bench.limit(run["first_cpu_us"] < 1000))


# ---------------------------------------------------------------------------------------------------------- the loop

# What reads, writes, syncs, opens or locks a file. (Sockets are read and written by other calls.)
BLOCKING = ("fsync,fdatasync,sync_file_range,msync,read,write,readv,writev,pread64,pwrite64,preadv,pwritev,open,openat,"
            "stat,lstat,newfstatat,statfs,fstatfs,unlink,rename,ftruncate,fallocate,flock,fcntl")


def file_calls(text):
    """Lines of strace that are calls on files: all but those on sockets, events, pipes and randomness."""
    found = []
    for line in text.splitlines():
        call = re.match(r"(?:\S+ )?(\w+)\((\d+)?(?:<([^>]*)>)?", line)
        if call and not re.match(r"socket:|anon_inode|pipe:|TCP|UNIX|NETLINK", call.group(3) or ""):
            found += [] if "/dev/urandom" in line else [line]
    return found


def bar_loop(bench):
    """The loop's thread makes no call that could wait for a disk, while others post, join and read history."""
    if not shutil.which("strace"):
        bench.row("calls on files by the loop", "no strace here; install it with: apt-get install strace", "none", None)
        return
    bench.step("the loop's thread under strace")
    with bench.server(f"sqlite:{bench.large()}") as chatd, tempfile.NamedTemporaryFile("r", prefix="strace-") as calls:
        trace = subprocess.Popen(["strace", "-y", "-o", calls.name, "-e", f"trace={BLOCKING}", "-p", str(chatd.pid)],
                                 stderr=subprocess.PIPE, text=True)
        if "attached" not in trace.stderr.readline():
            trace.kill()
            bench.row("calls on files by the loop", "strace may not attach here", "none", None)
            return
        run = bench.load(chatd, "tcp", clients=20, rooms=10, posters=20, rate=200 if bench.quick else 1000,
                         seconds=0.5 if bench.quick else 3, size=SIZE)
        with Line(chatd.urls["tcp"]) as line:
            at = line.ask({"type": "join", "room": "bench-0", "last": 50})[0]["position"]
            for _ in range(10):
                at = line.ask({"type": "history", "room": "bench-0", "before": at})[0]["entries"][0]["position"]
        trace.terminate()
        trace.communicate()
        text = calls.read()
    found, seen = file_calls(text), text.count("\n")  # it sees at least how the log's threads wake the loop
    bench.keep("loop", {"seen": seen, "on_files": found[:50]})
    bench.row("calls on files by the loop", f"{len(found)} of {seen:,} seen, during {run['acked']:,} posts and 11 pages",
              "none", run["well"] and seen > 0 and not found, run)
    for line in found[:5]:
        print(f"    {line}")


BARS = {"posts": bar_posts, "cpu": bar_cpu, "latency": bar_latency, "reconnect": bar_reconnect, "page": bar_page,
        "loop": bar_loop}


PROGRAMS = ["chatd", "chatbench", "log_posts", "schema"]


def measure(args):
    if not args.quick:
        harness.check_folder(args.dir)
    with tempfile.TemporaryDirectory(prefix="log-bars-", dir=args.dir) as folder:
        bench = LogBench(harness.paths(args, PROGRAMS), folder, args.quick, args.pairs)
        for name in args.only or BARS:
            BARS[name](bench)
    return bench


def main():
    parser = harness.parser(__doc__, PROGRAMS, BARS)
    parser.add_argument("--dir", default="/var/tmp", help="folder on the disk to measure (/var/tmp)")
    parser.add_argument("--pairs", type=int, default=5, help="how often comparisons are repeated (5)")
    return harness.run(measure, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
