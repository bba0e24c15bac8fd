"""python3 -m chathub: a small chat for people at terminals, and for pipes."""
import asyncio
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest

from conftest import PATIENCE, ROOT, Lines

PACKAGE = ROOT / "bindings/python"


def environment(**more):
    clean = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "PYTHONPATH", "INPUTRC")}
    return {**clean, "PYTHONPATH": str(PACKAGE), "LANG": "C.UTF-8", "TERM": "xterm", "INPUTRC": "/dev/null", **more}


def command(*arguments):
    return [sys.executable, "-m", "chathub", *map(str, arguments)]


def run(*arguments, typed="", **options):
    """Runs it to its end, with a pipe."""
    return subprocess.run(command(*arguments), input=typed, capture_output=True, text=True, timeout=4 * PATIENCE,
                          check=False, env=environment(), **options)


class Terminal:
    """It at a terminal of its own, and a person's fingers."""

    def __init__(self, *arguments, **more):
        self.terminal, inner = pty.openpty()
        self.process = subprocess.Popen(command(*arguments), stdin=inner, stdout=inner, stderr=inner,
                                        env=environment(**more), start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY))
        os.close(inner)
        self.lines = Lines(os.fdopen(self.terminal, "rb", buffering=0))

    def type(self, text):
        os.write(self.terminal, text.encode())

    async def shows(self, *words):
        """Waits for a line that has all of these."""
        return await asyncio.to_thread(self.lines.wait, lambda line: line if all(word in line for word in words) else None)

    async def end(self):
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.lines.thread.join(PATIENCE)
        self.lines.pipe.close()


@pytest.fixture
def terminal():
    opened = []

    def start(*arguments, **more):
        opened.append(Terminal(*arguments, **more))
        return opened[-1]
    yield start
    for one in opened:
        one.kill()


# ------------------------------------------------------------------------------------------------ pipes

@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_a_pipe_says_every_line_in_order_and_ends_well(chatd, scheme):
    typed = "".join(f"line {number}\n" for number in range(200)) + "and the last, without a newline"
    done = run(chatd.url(scheme), "--name", "ann", typed=typed)
    assert (done.returncode, done.stderr) == (0, "")
    said = [line.removeprefix("[general] ann: ") for line in done.stdout.splitlines() if line.startswith("[general] ann: ")]
    assert said == typed.splitlines()
    assert done.stdout.startswith("* connected as ann\n* you joined general (1 here: ann)\n")


def test_files_are_read_as_pipes_are(chatd, tmp_path):
    (tmp_path / "typed").write_text("hi\n")
    with open(tmp_path / "typed") as file:
        done = subprocess.run(command(chatd.url()), stdin=file, capture_output=True, text=True, timeout=PATIENCE,
                              check=False, env=environment())
    assert done.returncode == 0 and done.stdout.endswith(": hi\n"), done
    done = subprocess.run(command(chatd.url()), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
                          check=False, env=environment())
    assert done.returncode == 0


def test_commands(chatd):
    typed = ("/me waves\n//slashes\n/join tea\nin tea\n/who\n/msg general over there\n/nick Ann Lee\n/help\n/leave\n"
             "back in general\n/who tea\n/quit\nnever said\n")
    done = run(chatd.url(), "--name", "ann", typed=typed)
    lines = done.stdout.splitlines()
    for line in ("[general] * ann waves", "[general] ann: /slashes", "* you joined tea (1 here: ann)", "[tea] ann: in tea",
                 "* tea (1 here: ann)", "[general] ann: over there", "* you are now Ann Lee", "* you left tea",
                 "[general] Ann Lee: back in general", "*   /quit            end (as ctrl-d does)"):
        assert line in lines, (line, done.stdout)
    assert "never said" not in done.stdout
    assert done.stderr.startswith("! ") and "join it first" in done.stderr and done.returncode == 1


