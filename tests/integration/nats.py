"""Real nats-server processes: one, or several that are a cluster, on free loopback ports or in network namespaces.

A `Nats` is one server with its place and its store: it may be started, killed, stopped for a while and started again, at the
same ports and with what it had stored, any number of times. `Natses` are those of one cluster. Whoever starts one ends it:
by its own process, never by a name.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

PATIENCE = 30  # seconds; an election of NATS takes up to 9
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def need_nats():
    """The program, or a skipped test."""
    program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    if not program:
        pytest.skip("there is no nats-server; install Debian's package of that name")
    return program


def free_ports(count):
    """Free ports of 127.0.0.1 below those that the system gives to connections, which could have one in the meantime."""
    with contextlib.ExitStack() as stack:
        found = []
        while len(found) < count:
            try:
                taken = stack.enter_context(socket.create_server(("127.0.0.1", random.randrange(12000, 32000))))
                found.append(taken.getsockname()[1])
            except OSError:
                pass  # it is in use
        return found


# ------------------------------------------------------------------------------------------------ network namespaces


def enter_namespace(name):
    """The calling thread is in there from now on."""
    with open(f"/run/netns/{name}", "rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def connect_from(namespace, address):
    """A connection made in a namespace, or here if that is None."""
    if namespace is None:
        return socket.create_connection(address, 2)
    made = []

    def connect():
        try:
            enter_namespace(namespace)
            made.append(socket.create_connection(address, 2))
        except OSError as error:
            made.append(error)
    thread = threading.Thread(target=connect)  # which takes the namespace with it when it ends
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


class Network:
    """Namespaces that reach each other over a bridge in one of their own, and nothing else; each with one address.

    What is cut off is so by rules of nftables in the namespaces themselves.
    """
    numbers = iter(range(1000))

    def __init__(self, names):
        self.prefix = f"chathub-{os.getpid()}-{next(self.numbers)}"
        self.hub = f"{self.prefix}-hub"
        self.addresses = {name: f"10.0.0.{number}" for number, name in enumerate(names, 1)}
        self.made = []
        try:
            self._make()
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            said = getattr(error, "stderr", "") or error
            pytest.skip(f"network namespaces with nftables are not permitted here: {said}")

    def _make(self):
        self._add(self.hub)
        run("ip", "-n", self.hub, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self.hub, "link", "set", "bridge", "up")
        for name, address in self.addresses.items():
            space = self.space(name)
            self._add(space)
            run("ip", "-n", space, "link", "set", "lo", "up")
            run("ip", "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"to-{name}", "netns", self.hub)
            run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", self.hub, "link", "set", f"to-{name}", "master", "bridge", "up")
            self.cut(name, [])

    def _add(self, space):
        run("ip", "netns", "add", space)
        self.made.append(space)

    def space(self, name):
        return f"{self.prefix}-{name}"

    def cut(self, name, others):
        """Nothing passes between this one and the others any more, in neither direction; instead of what was cut before."""
        rules = "flush ruleset\n"
        if others:
            there = ", ".join(self.addresses[other] for other in others)
            rules += ("table ip cut {\n"
                      f"chain in {{ type filter hook input priority 0\n ip saddr {{ {there} }} drop\n }}\n"
                      f"chain out {{ type filter hook output priority 0\n ip daddr {{ {there} }} drop\n }}\n"
                      "}\n")
        run("ip", "netns", "exec", self.space(name), "nft", "-f", "-", input=rules)

    def close(self):
        while self.made:
            subprocess.run(["ip", "netns", "del", self.made.pop()], capture_output=True, check=False)


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE, **options)


# ---------------------------------------------------------------------------------------------------------- a server


class Nats:
    """One nats-server. `extra`: more of its configuration file. `namespace`: where it runs, at 4222, 6222 and 8222."""

    def __init__(self, folder, name="nats", jetstream=True, extra="", namespace=None, address="127.0.0.1"):
        self.folder, self.name, self.namespace, self.address = pathlib.Path(folder), name, namespace, address
        self.port, self.route, self.monitor = free_ports(3) if namespace is None else (4222, 6222, 8222)
        self.jetstream, self.extra, self.routes = jetstream, extra, []
        self.store = self.folder / name
        self.process, self.paused = None, False

    def url(self, user=""):
        return f"nats://{user + '@' if user else ''}{self.address}:{self.port}"

    def configuration(self):
        text = (f'server_name: "{self.name}"\nhost: "{self.address}"\nport: {self.port}\n'
                f'http: "{self.address}:{self.monitor}"\n')
        if self.jetstream:
            text += f'jetstream {{ store_dir: "{self.store}", max_memory_store: 64MB, max_file_store: 4GB }}\n'
        if self.routes:
            others = ", ".join(f'"nats://{one.address}:{one.route}"' for one in self.routes)
            text += (f'cluster {{ name: "test", listen: "{self.address}:{self.route}", no_advertise: true,'
                     f' routes: [{others}] }}\n')
        return text + self.extra + "\n"

    def start(self, wait=True):
        """Starts it; what it had stored is there again."""
        assert self.process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.name}.conf"
        file.write_text(self.configuration())
        enter = None if self.namespace is None else (lambda: enter_namespace(self.namespace))
        with open(self.folder / f"{self.name}.log", "ab") as out:
            self.process = subprocess.Popen([need_nats(), "-c", str(file)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            preexec_fn=enter)
        if wait:
            self.wait_ready()
        return self

    def said(self):
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def wait_ready(self):
        """Until it takes clients."""
        def takes():
            assert self.process.poll() is None, f"{self.name} ended:\n{self.said()[-3000:]}"
            with contextlib.suppress(OSError, ValueError):
                connect_from(self.namespace, (self.address, self.port)).close()
                return True
            return False
        wait_until(takes, f"{self.name} did not start")

    # ---- what happens to it

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """As the loss of a process."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process, self.paused = None, False

    def stop(self):
        """In good order: it hands over what it leads."""
        if self.process is None:
            return
        self.resume()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self.kill()

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        if self.paused:
            self.signal(signal.SIGCONT)
        self.paused = False

    def wipe(self):
        """What it had stored is gone. It must not run."""
        assert self.process is None
        shutil.rmtree(self.store, ignore_errors=True)

    # ---- what it tells

    def get(self, path):
        """A page of its monitoring port, as JSON; None while it does not answer."""
        try:
            with connect_from(self.namespace, (self.address, self.monitor)) as one:
                one.sendall(f"GET {path} HTTP/1.0\r\nHost: nats\r\n\r\n".encode())
                text = b""
                while data := one.recv(65536):
                    text += data
            return json.loads(text.split(b"\r\n\r\n", 1)[1])
        except (OSError, ValueError, IndexError):
            return None

    def stream(self, name="chathub"):
        """What this server knows of a stream: {"state": …, "cluster": {"leader": …, "replicas": […]}}, or None."""
        told = self.get("/jsz?accounts=true&streams=true&config=true") or {}
        for account in told.get("account_details") or []:
            for stream in account.get("stream_detail") or []:
                if stream["name"] == name:
                    return stream
        return None

    def client(self, **login):
        return RawClient(self, **login)


