"""What all benches have in common: servers and loads, the table of rows, the command line.

A bar is a function that takes a Bench, runs loads, and adds rows to its table. Nothing here knows a bar.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Where a build folder has the programs.
PROGRAMS = {"chatd": "examples/chatd/chatd", "chatbench": "examples/chatbench/chatbench", "floor": "tests/bench/floor",
            "log_posts": "tests/bench/log_posts", "schema": "tests/bench/schema"}

WS = (r"ws://127\.0\.0\.1:([1-9]\d*)/ws", "ws://127.0.0.1:{}/ws")
TCP = (r"(?:tcp://127\.0\.0\.1:|nc 127\.0\.0\.1 )([1-9]\d*)", "tcp://127.0.0.1:{}")


class Failed(Exception):
    """Something did not run; its text says what and what to do."""


def first():
    """Before other programs of a busy machine, where that is permitted."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except PermissionError:
        pass


def arguments(options):
    """Options of a command line, as they are named in Python."""
    found = []
    for name, value in options.items():
        found += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
    return found


class Server:
    """A process that tells its URLs in its output; ended at the end of the `with`."""

    def __init__(self, command, patterns, ends_by_input=False, env=None):
        """patterns: for each name of a URL what to look for, and how the URL is made of what was found."""
        self.command, self.patterns = [str(part) for part in command], patterns
        self.ends_by_input = ends_by_input  # else by SIGTERM
        self.env = dict(os.environ, **env) if env else None
        self.output = tempfile.NamedTemporaryFile("w+", prefix="bench-", suffix=".log")
        self.urls = {}

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=self.output, env=self.env,
                                        stderr=subprocess.STDOUT, preexec_fn=first)
        self.pid = self.process.pid
        deadline = time.monotonic() + 20
        while not all(self._find(name) for name in self.patterns):
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.said()[-2000:]
                self.__exit__(Failed)
                raise Failed(f"{self.command[0]} did not start:\n{text}")
            time.sleep(0.02)
        return self

    def said(self):
        return pathlib.Path(self.output.name).read_text(errors="replace")

    def _find(self, name):
        pattern, form = self.patterns[name]
        found = re.search(pattern, self.said())
        if found:
            self.urls[name] = form.format(found.group(1))
        return found

    def __exit__(self, kind=None, *_):
        if self.process.poll() is None:
            self.process.stdin.close()
            if not self.ends_by_input:
                self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        text = self.said()
        self.output.close()
        if status != 0 and kind is None:
            raise Failed(f"{self.command[0]} ended with {status}; its last words:\n{text[-4000:]}")


class Load:
    """One run of chatbench, begun when it is made."""

    def __init__(self, program, server, url, options):
        self.server = server
        self.command = [str(program), "--json", "--url", url, "--pid", str(server.pid), *arguments(options)]
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=first)

    def end(self):
        """Its figures, with `well` (all arrived) and `problem`."""
        try:
            out, problem = self.process.communicate(timeout=1200)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        if not out.strip():
            raise Failed(f"{' '.join(self.command)}: {problem.strip()}")
        figures = json.loads(out)
        figures["well"] = self.process.returncode == 0
        figures["problem"] = problem.strip()
        if self.server.process.poll() is not None:
            raise Failed(f"the server ended during {' '.join(self.command)} with {self.server.process.returncode}")
        return figures


class Bench:
    """Where the programs are, and what was measured."""

    def __init__(self, programs, quick=False, pairs=3):
        """programs: paths by name. pairs: how often comparisons are repeated."""
        for name, path in programs.items():
            if not pathlib.Path(path).exists():
                raise Failed(f"there is no {name} at {path}; build first, or say --build or --{name.replace('_', '-')}")
        self.programs, self.quick = programs, quick
        self.pairs = 1 if quick else pairs
        self.rows = []  # of the table
        self.figures = {}
        self.started = time.monotonic()

    def step(self, text):
        """Tells who waits what goes on."""
        print(f"  [{time.monotonic() - self.started:4.0f} s] {text}", file=sys.stderr, flush=True)

    def chatd(self, *options, log="memory"):
        """chatd at a WebSocket and a TCP listener."""
        return Server([self.programs["chatd"], "--listen", "ws://127.0.0.1:0/ws", "--listen", "tcp://127.0.0.1:0",
                       "--log", log, *options], {"ws": WS, "tcp": TCP})

    def floor(self):
        return Server([self.programs["floor"]], {"tcp": TCP}, ends_by_input=True)

    def begin(self, server, scheme, **options):
        return Load(self.programs["chatbench"], server, server.urls[scheme], options)

    def load(self, server, scheme, **options):
        """One run of chatbench: its figures."""
        return self.begin(server, scheme, **options).end()

    def row(self, bar, figure, limit, well, figures=None):
        """One line of the table. well: True, False, or None for figures without a bar."""
        verdict = "" if well is None else "ok" if well else "MISSED"
        print(f"{bar:<34} {figure:<60} {limit:<22} {verdict}", flush=True)
        if figures and figures.get("problem"):
            print(f"    {figures['problem']}", flush=True)
        self.rows.append({"bar": bar, "figure": figure, "limit": limit, "well": well})

    def limit(self, well):
        """What depends on the machine's speed is no bar of --quick."""
        return None if self.quick else well

    def keep(self, name, value):
        self.figures[name] = value


class Disk:
    """Bare writes and fdatasyncs of places that a file has already, as a WAL has that was written through once."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(self.file, bytes(1 << 20))
        os.fsync(self.file)
        self.at = 0

    def write(self, pages):
        """Writes so many pages of 4 KiB; the seconds that it took."""
        self.at = (self.at + pages) % 200
        block = os.urandom(4096 * pages)
        start = time.perf_counter()
        os.pwrite(self.file, block, self.at * 4096)
        os.fdatasync(self.file)
        return time.perf_counter() - start

    def close(self):
        os.close(self.file)


def check_folder(folder):
    """Files are to be on a disk."""
    if not os.path.isdir(folder):
        raise Failed(f"--dir {folder} is no folder")
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        raise Failed(f"--dir {folder} is {kind}, where a sync costs nothing; give a folder on a disk")


def machine():
    """What the figures were measured on."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {"cpu": cpu.group(1) if cpu else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""), "load": os.getloadavg(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def parser(doc, programs, bars):
    """The options that all benches take."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--build", default=os.environ.get("CHATHUB_BUILD", ROOT / "build/release"),
                      help="build folder (a release build)")
    for name in programs:
        made.add_argument("--" + name.replace("_", "-"), dest=name, help="this program, in place of the build folder's")
    made.add_argument("--only", nargs="+", choices=bars, help="only these bars")
    made.add_argument("--quick", action="store_true", help="small counts, correctness only")
    made.add_argument("--json", help="write all figures to this file")
    return made


def paths(args, programs):
    """Where the programs are, by the command line."""
    return {name: getattr(args, name) or pathlib.Path(args.build) / PROGRAMS[name] for name in programs}


def run(measure, args):
    """Calls measure(args), which answers the Bench that it measured with, and reports: the program's exit status."""
    try:
        bench = measure(args)
    except Failed as failed:
        print(f"{pathlib.Path(sys.argv[0]).name}: {failed}", file=sys.stderr)
        return 1
    if args.json:
        report = {"machine": machine(), "bars": bench.rows, "figures": bench.figures}
        pathlib.Path(args.json).write_text(json.dumps(report, indent=1))
    return 0 if all(row["well"] is not False for row in bench.rows) else 1