@pytest.mark.parametrize("typed,words", [
    ("/frobnicate\n", "/help"), ("/join\n", "/join ROOM"), ("/msg x\n", "/msg ROOM TEXT"), ("/nick\n", "/nick NAME"),
    ("x" * 40000 + "\n", "32768 bytes"), ("x" * (3 << 20) + "\nafter\n", "too long"), ("/leave\nhi\n", "no room"),
    ("\x01\n", "control characters")],
    ids=["unknown", "room", "text", "name", "long", "very long", "outside", "control"])
def test_what_is_refused_is_said_and_is_the_status(chatd, typed, words):
    done = run(chatd.url(), typed=typed)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr, done
    assert ("after" in typed) == (": after" in done.stdout)


def test_bytes_that_are_no_text_are_refused(chatd):
    done = subprocess.run(command(chatd.url()), input=b"\xff\xfe\n", capture_output=True, timeout=PATIENCE, check=False,
                          env=environment())
    assert done.returncode == 1 and b"Traceback" not in done.stderr and done.stderr.startswith(b"! not sent: ")


def test_no_connection_is_said_in_a_line(chatd):
    for arguments, words in (
            (["tcp://127.0.0.1:1"], "cannot connect to tcp://127.0.0.1:1: Connection refused; is the server running there?"),
            (["ws://127.0.0.1:1/ws"], "Connection refused"), (["foo"], "it has no scheme"),
            ([chatd.url() + "x"], "takes no WebSocket there"), ([chatd.url(), "--name", "System"], "name")):
        done = run(*arguments)
        assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1, done
    assert run().returncode == 2 and run("a", "b").returncode == 2
    assert run("--version").stdout.startswith("chathub ") and run("--help").returncode == 0


async def test_a_taken_name_says_what_to_do(chatd):
    await chatd.client("ann")
    done = await asyncio.to_thread(run, chatd.url(), "--name", "ann")
    assert done.returncode == 1 and "--name" in done.stderr


def test_who_shows_nothing_more_ends_it(chatd):
    """`… | head -1`"""
    reading, writing = os.pipe()
    process = subprocess.Popen(command(chatd.url()), stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE,
                               env=environment())
    os.close(writing)
    os.close(reading)
    _, errors = process.communicate(b"hi\n", PATIENCE)
    assert process.returncode == 1 and b"Traceback" not in errors


@pytest.mark.parametrize("closed,said", [("0<&-", True), ("1>&-", False), ("2>&-", True), ("0<&- 1>&- 2>&-", False)])
def test_a_socket_is_not_taken_for_what_was_closed(chatd, closed, said):
    """As a program of a shell or a service manager may be started."""
    line = f'exec "$0" -m chathub {chatd.url()} --name ann {closed}'
    done = subprocess.run(["sh", "-c", line, sys.executable], input="hi\n", capture_output=True, text=True,
                          timeout=PATIENCE, check=False, env=environment())
    assert (done.returncode, done.stderr, "connected as ann" in done.stdout) == (0, "", said), done


async def test_a_person_is_not_locked_out_while_there_is_no_connection(start_chatd, terminal, tmp_path):
    place = f"tcp+unix:{tmp_path}/socket"
    chatd = await asyncio.to_thread(start_chatd, listen=[place])
    ann = terminal(place, "--name", "ann")
    await ann.shows("* you joined general")
    await asyncio.to_thread(chatd.kill)
    await ann.shows("* not connected")
    ann.type("/who\r")
    await ann.shows("! not connected; try again later")
    for number in range(65):
        ann.type(f"{number}\r")
    await ann.shows("! not sent: too many")
    ann.type("/quit\r")
    await ann.shows("! 64 of your messages may not have been sent")
    assert await ann.end() == 1


async def test_what_others_say_cannot_control_the_terminal(chatd):
    bob = await chatd.client("bob")
    await bob.post("two\nlines, \u202eturned\u2066 and\ttabbed 👩\u200d👧 人")
    done = await asyncio.to_thread(run, chatd.url())
    assert "[general] bob: two⏎lines, \\u202eturned\\u2066 and tabbed 👩\u200d👧 人\n" in done.stdout


