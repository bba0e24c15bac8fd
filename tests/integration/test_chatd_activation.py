"""chatd under a service manager: sockets that it is given (the protocol of sd_listen_fds), what it tells (that of sd_notify),
and restarts that refuse nobody. The manager is the test: it opens the sockets, keeps them, and starts chatd with them."""
import asyncio
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from conftest import LISTEN, PATIENCE, Chatd, Client, LineClient, UnixLines, check_sanitizers, find_program

# Becomes chatd as a manager's child does: the sockets from descriptor 3 on, and the process named to whom they are.
CHILD = """
import os, sys
count, pid, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
os.environ["LISTEN_PID"] = str(os.getpid()) if pid == "own" else pid
os.environ.setdefault("LISTEN_FDS", str(count))
for variable in [name for name in ("LISTEN_PID", "LISTEN_FDS") if os.environ[name] == "unset"]:
    del os.environ[variable]
os.execv(command[0], command)
"""


def listens(host="127.0.0.1", port=0):
    """A socket that listens, as a manager opens it."""
    if str(host).startswith("/"):
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(str(host))
        opened.listen(64)
        return opened
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((host, port))
    opened.listen(64)
    return opened


def port_of(opened):
    return opened.getsockname()[1]


class Notices:
    """What a service tells its manager."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path[1:] if path[0] == "@" else path)
        self.socket.settimeout(PATIENCE)

    def next(self):
        """The next one that is no sign of life: its lines, as a dict."""
        while True:
            found = self.any()
            if found != {"WATCHDOG": "1"}:
                return found

    def any(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))


class Manager:
    """Holds sockets, and starts chatd with them, again and again."""

    def __init__(self, start, *sockets):
        self.start_chatd, self.sockets = start, list(sockets)

    def start(self, *args, pid="own", env=None, **options):
        """fds: which of them, in this order, instead of all."""
        fds = [held.fileno() for held in options.pop("fds", self.sockets)]

        def prepare():
            # Out of the way first: a number that is wanted may be another's.
            moved = [os.dup(fd) for fd in fds]
            high = [os.dup2(fd, 900 + index) for index, fd in enumerate(moved)]
            for index, fd in enumerate(high):
                os.dup2(fd, 3 + index)
            os.closerange(3 + len(fds), 1000)

        return self.start_chatd(sys.executable, "-c", CHILD, str(len(fds)), pid, *args, env=env or {}, preexec_fn=prepare,
                                close_fds=False, **options)


@pytest.fixture
def manager(start_chatd, run_chatd):
    """manager(*sockets): starts chatd by start, or runs it to its end by run."""
    chatd = str(find_program("chatd"))

    def start(*args, listen=LISTEN, log="memory", log_level="debug", env=None, **options):
        flags = ["--log", "memory" if log == "memory" else f"sqlite:{log}"] if log else []
        for url in listen:
            flags += ["--listen", url]
        flags += ["--log-format", "json", "--log-level", log_level] if log_level else []
        python, rest = args[:5], args[5:]
        return start_chatd(*python[1:], chatd, *flags, *rest, listen=(), log=None, log_level=None, program=python[0],
                           env=env, **options)

    made = []

    def make(*sockets):
        made.append(Manager(start, *sockets))
        return made[-1]
    yield make
    for one in made:
        for held in one.sockets:
            held.close()


def refused(manager_, *args, status=2, **options):
    """Starts a chatd that has to end at once; what it says."""
    chatd = manager_.start(*args, wait=False, **options)
    chatd.wait_end(status)
    return chatd.log.all[-1]


# ------------------------------------------------------------------------------------------------------- sockets

async def test_sockets_that_are_passed_are_those_of_the_listeners_with_their_address(manager):
    web, lines = listens(), listens()
    chatd = manager(lines, web).start(listen=[f"ws://127.0.0.1:{port_of(web)}/ws", f"tcp://127.0.0.1:{port_of(lines)}"])
    assert chatd.record("ready")["sockets_passed"] == "2"
    assert [url.rsplit(":", 1)[1] for url in chatd.urls] == [f"{port_of(web)}/ws", str(port_of(lines))]
    alice = await chatd.client("alice")
    await alice.post("hi")
    bob = chatd.lines()
    bob.send({"type": "ping", "ref": 1})
    bob.get("pong", ref=1)


def test_port_0_takes_what_is_passed(manager):
    lines = listens()
    chatd = manager(lines).start(listen=["tcp://127.0.0.1:0"])
    assert chatd.urls == [f"tcp://127.0.0.1:{port_of(lines)}"]


def test_a_unix_socket_stays_where_it_is(manager, tmp_path):
    path = tmp_path / "chat.sock"
    held = manager(listens(path))
    chatd = held.start(listen=[f"tcp+unix:{path}"])
    chatd.stop()
    waiting = UnixLines(path)
    held.start(listen=[f"tcp+unix:{path}"])
    waiting.send({"type": "ping", "ref": 1})
    waiting.get("pong", ref=1)


def test_a_unix_socket_for_websockets(manager, tmp_path):
    path = tmp_path / "web.sock"
    chatd = manager(listens(path)).start(listen=[f"ws+unix:{path}?path=/ws"])
    asked = subprocess.run([str(find_program("chatd")), "--check-health", "--listen", f"ws+unix:{path}"], check=False,
                           capture_output=True, text=True, timeout=PATIENCE)
    assert (asked.returncode, asked.stdout) == (0, "chatd answers\n"), asked.stderr
    assert chatd.record("ready")["notified"] == "no"


def test_what_is_not_passed_is_opened(manager):
    lines = listens()
    chatd = manager(lines).start(listen=["ws://127.0.0.1:0/ws", f"tcp://127.0.0.1:{port_of(lines)}"])
    assert chatd.record("ready")["sockets_passed"] == "1"
    assert len(chatd.urls) == 2


def test_each_of_several_servers_has_its_own(manager):
    first, second = listens(), listens()
    servers = f"a=127.0.0.1:{port_of(first)},b=127.0.0.1:{port_of(second)}"
    chatd = manager(second, first).start("--servers", servers, listen=())
    assert {(record["server"], record["url"]) for record in chatd.records() if record["event"] == "listening"} == {
        ("a", f"ws://127.0.0.1:{port_of(first)}/ws"), ("b", f"ws://127.0.0.1:{port_of(second)}/ws")}


def test_nothing_of_it_is_inherited(manager):
    lines = listens()
    chatd = manager(lines).start(listen=["tcp://127.0.0.1:0"], env={"LISTEN_FDNAMES": "chatd.socket"})
    found = [pathlib.Path(entry).read_text() for entry in pathlib.Path(f"/proc/{chatd.pid}/fdinfo").iterdir()
             if "socket:" in os.readlink(f"/proc/{chatd.pid}/fd/{entry.name}")]
    assert found and all(int(re.search(r"flags:\s+(\d+)", text)[1], 8) & os.O_CLOEXEC for text in found)


# ------------------------------------------------------------------------------------------------- refuses nobody

async def test_a_restart_refuses_nobody_and_who_resumes_loses_nothing(manager, log_path, sqlite):
    held = manager(listens(), listens())
    chatd = held.start(log=log_path)
    bob = await chatd.client("bob")
    alice = await chatd.client("alice")
    await alice.post("one", cid="1")
    last = await bob.chat("one")
    url, session, epoch = chatd.url("ws"), bob.session, bob.epoch
    await alice.post("two", cid="2")
    await chatd.stopped()
    # Between the two: these wait.
    coming = [asyncio.ensure_future(chatd.connect(url=url)) for _ in range(20)]
    plain = LineClient(held.sockets[1].getsockname())
    plain.send({"type": "ping", "ref": 1})
    await asyncio.to_thread(held.start, log=log_path)
    clients = [Client(one) for one in await asyncio.gather(*coming)]
    plain.get("pong", ref=1)
    await clients[0].hello("bob", session=session)
    await clients[0].join(after=last["position"], epoch=epoch)
    assert (await clients[0].get("chat"))["content"] == "two"
    await clients[1].hello("alice", session=alice.session)
    assert (await clients[1].post("two", cid="2"))["dup"]
    for client in clients:
        await client.close()


def test_who_comes_while_it_stops_waits_too(manager):
    held = manager(listens(), listens())
    chatd = held.start("--stop-time", "10m", "--close-time", "10m")
    slow = chatd.lines()
    slow.send({"type": "ping", "ref": 1})
    slow.get("pong", ref=1)
    chatd.process.send_signal(signal.SIGTERM)
    slow.get("bye")
    waiting = LineClient(held.sockets[1].getsockname())
    slow.close()
    chatd.wait_end()
    held.start()
    waiting.send({"type": "ping", "ref": 1})
    waiting.get("pong", ref=1)


# --------------------------------------------------------------------------------------------------- wrong input

def test_a_socket_without_a_listener_is_told_with_both(manager):
    lines = listens()
    said = refused(manager(lines), listen=["tcp://127.0.0.1:1234"], env={"LISTEN_FDNAMES": "chat.socket"})
    assert said == (f"chatd: LISTEN_FDS: socket chat.socket: descriptor 3 listens at 127.0.0.1:{port_of(lines)}, where there "
                    "is to be no listener; chatd's are tcp://127.0.0.1:1234: make the two the same (ListenStream= of the "
                    "unit, listen of chatd)")


def test_all_listeners_of_all_servers_are_named(manager):
    said = refused(manager(listens()), "--servers", "a=127.0.0.1:2001,b=127.0.0.1:2002", listen=())
    assert "chatd's are ws://127.0.0.1:2001/ws, ws://127.0.0.1:2002/ws:" in said


def test_two_sockets_for_one_listener_are_a_mistake(manager):
    lines = listens()
    assert "another one that the listener there has already" in refused(
        manager(lines, lines), listen=[f"tcp://127.0.0.1:{port_of(lines)}"])


@pytest.mark.parametrize("what, why", [("udp", "is no stream socket of TCP or Unix"), ("deaf", "does not listen"),
                                       ("file", "is no socket")])
def test_what_is_no_socket_that_listens_is_told(manager, what, why):
    passed = {"udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "deaf": socket.socket,
              "file": lambda: open("/dev/null", "rb")}[what]()
    assert f"socket unnamed: descriptor 3 {why}" in refused(manager(passed), listen=["tcp://127.0.0.1:0"])


@pytest.mark.parametrize("env, pid, why", [
    ({"LISTEN_FDS": "two"}, "own", "LISTEN_FDS: 'two' is no number of sockets"),
    ({"LISTEN_FDS": "-1"}, "own", "LISTEN_FDS: '-1' is no number of sockets"),
    ({"LISTEN_FDS": "99999999999999999999"}, "own", "is no number of sockets"),
    ({"LISTEN_FDS": "unset"}, "own", "LISTEN_FDS: '' is no number of sockets"),
    ({"LISTEN_FDS": "2"}, "own", "socket unnamed: descriptor 4 "),
    ({"LISTEN_FDNAMES": "a:b"}, "own", "LISTEN_FDNAMES: these are 2 names, for 1 sockets"),
    ({}, "me", "LISTEN_PID: 'me' is no process"),
    ({"NOTIFY_SOCKET": "relative"}, "own", "NOTIFY_SOCKET: 'relative' is neither an absolute path nor @ and a name"),
    ({"NOTIFY_SOCKET": "/" + 200 * "x"}, "own", "NOTIFY_SOCKET: '/xxx"),
    ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "soon"}, "own", "WATCHDOG_USEC: 'soon' is no number of microseconds"),
    ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "x"}, "own", "WATCHDOG_PID: 'x' is no process"),
])
def test_wrong_variables_are_told_by_name(manager, env, pid, why):
    assert why in refused(manager(listens()), listen=["tcp://127.0.0.1:0"], env=env, pid=pid)


def test_sockets_for_another_process_are_not_taken_and_that_is_told(manager):
    chatd = manager(listens()).start(listen=["tcp://127.0.0.1:0"], pid="1")
    assert chatd.record("sockets_not_taken")["listen_pid"] == "1"
    assert not [record for record in chatd.records() if record["event"] == "ready"]


# ------------------------------------------------------------------------------------------------------- telling

@pytest.fixture(params=["path", "abstract"])
def notices(request, tmp_path):
    """A manager's socket for notices, and its name."""
    path = str(tmp_path / "notify") if request.param == "path" else f"@chatd-test-{os.getpid()}-{time.monotonic_ns()}"
    opened = Notices(path)
    opened.path = path
    yield opened
    opened.socket.close()


