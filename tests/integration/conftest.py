"""The real chatd for integration tests, and small clients to talk to it.

The program is the one that CHATD names, else the one in the build folder CHATHUB_BUILD, else the newest in build/*. Every
chatd listens on ports that the system chooses (or Unix sockets), tells them in its log, and has to end well: exit 0
within its time, and not a word of a sanitizer. Its rooms' logs are in memory unless a test says where else: `log=PATH`
is an SQLite file, `log=None` leaves it to chatd. Tests may be `async def`, and may take 120 s unless
`@pytest.mark.takes(SECONDS)` says otherwise.
"""
import asyncio
import inspect
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import urllib.parse

import pytest
import websockets

# What a script runs in the background has it ignored, and so would have all programs that are started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 20  # seconds after which what is waited for will not come any more
LISTEN = ("ws://127.0.0.1:0/ws", "tcp://127.0.0.1:0")


def find_program(name):
    """A program of the examples, such as "chatd"."""
    where = pathlib.Path("examples", name, name)
    if name == "chatd" and os.environ.get("CHATD"):
        return pathlib.Path(os.environ["CHATD"]).resolve()
    if os.environ.get("CHATD"):
        near = pathlib.Path(os.environ["CHATD"]).resolve().parents[1] / name / name
        if near.exists():
            return near
    if os.environ.get("CHATHUB_BUILD"):
        return pathlib.Path(os.environ["CHATHUB_BUILD"]).resolve() / where
    found = sorted(ROOT.glob(f"build/*/{where}"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.fail(f"there is no {where} in build/*; build it, or name chatd by CHATD")
    return found[-1]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs tests that are coroutines."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    takes = pyfuncitem.get_closest_marker("takes")
    asyncio.run(run_test(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}),
                         takes.args[0] if takes else 120))
    return True


def pytest_configure(config):
    config.addinivalue_line("markers", "takes(seconds): a coroutine that is given up only after so long")


async def run_test(test, patience):
    """A test, and the end of the connections that it left open."""
    try:
        await asyncio.wait_for(test, patience)
    finally:
        while Connection.opened:
            try:
                Connection.opened.pop().transport.abort()
            except RuntimeError:
                pass  # it came when an earlier test had ended, and went with that test's loop


class Connection(websockets.WebSocketClientProtocol):
    """A WebSocket that is cut off when its test has ended: the library would wait for the other side's goodbye."""
    opened = []

    def connection_made(self, transport):
        super().connection_made(transport)
        self.opened.append(self)


class Lines:
    """Reads a pipe's lines on a thread, keeps them, and lets tests wait for one."""

    def __init__(self, pipe):
        self.all, self.ended = [], False
        self.changed = threading.Condition()
        self.pipe = pipe
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for line in self.pipe:
                with self.changed:
                    self.all.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                    self.changed.notify_all()
        except OSError:
            pass  # the end, if the pipe is a terminal
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, test, since=0):
        """The first line (from number `since` on) for which `test` answers something, and that answer."""
        def found():
            nonlocal since
            while since < len(self.all):
                since += 1
                if (answer := test(self.all[since - 1])) is not None:
                    return [answer]
            return [None] if self.ended else None
        with self.changed:
            answer = self.changed.wait_for(found, PATIENCE)
            if not answer or answer[0] is None:
                raise AssertionError("the line did not come; there were:\n" + "\n".join(self.all[-40:]))
            return answer[0]


def gives_log(args, env):
    """Whether a test's own arguments say where the rooms' logs are."""
    return "CHATD_LOG" in (env or {}) or any(re.match(r"--log(=|$)", str(arg)) for arg in args)


def as_record(line):
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None