def wait_until(test, what, patience=PATIENCE):
    """Asks a test again and again, and answers what it answered."""
    deadline = time.monotonic() + patience
    while not (answer := test()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return answer


class RawClient:
    """Speaks NATS by hand (its client protocol is lines), for what tests look up or break."""

    def __init__(self, nats, **login):
        self.socket = connect_from(nats.namespace, (nats.address, nats.port))
        self.socket.settimeout(PATIENCE)
        self.file = self.socket.makefile("rb")
        self.info = json.loads(self.file.readline()[5:])
        self.inbox, self.number = f"_INBOX.test{random.getrandbits(48):x}", 0
        self.say("CONNECT " + json.dumps({"verbose": False, "headers": True, "no_responders": True, **login}))
        self.subscribe(f"{self.inbox}.*")

    def say(self, line, data=b""):
        self.socket.sendall(line.encode() + b"\r\n" + data)

    def subscribe(self, subject):
        self.say(f"SUB {subject} {1 if subject.startswith(self.inbox) else 2}")

    def publish(self, subject, data=b"", reply="", **headers):
        if headers:
            head = "NATS/1.0\r\n" + "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items()) + "\r\n"
            self.say(f"HPUB {subject} {reply} {len(head)} {len(head) + len(data)}", head.encode() + data + b"\r\n")
        else:
            self.say(f"PUB {subject} {reply} {len(data)}", data + b"\r\n")

    def next(self):
        """The next message: subject and what it holds."""
        while True:
            line = self.file.readline()
            assert line, "NATS closed the connection"
            if line.startswith(b"PING"):
                self.say("PONG")
            elif line.startswith(b"-ERR"):
                raise AssertionError(line.decode())
            elif line.startswith((b"MSG", b"HMSG")):
                words = line.split()
                data = self.file.read(int(words[-1]) + 2)[:-2]
                return words[1].decode(), data[int(words[-2]):] if words[0] == b"HMSG" else data

    def ask(self, subject, data=b""):
        """The answer to a request, as JSON."""
        self.number += 1
        reply = f"{self.inbox}.{self.number}"
        self.publish(subject, json.dumps(data).encode() if isinstance(data, dict) else data, reply)
        while True:
            subject, answer = self.next()
            if subject == reply:
                return json.loads(answer or "{}")

    def close(self):
        self.file.close()
        self.socket.close()


# --------------------------------------------------------------------------------------------------------- a cluster


class Natses:
    """The servers of one cluster, n1, n2 …; of one alone, where only one is wanted."""

    def __init__(self, folder, count=3, extra="", network=None):
        names = [f"n{number}" for number in range(1, count + 1)]
        self.all = [Nats(folder, name, extra=extra, namespace=network and network.space(name),
                         address=network.addresses[name] if network else "127.0.0.1") for name in names]
        for one in self.all if count > 1 else []:
            one.routes = [other for other in self.all if other is not one]

    def start(self):
        for one in self.all:
            one.start(wait=False)
        for one in self.all:
            one.wait_ready()
        self.wait_leader()
        return self

    def stop(self):
        for one in self.all:
            one.kill()

    def __getitem__(self, number):
        return self.all[number]

    def urls(self, user=""):
        return ",".join(one.url(user) for one in self.all)

    def wait_leader(self):
        """Until JetStream takes requests: all who run know one leader of all, and who runs is with it."""
        if len(self.all) == 1:
            return wait_until(lambda: (self.all[0].get("/healthz") or {}).get("status") == "ok", "JetStream is not ready")
        return wait_until(self._meta_leader, "JetStream has no leader:\n" + self.all[0].said()[-2000:])

    def _meta_leader(self):
        running = [one for one in self.all if one.process and not one.paused]
        told = [(one.get("/jsz") or {}).get("meta_cluster") or {} for one in running]
        leaders = {one.get("leader") for one in told}
        if len(leaders) != 1 or None in leaders or "" in leaders:
            return None
        peers = next((one.get("replicas") for one in told if one.get("replicas")), None) or []
        there = {peer["name"] for peer in peers if peer.get("current") and not peer.get("offline")}
        return leaders.pop() if len(there) >= len(running) - 1 else None

    def leader(self, stream="chathub"):
        """The server that leads a stream, as most say; None while they know none."""
        if len(self.all) == 1:
            return self.all[0] if self.all[0].process and self.all[0].stream(stream) else None
        told = [one.stream(stream) for one in self.all if one.process and not one.paused]
        names = [((one or {}).get("cluster") or {}).get("leader") for one in told]
        return next((one for one in self.all if 2 * names.count(one.name) > len(self.all)), None)

    def copies(self, stream="chathub"):
        """What each server has of a stream, by its own words."""
        told = {one.name: (one.stream(stream) or {}).get("state", {}) for one in self.all}
        return {name: tuple(state.get(key) for key in ("messages", "bytes", "first_seq", "last_seq", "num_subjects"))
                for name, state in told.items()}

    def copies_differ(self, stream="chathub", patience=5):
        """Whether the servers' copies stay different while nothing is stored: a fault of NATS (2.9.10 has it after a leader was
        parted from the others). What they have, or None."""
        deadline = time.monotonic() + patience
        while len(set((copies := self.copies(stream)).values())) > 1:
            if time.monotonic() > deadline:
                return copies
            time.sleep(0.1)
        return None

    def wait_whole(self, stream="chathub"):
        """Until all run, and all have all of the stream."""
        def whole():
            leader = self.leader(stream)
            told = leader and leader.stream(stream)
            if not told:
                return False
            peers = (told.get("cluster") or {}).get("replicas") or []
            return all(peer.get("current") and not peer.get("offline") for peer in peers) and len(
                peers) in (0, len(self.all) - 1)
        return wait_until(whole, f"stream {stream} is not whole:\n" + "\n".join(
            one.said()[-1500:] for one in self.all), 60)
