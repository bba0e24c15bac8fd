"""The examples in Python do what they say."""
import contextlib
import os
import signal
import subprocess
import sys

import chathub
from conftest import LISTEN, PACKAGE, PATIENCE, ROOT, Peer


class Running:
    """An example, and who knows where it listens."""

    def __init__(self, name, *arguments):
        self.process = subprocess.Popen([sys.executable, str(ROOT / "examples/python" / name), *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={**os.environ, "PYTHONPATH": str(PACKAGE)})

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    @property
    def listeners(self):
        if not hasattr(self, "urls"):
            said = self.line()
            assert said.startswith("listening at "), said
            self.urls = said.split()[2:]
        return self.urls


@contextlib.contextmanager
def running(*command):
    example = Running(*command)
    try:
        yield example
        example.process.send_signal(signal.SIGINT)
        assert example.process.wait(PATIENCE) == 0, example.process.stdout.read()
        assert "Traceback" not in example.process.stdout.read()
    finally:
        example.process.kill()
        example.process.wait()
        example.process.stdout.close()


def test_the_server_greets_and_prints():
    with running("server.py", LISTEN) as example, Peer(example, "ann") as peer:
        peer.send(type="join")
        assert peer.wait("chat", sender="host")["content"] == "welcome, ann!"
        peer.send(content="hello")
        assert [example.line(), example.line()] == ["[lobby] host: welcome, ann!", "[lobby] ann: hello"]


def test_the_bot_rolls_on_a_hub_elsewhere():
    with chathub.Server(LISTEN, default_room="lobby") as server, Peer(server, "ann") as peer:
        peer.send(type="join")
        with running("bot.py", server.listeners[0]) as example:
            peer.wait("presence", count=2)
            peer.send(content="!roll 1")
            assert peer.wait("chat", sender="dice")["content"] == "ann rolled 1 of 1"
            peer.send(content="!roll many")
            assert "invalid literal" in example.line()
            peer.send(content="!help")
            assert peer.wait("chat", sender="dice")["content"] == "!roll [SIDES]"


def test_the_hooks_decide():
    with running("authorize.py", LISTEN) as example, Peer(example, "eve") as eve, Peer(example, "bob") as bob:
        assert eve.wait("error")["message"] == "ask ann to let you in"
        bob.send(type="join", room="staff")
        assert bob.wait("error")["code"] == "denied"
        bob.send(type="join")
        bob.send(content="darn it")
        assert bob.wait("error")["message"] == "mind your words"
        bob.send(content="please")
        assert bob.wait("ack")
        with Peer(example, "ann") as ann:
            ann.send(type="join", room="staff")
            assert ann.wait("joined")["room"] == "staff"
