"""The terminal client: by pipes as scripts use it, and on a terminal as a person does."""
import asyncio
import os
import pty
import re
import signal
import subprocess

import pytest

from conftest import PATIENCE, check_sanitizers, find_program
from faults import Frozen

pytestmark = pytest.mark.filterwarnings("ignore")


def run(*args, text="", env=None):
    done = subprocess.run([str(find_program("chat")), *args], input=text, capture_output=True, text=True,
                          timeout=3 * PATIENCE, check=False, env={**os.environ, **(env or {})})
    check_sanitizers(done.stderr)
    return done


def need_editor():
    """Without one there is no prompt."""
    if "without a line editor" in run("--version").stdout:
        pytest.skip("this chat was built without libedit")


class Terminal:
    """A chat on a terminal of its own, and what it wrote there."""

    def __init__(self, *args, env=None):
        self.fd, other = pty.openpty()
        self.process = subprocess.Popen([str(find_program("chat")), *args], stdin=other, stdout=other, stderr=other,
                                        start_new_session=True,
                                        env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        os.close(other)
        os.set_blocking(self.fd, False)
        self.text = ""

    async def see(self, *parts):
        """Waits until these have been written, one after the other; what was before is forgotten."""
        pattern = ".*?".join(map(re.escape, parts))
        for _ in range(PATIENCE * 100):
            try:
                self.text += os.read(self.fd, 65536).decode("utf-8", "replace")
            except (BlockingIOError, OSError):
                await asyncio.sleep(0.01)
            if found := re.search(pattern, self.text, re.DOTALL):
                self.text = self.text[found.end():]
                return found.group()
        raise AssertionError(f"{parts} did not come; there was: {self.text!r}")

    def type(self, text):
        os.write(self.fd, text.encode())

    async def end(self, status=0):
        code = await asyncio.wait_for(asyncio.to_thread(self.process.wait), PATIENCE)
        assert code == status, self.text
        os.close(self.fd)


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_lines_of_a_pipe_are_posted(chatd, scheme):
    bob = await chatd.client("bob")
    lines = "".join(f"line {number}\n" for number in range(2000)) + "/no command\nthe last"
    done = await asyncio.to_thread(run, "--name", "robot", chatd.url(scheme), text=lines)
    assert done.returncode == 0 and not done.stderr, done.stderr
    for number in range(2000):
        assert (await bob.get("chat"))["content"] == f"line {number}"
    assert (await bob.get("chat"))["content"] == "/no command"
    assert (await bob.get("chat"))["sender"] == "robot"
    assert "\033" not in done.stdout and "[general] robot: line 7\n" in done.stdout


async def test_long_lines_wait_for_room_as_short_ones_do(chatd):
    bob = await chatd.client("bob")
    async with Frozen(chatd):
        chat = subprocess.Popen([str(find_program("chat")), chatd.url()], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
        # Once all is written nearly all is read, and waits.
        await asyncio.to_thread(chat.stdin.write, "".join(f"{number} {'x' * 30000}\n" for number in range(256)))
    _, errors = await asyncio.to_thread(chat.communicate, timeout=PATIENCE)
    assert chat.returncode == 0 and not errors, errors
    for number in range(256):
        assert (await bob.get("chat"))["content"].startswith(f"{number} x")


async def test_a_room_may_be_named_and_a_file_read(chatd, tmp_path):
    bob = await chatd.client("bob", room="tea")
    (tmp_path / "lines").write_text("one\r\ntwo\n")
    with open(tmp_path / "lines", encoding="utf-8") as file:
        done = await asyncio.to_thread(subprocess.run, [str(find_program("chat")), "-r", "tea", chatd.url()], stdin=file,
                                       capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0
    assert [(await bob.get("chat"))["content"] for _ in range(2)] == ["one", "two"]


async def test_what_goes_wrong_is_said_and_is_the_exit_code(chatd):
    bob = await chatd.client("bob")
    done = await asyncio.to_thread(run, "--name", "bob", chatd.url(), text="hi\n")
    assert done.returncode == 1 and "in use" in done.stderr
    done = await asyncio.to_thread(run, "ws://127.0.0.1:1/ws", text="hi\n")
    assert done.returncode == 1 and "cannot connect to 127.0.0.1:1: connection refused" in done.stderr
    assert "not said" in done.stderr
    done = await asyncio.to_thread(run, chatd.url(), text="x" * 40000 + "\n" + "y" * 200000 + "\na\0b\nfine\n")
    assert done.returncode == 1 and "40000 bytes" in done.stderr and "NUL byte" in done.stderr
    assert done.stderr.count("65536 bytes") == 1
    assert (await bob.get("chat"))["content"] == "fine"  # and nothing of what is left out
    for args, words in ((["wss://localhost"], "no TLS"), ([], "give one URL"), (["--frob", "x"], "no such option"),
                        (["-l", "x", "ws://localhost"], "a number"), (["a", "b"], "give one URL")):
        done = await asyncio.to_thread(run, *args)
        assert done.returncode in (1, 2) and words in done.stderr, args
    assert (await asyncio.to_thread(run, "--help")).stdout.startswith("Usage: chat ")
    assert (await asyncio.to_thread(run, "--version")).stdout.startswith("chat ")


async def test_nobody_else_controls_the_terminal(chatd):
    """What others may say holds no controls but newlines; what turns the direction of text they may say."""
    bob = await chatd.client("bob")
    chat = Terminal("--name", "ann", "--last", "5", chatd.url())
    await chat.see("you are ann")
    await bob.post("two\nlines \u202e backwards")
    await chat.see("two ⏎ lines \\u202e backwards")
    chat.type("/quit\r")
    await chat.end()


async def test_a_person_talks_and_is_talked_to(chatd):
    need_editor()
    bob = await chatd.client("bob")
    await bob.post("before")
    chat = Terminal("--name", "ann", chatd.url())
    await chat.see("before", "general> ")
    chat.type("hi bob\r")
    assert (await bob.chat("hi bob"))["sender"] == "ann"
    await chat.see("\033[", "ann", "hi bob")
    chat.type("half a l")
    await chat.see("half a l")
    await bob.post("hello ann")
    await chat.see("hello ann", "general> half a l")
    chat.type("ine\r")
    await bob.chat("half a line")
    chat.type("/join tea\r")
    await chat.see("tea> ")
    chat.type("/me drinks\r")
    await chat.see("* ", "ann", "drinks")
    for command, answer in (("/rooms", "tea (you talk here)"), ("/who general", "bob"), ("/frob", "no command /frob"),
                            ("/help", "says a text that begins with a slash"), ("/nick anna", "you are anna"),
                            ("/nick bob", "in use"), ("/leave tea", "you left tea"), ("/history 2", "half a line"),
                            ("//x", "/x"), ("/nick", "it is used so"), ("/leave coffee", "not in that room")):
        chat.type(command + "\r")
        await chat.see(answer)
    chat.type("\x04")
    await chat.end()


async def test_a_reconnect_is_shown_and_loses_nothing(start_logged, sqlite):
    need_editor()
    chatd = await asyncio.to_thread(start_logged)
    chat = Terminal("--name", "ann", chatd.url(), env={"NO_COLOR": "1"})
    await chat.see("general> ")
    await asyncio.to_thread(chatd.kill)
    await chat.see("trying again in", "general (not connected)> ")
    chat.type("kept\r")
    await chat.see("it is sent once you are connected")
    chatd = await asyncio.to_thread(start_logged, listen=chatd.urls)
    chat.type("/reconnect\r")
    seen = await chat.see("connected again", "ann: kept", "general> ")
    assert not re.search(r"\033\[[0-9;]*m", seen)
    bob = await chatd.client("bob")
    await bob.chat("kept")
    chat.process.send_signal(signal.SIGINT)
    await chat.end()
    await chatd.stopped()


async def test_a_taken_name_can_be_changed(chatd):
    need_editor()
    bob = await chatd.client("ann")
    chat = Terminal("--name", "ann", chatd.url())
    await chat.see("in use", "choose another name")
    chat.type("/nick anna\r")
    await chat.see("you are anna", "general> ")
    chat.type("hi\r")
    assert (await bob.chat("hi"))["sender"] == "anna"
    chat.type("/quit\r")
    await chat.end()