def test_it_tells_when_it_is_ready_and_when_it_stops(start_chatd, notices):
    chatd = start_chatd(env={"NOTIFY_SOCKET": notices.path})
    ready = notices.next()
    assert ready["READY"] == "1" and ready["STATUS"] == "Serving " + " ".join(chatd.urls)
    # At that moment it serves.
    chatd.lines().close()
    assert chatd.record("ready")["notified"] == "yes"
    chatd.stop()
    assert notices.next()["STOPPING"] == "1"


def test_a_start_that_fails_is_never_ready_and_says_why(start_chatd, notices):
    taken = listens()
    chatd = start_chatd(env={"NOTIFY_SOCKET": notices.path}, listen=[f"tcp://127.0.0.1:{port_of(taken)}"], wait=False)
    chatd.wait_end(1)
    told = notices.next()
    assert list(told) == ["STATUS"] and "already in use" in told["STATUS"]


def test_a_reload_is_told_with_its_time_and_its_end(start_chatd, notices, settings_file):
    path = settings_file("join-history: 5\n")
    chatd = start_chatd("--config", path, env={"NOTIFY_SOCKET": notices.path})
    first = notices.next()
    for text, status in (("join-history: 7\n", first["STATUS"]),
                         ("join-history: x\n", "Settings were not read again; see the log")):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        settings_file(text)
        chatd.process.send_signal(signal.SIGHUP)
        told = notices.next()
        assert told["RELOADING"] == "1"
        assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert notices.next() == {"READY": "1", "STATUS": status}