class Chatd:
    """A running chatd."""

    def __init__(self, args=(), listen=LISTEN, env=None, wait=True, log="memory", log_level="debug", program=None,
                 **popen):
        self.command = [str(program or find_program("chatd"))]
        if log and not gives_log(args, env):
            self.command += ["--log", "memory" if log == "memory" else f"sqlite:{log}"]
        for url in listen:
            self.command += ["--listen", url]
        if log_level:
            self.command += ["--log-format", "json", "--log-level", log_level]
        self.command += [str(arg) for arg in args]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
        popen.setdefault("stderr", subprocess.PIPE)
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        env={**clean, **(env or {})}, **popen)
        self.pid = self.process.pid
        self.out = Lines(self.process.stdout)
        self.log = Lines(self.process.stderr) if self.process.stderr else None
        self.urls = []
        if wait:
            self.wait_ready()

    def wait_ready(self):
        self.out.wait(lambda line: line if "others" in line else None)
        if self.log and "--log-file" not in self.command:
            self.record("started")
            self.urls = [record["url"] for line in list(self.log.all)
                         if (record := as_record(line)) and record["event"] == "listening"]

    # ---- what it says

    def record(self, event, since=0, **fields):
        """Waits for a log record with these fields."""
        def fits(line):
            record = as_record(line)
            if not record or record["event"] != event:
                return None
            return record if all(record.get(key) == value for key, value in fields.items()) else None
        return self.log.wait(fits, since)

    def records(self):
        return [record for line in list(self.log.all) if (record := as_record(line))]

    def mark(self):
        """Where the log is now, for `since`."""
        return len(self.log.all)

    # ---- where it is

    def url(self, scheme="ws"):
        return next(url for url in self.urls if url.startswith(scheme + ":") or url.startswith(scheme + "+"))

    def address(self, scheme="tcp"):
        parts = urllib.parse.urlsplit(self.url(scheme))
        return parts.hostname, parts.port

    def http(self, path="/", host=None):
        name, port = self.address("ws")
        return f"http://{host or name}:{port}{path}"

    # ---- talking to it

    def lines(self):
        return LineClient(self.address("tcp"))

    def connect(self, **options):
        """A WebSocket of chathub.v1, as an async context manager or awaitable."""
        options.setdefault("subprotocols", ["chathub.v1"])
        options.setdefault("max_size", None)
        options.setdefault("max_queue", None)
        options.setdefault("ping_interval", None)
        options.setdefault("create_protocol", Connection)
        return websockets.connect(options.pop("url", None) or self.url("ws"), **options)

    async def client(self, name=None, room="general", **hello):
        """A native client that has said hello and joined a room."""
        client = Client(await self.connect())
        await client.hello(name, **hello)
        if room:
            await client.join(room)
        return client

    # ---- its end

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.wait_end()

    async def stopped(self):
        """The same as stop, while the test's own connections go on."""
        self.process.send_signal(signal.SIGTERM)
        await self.ended()

    def kill(self):
        """As the loss of a process: nothing of it ends in order."""
        self.process.kill()
        self.process.wait()
        self.out.thread.join(PATIENCE)
        if self.log:
            self.log.thread.join(PATIENCE)
            check_sanitizers("\n".join(self.log.all))

    def wait_end(self, status=0):
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("chatd did not end:\n" + self.tail()) from None
        self.out.thread.join(PATIENCE)
        if self.log:
            self.log.thread.join(PATIENCE)
        check_sanitizers("\n".join(self.log.all) if self.log else "")
        assert code == status, f"exit {code}, not {status}\n{self.tail()}"

    async def ended(self, status=0):
        """The same as wait_end, while the test's own connections go on, which have to say goodbye."""
        await asyncio.to_thread(self.wait_end, status)

    def tail(self):
        return "\n".join(self.log.all[-60:]) if self.log else ""


def check_sanitizers(text):
    found = re.search(r"(AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|Assertion .* failed)",
                      text)
    assert not found, text[-6000:]


class Client:
    """A native client over WebSocket, which keeps what came beside what was asked for."""

    def __init__(self, socket_):
        self.socket = socket_
        self.frames = []  # not yet taken
        self.name = self.id = self.session = self.epoch = None
        self.refs = 0

    async def send(self, frame):
        await self.socket.send(frame if isinstance(frame, str) else json.dumps(frame))

    async def next(self):
        return json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))

    async def get(self, kind, **fields):
        """The next frame of this type (and these fields); others wait."""
        def fits(frame):
            return frame["type"] == kind and all(frame.get(key) == value for key, value in fields.items())
        for index, frame in enumerate(self.frames):
            if fits(frame):
                return self.frames.pop(index)
        while True:
            frame = await self.next()
            if fits(frame):
                return frame
            self.frames.append(frame)

    async def ask(self, frame, kind=None):
        """Sends a request and takes its answer, found by `ref`."""
        self.refs += 1
        await self.send({**frame, "ref": self.refs})
        while True:
            for index, waiting in enumerate(self.frames):
                if waiting.get("ref") == self.refs:
                    answer = self.frames.pop(index)
                    assert kind is None or answer["type"] == kind, answer
                    return answer
            self.frames.append(await self.next())

    async def hello(self, name=None, **fields):
        request = {"type": "hello", **fields}
        if name:
            request["name"] = name
        answer = await self.ask(request, "welcome")
        self.name, self.id = answer["sender"], answer["sender_id"]
        self.session = answer.get("session", fields.get("session"))
        return answer

    async def join(self, room="general", **start):
        answer = await self.ask({"type": "join", "room": room, **start}, "joined")
        self.epoch = answer["epoch"]
        return answer

    async def post(self, content, **fields):
        return await self.ask({"type": "post", "content": content, **fields}, "ack")

    async def chat(self, content, **fields):
        return await self.get("chat", content=content, **fields)

    async def quiet(self):
        """Everything that was on its way has arrived: what comes before the answer to a ping of ours."""
        await self.ask({"type": "ping"}, "pong")
        return self.frames

    async def close(self):
        await self.socket.close()

    async def closed(self):
        """Waits for the other side to close: code and reason."""
        while True:
            try:
                self.frames.append(await self.next())
            except websockets.ConnectionClosed as end:
                return end.rcvd.code if end.rcvd else None, end.rcvd.reason if end.rcvd else ""


