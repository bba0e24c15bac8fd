"""The examples of hosts with transports and servers of their own do what they say."""
import json
import re
import signal
import socket
import subprocess

import pytest
import websockets

from conftest import PATIENCE, ROOT, Client, LineClient, Lines, UnixLines, check_sanitizers, find_program


@pytest.mark.parametrize("name", ["adopt", "own-transport"])
def test_examples_are_one_file_by_the_public_face_alone(name):
    text = (ROOT / "examples" / name / "main.c").read_text()
    assert 60 <= len(text.splitlines()) <= 155
    assert text.startswith(f"/* {name}: ")
    assert "chathub.h" in text and "chi_" not in text


class Program:
    def __init__(self, name, *args):
        self.process = subprocess.Popen([str(find_program(name)), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, bufsize=0)
        self.errors = Lines(self.process.stderr)

    def end(self):
        code = self.process.wait(PATIENCE)
        self.errors.thread.join(PATIENCE)
        self.process.stdout.close()
        self.process.stdin.close()
        check_sanitizers("\n".join(self.errors.all))
        assert code == 0, self.errors.all


@pytest.fixture
def own(tmp_path):
    program = Program("own-transport", f"tcp+unix:{tmp_path}/chat")
    program.out = Lines(program.process.stdout)
    program.type = lambda text: program.process.stdin.write(text.encode())
    program.until = lambda words: program.out.wait(lambda line: line if words in line else None)
    yield program
    if program.process.poll() is None:
        program.process.stdin.close()
        program.end()


def test_who_types_is_in_the_chat(own, tmp_path):
    own.type("good morning\n")
    own.until("good morning")
    other = UnixLines(tmp_path / "chat")
    other.say("/nick bob")
    other.say("good morning to you")
    own.until("bob: good morning to you")
    own.type("how ")
    own.type("are you?\n")
    other.until(lambda line: "how are you?" in line)
    other.close()


def test_its_end_is_the_end_of_the_input(own):
    """What was typed last is said all the same, without a wait for anything."""
    own.type("".join(f"line {number}\n" for number in range(300)))
    own.until(": line 299")
    own.process.stdin.close()
    own.end()


def test_who_reads_nothing_for_long_misses_nothing(tmp_path):
    """The pipe fills; what does not fit stays in the room until it is read."""
    program = Program("own-transport", f"tcp+unix:{tmp_path}/chat")
    program.process.stdin.write(b"hello\n")
    assert b"hello" in program.process.stdout.readline() + program.process.stdout.readline()
    other = UnixLines(tmp_path / "chat")
    for number in range(2000):
        other.say(f"{'x' * 100} {number}.")
    other.until(lambda line: line.endswith(" 1999."))
    out = Lines(program.process.stdout)
    out.wait(lambda line: line if line.endswith(" 1999.") else None)
    said = [int(re.search(r" (\d+)\.$", line).group(1)) for line in out.all if "xxx" in line]
    assert said == list(range(2000))
    other.close()
    program.process.stdin.close()
    program.end()


@pytest.fixture
def adopt():
    program = Program("adopt", "0")
    program.port = int(re.search(r":(\d+)/", program.process.stdout.readline().decode()).group(1))
    yield program
    program.process.send_signal(signal.SIGINT)
    program.end()


def ask(port, *pieces):
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return answer.decode()


def test_the_host_answers_its_own_pages(adopt):
    assert "A page of the host's own" in ask(adopt.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ask(adopt.port, b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n").startswith("HTTP/1.1 404")


def test_the_hub_answers_what_it_was_handed(adopt):
    """Also where the request comes in pieces: the hub gets what was read, and reads the rest."""
    assert ask(adopt.port, b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n").startswith("HTTP/1.1 426")
    assert ask(adopt.port, b"GE", b"T /chat", b" HTTP/1.1\r\nHo", b"st: x\r\n\r\n").startswith("HTTP/1.1 426")


async def test_pages_chat_at_the_hosts_port(adopt):
    url = f"ws://localhost:{adopt.port}/chat"
    origin = f"http://localhost:{adopt.port}"
    async with websockets.connect(url, subprotocols=["chathub.v1"], origin=origin) as one, \
            websockets.connect(url + "?dialect=native", origin=origin) as two:
        alice, page = Client(one), Client(two)
        await alice.hello("alice")
        await alice.join()
        await page.send(json.dumps({"type": "join", "last": 20}))
        await page.send(json.dumps({"type": "post", "content": "hi"}))
        assert (await alice.chat("hi"))["sender"].startswith("guest-")
        await page.chat("hi")