def test_signs_of_life_come_from_the_loop(start_chatd, notices):
    chatd = start_chatd(env={"NOTIFY_SOCKET": notices.path, "WATCHDOG_USEC": "200000"})
    assert notices.next()["READY"] == "1"
    for _ in range(3):
        assert notices.any() == {"WATCHDOG": "1"}
    assert chatd.record("ready")["watchdog"] == "200ms"
    chatd.process.send_signal(signal.SIGSTOP)
    notices.socket.settimeout(1)
    with pytest.raises(TimeoutError):  # what was under way, then none
        for _ in range(5):
            notices.any()
    chatd.process.send_signal(signal.SIGCONT)
    notices.socket.settimeout(PATIENCE)
    assert notices.any() == {"WATCHDOG": "1"}


def test_signs_of_life_are_for_the_process_that_is_named(start_chatd, notices):
    chatd = start_chatd(env={"NOTIFY_SOCKET": notices.path, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"})
    assert notices.next()["READY"] == "1"
    assert chatd.record("ready")["watchdog"] == "no"
    chatd.stop()
    assert "STOPPING" in notices.any()


def test_a_manager_that_is_gone_is_no_reason_to_end(start_chatd, tmp_path):
    chatd = start_chatd(env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert "may end it" in chatd.record("notify_failed")["message"]
    chatd.lines().close()


# -------------------------------------------------------------------------------------------------- check-health

def health(*args):
    done = subprocess.run([str(find_program("chatd")), "--check-health", *args], capture_output=True, text=True,
                          check=False, timeout=PATIENCE)
    check_sanitizers(done.stderr)
    return done


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]", "[::]", "localhost"])
def test_who_has_the_same_settings_can_ask_whether_it_answers(start_chatd, host):
    chatd = start_chatd("--insecure", listen=[f"ws://{host}:0/chat"])
    done = health("--insecure", "--listen", chatd.url("ws"), "--listen", "tcp://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (0, "chatd answers\n"), done.stderr


def test_one_that_does_not_answer_is_told(start_chatd):
    chatd = start_chatd()
    url = chatd.url("ws")
    chatd.process.send_signal(signal.SIGSTOP)
    done = health("--listen", url)
    chatd.process.send_signal(signal.SIGCONT)
    assert done.returncode == 1 and done.stderr == f"chatd: {url} does not answer: Connection timed out\n"
    chatd.stop()
    done = health("--listen", url)
    assert done.returncode == 1 and "does not answer: Connection refused" in done.stderr
    assert health("--listen", "tcp://127.0.0.1:7000").returncode == 2
    assert "the port has to be said" in health("--listen", "ws://127.0.0.1:0/ws").stderr


def test_all_servers_have_to_answer(start_chatd):
    chatd = start_chatd("--servers", "a=0,b=0", listen=())
    ports = [record["url"].rsplit(":", 1)[1].split("/")[0] for record in chatd.records() if record["event"] == "listening"]
    assert health("--servers", f"a={ports[0]},b={ports[1]}").returncode == 0
    closed = listens()
    port = port_of(closed)
    closed.close()
    assert health("--servers", f"a={ports[0]},b={port}").returncode == 1