@pytest.mark.parametrize("number,status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_status(chatd, number, status):
    process = subprocess.Popen(command(chatd.url(), "--name", "ann"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment())
    Lines(process.stdout).wait(lambda line: line if "you joined" in line else None)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (status, b"")
    assert run(chatd.url(), "--name", "ann").returncode == 0  # its session has ended with it


async def test_the_end_by_the_hub_is_said(start_chatd, tmp_path):
    place = f"ws+unix:{tmp_path}/socket"
    chatd = await asyncio.to_thread(start_chatd, listen=[place])
    process = subprocess.Popen(command(place, "--name", "ann"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment())
    lines = Lines(process.stdout)
    await asyncio.to_thread(lines.wait, lambda line: line if "you joined" in line else None)
    await chatd.stopped()
    await asyncio.to_thread(lines.wait, lambda line: line if "not connected" in line and "trying again" in line else None)
    await asyncio.to_thread(start_chatd, listen=[place])
    await asyncio.to_thread(lines.wait, lambda line: line if "connected again as ann" in line else None)
    process.stdin.close()
    assert await asyncio.to_thread(process.wait, PATIENCE) == 0
    process.stderr.close()


# ------------------------------------------------------------------------------------------------ terminals

async def test_a_person_types_while_others_speak(chatd, terminal):
    """What is half typed stays below what comes in, and is what is said at last."""
    bob = await chatd.client("bob")
    ann = terminal(chatd.url(), "--name", "ann")
    await ann.shows("* you joined general (2 here: ")
    ann.type("hello fro")
    await bob.post("in between")
    await ann.shows("[general] bob: in between")
    assert not ann.process.poll()
    ann.type("m ann\r")
    await bob.chat("hello from ann")
    await ann.shows("[general] ann: hello from ann")
    shown = "\n".join(ann.lines.all)
    assert "> hello fro" in shown.split("in between")[1]  # drawn again below
    ann.type("typo\b\b\b\bright\r")
    await bob.chat("right")
    ann.type("\x1b[A\r")  # the line before
    await bob.get("chat", content="right")
    ann.type("grüß 人\r")
    await bob.chat("grüß 人")
    ann.type("/frobnicate\r")
    await ann.shows("! there is no such command")
    ann.type("/quit\r")
    assert await ann.end() == 0


async def test_ctrl_d_and_ctrl_c_end_it_and_give_the_terminal_back(chatd, terminal):
    for keys, status in (("\x04", 0), ("\x03", 130)):
        ann = terminal(chatd.url(), "--name", "ann")
        before = termios.tcgetattr(ann.terminal)
        await ann.shows("* you joined general")
        await asyncio.to_thread(wait_for, lambda: termios.tcgetattr(ann.terminal) != before)
        ann.type("half a line")
        ann.type(("\x15" if keys == "\x04" else "") + keys)
        assert await ann.end() == status
        assert termios.tcgetattr(ann.terminal) == before


def wait_for(test):
    end = time.monotonic() + PATIENCE
    while not test():
        assert time.monotonic() < end
        time.sleep(0.01)


async def test_a_terminal_without_readline_works_all_the_same(chatd, terminal):
    bob = await chatd.client("bob")
    ann = terminal(chatd.url(), "--name", "ann", TERM="dumb")
    await ann.shows("* you joined general")
    ann.type("hi\n")
    await bob.chat("hi")
    ann.type("\x04")
    assert await ann.end() == 0


async def test_options_say_where_to_begin(chatd):
    bob = await chatd.client("bob", room="tea")
    for number in range(5):
        await bob.post(f"said {number}", room="tea")
    done = await asyncio.to_thread(run, chatd.url(), "--room", "garden", "--room", "tea", "--last", "2", typed="hi\n")
    said = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert said[:2] == ["[tea] bob: said 3", "[tea] bob: said 4"]
    assert len(said) == 3 and said[2].startswith("[tea] guest-") and "* you joined garden (1 here" in done.stdout
