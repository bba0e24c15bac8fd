"""Several chatd that are one chat, on NATS: on loopback, or each process in a network namespace of its own.

`Cluster` starts the NATS servers n1, n2 … and the nodes c1, c2 …, and does to them what machines and networks do: it kills, stops
for a while, and cuts off. Nodes are reached over Unix sockets, from everywhere the same, and always at the same place, so that
whoever lost one can come back there or go to another.
"""
import contextlib
import signal
import socket
import subprocess

import pytest

from conftest import PATIENCE, Chatd, Client, UnixLines, find_program
from nats import Natses, Network, enter_namespace, need_nats

# What is long by default is short here, as far as a promise does not depend on it.
QUICK = ("--node-lease", "3s", "--return-time", "5s")


def need_cluster():
    """Skips where chatd was built without NATS, or there is no nats-server."""
    need_nats()
    done = subprocess.run([str(find_program("chatd")), "--check-config", "--log", "jetstream:nats://127.0.0.1:4222"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    if "has no NATS" in done.stderr:
        pytest.skip("this chatd was built without NATS")


class Node:
    """One chatd of a cluster, with its place and settings; it may run any number of times."""

    def __init__(self, name, folder, args, namespace=None):
        self.name, self.args, self.namespace = name, args, namespace
        self.web, self.text = folder / f"{name}.ws", folder / f"{name}.tcp"
        self.chatd, self.paused = None, False
        self.ran = []  # all that it was, for what they said

    def start(self, **options):
        """As a service manager does: again, where NATS had no leader for as long as chatd waits for one."""
        assert self.chatd is None
        for last in (False, False, True):
            self._run(options)
            try:
                self.chatd.wait_ready()
                return self.chatd
            except AssertionError:
                said, self.chatd = self.chatd.tail(), None
                if last or "JetStream has no leader" not in said:
                    raise AssertionError(f"{self.name} did not start:\n{said}") from None

    def _run(self, options):
        enter = None if self.namespace is None else (lambda: enter_namespace(self.namespace))
        self.chatd = Chatd(["--name", self.name, *self.args], preexec_fn=enter, log=None, wait=False,
                           listen=(f"ws+unix:{self.web}?path=/ws", f"tcp+unix:{self.text}"),
                           **{"log_level": "info", **options})
        self.ran.append(self.chatd)

    def kill(self):
        if self.chatd:
            chatd, self.chatd, self.paused = self.chatd, None, False
            chatd.kill()

    def stop(self):
        """In good order."""
        if self.chatd:
            self.resume()
            chatd, self.chatd = self.chatd, None
            chatd.stop()

    def pause(self):
        self.chatd.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        if self.paused:
            self.chatd.process.send_signal(signal.SIGCONT)
        self.paused = False

    def lines(self):
        return UnixLines(self.text)

    async def client(self, name=None, room="general", **hello):
        """A native client over WebSocket that has said hello and joined."""
        client = Client(await self.web_socket())
        await client.hello(name, **hello)
        if room:
            await client.join(room)
        return client

    async def web_socket(self):
        one = socket.socket(socket.AF_UNIX)
        one.connect(str(self.web))
        one.setblocking(False)
        return await self.chatd.connect(url="ws://localhost/ws", sock=one)

    def said(self):
        return [record for chatd in self.ran for record in chatd.records()]


class Cluster:
    """`nodes` chatd on `servers` NATS servers. `networks`: each in its namespace, so that they can be cut off.

    `log`: their log, where it is another one than the stream "chathub" of these servers; then there are none.
    """

    def __init__(self, folder, nodes=3, servers=3, args=(), networks=False, extra="", user="", stream="chathub", log=None):
        self.folder, self.stream = folder, stream
        names = [f"c{number}" for number in range(1, nodes + 1)]
        places = names + [f"n{number}" for number in range(1, servers + 1)]
        self.network = Network(places) if networks else None
        self.nats = None if log else Natses(folder, servers, extra=extra, network=self.network)
        log = log or f"jetstream:{self.nats.urls(user)}/{stream}"
        space = self.network.space if networks else (lambda name: None)
        self.nodes = [Node(name, folder, ["--log", log, *QUICK, *args], space(name)) for name in names]

    def start(self):
        if self.nats:
            self.nats.start()
        for node in self.nodes:
            node.start()
        return self

    def __getitem__(self, number):
        return self.nodes[number]

    def cut(self, one, others):
        """Node or NATS server `one` reaches the `others` no more."""
        self.network.cut(one.name, [other.name for other in others])

    def heal(self):
        """No fault any more: all run, and reach each other."""
        for place in self.network.addresses if self.network else ():
            self.network.cut(place, [])
        for one in [*(self.nats.all if self.nats else ()), *self.nodes]:
            one.resume()
        for one in self.nats.all if self.nats else ():
            if one.process is None:
                one.start()
        for node in self.nodes:
            if node.chatd is None:
                node.start()

    def end(self):
        """Nodes have to end well, whatever was done to them; what keeps one from it is told when all have ended."""
        with contextlib.ExitStack() as stack:
            if self.network:
                stack.callback(self.network.close)
            if self.nats:
                stack.callback(self.nats.stop)
            for node in self.nodes:
                stack.callback(node.stop)


@contextlib.contextmanager
def running(folder, **options):
    """A cluster that is started, and ended at the end."""
    if not options.get("log"):
        need_cluster()
    cluster = Cluster(folder, **options)
    try:
        yield cluster.start()
    except BaseException:
        for node in cluster.nodes:  # the failure is what is to be told
            with contextlib.suppress(Exception):
                node.kill()
        raise
    finally:
        cluster.end()