class LineClient:
    """Plain lines over TCP."""
    opened = []

    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE)
        self.file = self.socket.makefile("rb")
        self.opened.append(self)

    def say(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def send(self, frame):
        self.say(json.dumps(frame))

    def line(self):
        line = self.file.readline()
        assert line, "the connection was closed"
        return line.decode().rstrip("\r\n")

    def until(self, test):
        """Reads lines until one fits."""
        seen = []
        while True:
            try:
                line = self.line()
            except (AssertionError, OSError) as error:
                raise AssertionError(f"{error}; there were: {seen}") from None
            seen.append(line)
            if test(line):
                return line

    def get(self, kind, **fields):
        """The next JSON line of this type; others are passed over."""
        def fits(line):
            frame = json.loads(line)
            return frame["type"] == kind and all(frame.get(key) == value for key, value in fields.items())
        return json.loads(self.until(fits))

    def close(self):
        self.file.close()
        self.socket.close()


class UnixLines(LineClient):
    """The same over a Unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        self.opened.append(self)


@pytest.fixture
def start_chatd():
    """Starts chatds: start_chatd("--option", …, listen=…, env=…). All are ended, and have to end well."""
    running = []

    def start(*args, **options):
        running.append(Chatd(args, **options))
        return running[-1]
    yield start
    while LineClient.opened:
        LineClient.opened.pop().close()
    for chatd in running:
        if chatd.process.returncode is None:
            chatd.stop()


@pytest.fixture(scope="session")
def need_unicode():
    """need_unicode(name) skips where the name is not of ASCII, and chatd was built without utf8proc."""
    done = subprocess.run([str(find_program("chatd")), "--check-config", "--default-room", "\u4eba"],
                          capture_output=True, timeout=PATIENCE, check=False)

    def need(name):
        if done.returncode and not name.isascii():
            pytest.skip("this chatd was built without utf8proc")
    return need


@pytest.fixture(scope="session")
def sqlite():
    """For tests of logs in SQLite: skips where chatd was built without."""
    done = subprocess.run([str(find_program("chatd")), "--log", "sqlite:/dev/null/none", "--listen", LISTEN[1]],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    if "has no SQLite" in done.stderr:
        pytest.skip("this chatd was built without SQLite")


@pytest.fixture(scope="session")
def nats():
    """For tests of logs in NATS: skips where chatd was built without."""
    done = subprocess.run([str(find_program("chatd")), "--check-config", "--log", "jetstream:nats://localhost"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    if "has no NATS" in done.stderr:
        pytest.skip("this chatd was built without NATS")


@pytest.fixture
def log_path(tmp_path):
    """Where a log in SQLite may be."""
    return tmp_path / "chat.db"


@pytest.fixture
def start_logged(start_chatd, log_path):
    """As start_chatd, each time on the same log in SQLite: end one (stop or kill) before the next."""
    def start(*args, **options):
        return start_chatd(*args, log=log_path, **options)
    return start


@pytest.fixture
def chatd(start_chatd):
    """One chatd over WebSocket and TCP on ports of its own."""
    return start_chatd()


@pytest.fixture
def settings_file(tmp_path):
    """Writes chatd's settings file and answers its path; skips where chatd was built without libyaml."""
    path = tmp_path / "chatd.yaml"
    done = subprocess.run([str(find_program("chatd")), "--config", "/dev/null", "--check-config"], capture_output=True,
                          text=True, timeout=PATIENCE, check=False)
    if "without libyaml" in done.stderr:
        pytest.skip("this chatd was built without libyaml")

    def write(text):
        path.write_text(text)
        return path
    return write


@pytest.fixture
def run_chatd(tmp_path):
    """Runs chatd to its end: run_chatd("--help") answers a CompletedProcess with texts."""
    def run(*args, env=None, **options):
        options.setdefault("cwd", tmp_path)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
        done = subprocess.run([str(find_program("chatd")), *map(str, args)], capture_output=True, text=True,
                              timeout=PATIENCE, check=False, env={**clean, **(env or {})}, **options)
        check_sanitizers(done.stderr)
        return done
    return run
