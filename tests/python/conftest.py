"""Servers in Python, by the package in bindings/python and a real libchathub.

The library is the one that CHATHUB_LIBRARY names, else that of the build folder CHATHUB_BUILD, else what the package
finds. One that was built with a sanitizer is only taken if that is loaded already (LD_PRELOAD). Tests may be
`async def`, and may take 60 s unless `@pytest.mark.takes(SECONDS)` says otherwise. After each no server is left.
"""
import asyncio
import faulthandler
import gc
import inspect
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.parse

import pytest

# What a script runs in the background has it ignored, and so would have all programs that are started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bindings/python"
sys.path.insert(0, str(PACKAGE))

if "CHATHUB_LIBRARY" not in os.environ and "CHATHUB_BUILD" in os.environ:
    os.environ["CHATHUB_LIBRARY"] = str(pathlib.Path(os.environ["CHATHUB_BUILD"]).resolve() / "libchathub/libchathub.so.0")

LISTEN = "tcp://127.0.0.1:0"
PATIENCE = 20  # seconds after which what is waited for will not come any more


def pytest_configure(config):
    config.addinivalue_line("markers", "takes(seconds): a test that is given up only after so long")


def pytest_collection_modifyitems(items):
    from chathub import _find
    named = os.environ.get("CHATHUB_LIBRARY")
    if named and _find.is_sanitized(pathlib.Path(named)) and "LD_PRELOAD" not in os.environ:
        for item in items:
            item.add_marker(pytest.mark.skip("the library needs a sanitizer's runtime, which Python has not"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs tests that are coroutines."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted})
    asyncio.run(asyncio.wait_for(test, patience_of(pyfuncitem)))
    return True


def patience_of(item):
    takes = item.get_closest_marker("takes")
    return takes.args[0] if takes else 60


@pytest.fixture(autouse=True)
def nothing_left(request):
    """Every test stops what it starts, or says that it does not. What hangs says where, and ends all."""
    faulthandler.dump_traceback_later(patience_of(request.node) + 30, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    from chathub import _core
    gc.collect()
    left, _core._cores = _core._cores, set()
    assert not left


def port_of(server, number=0):
    return int(urllib.parse.urlsplit(server.listeners[number]).port)


class Peer:
    """Somebody at a tcp:// listener, who waits for frames on this thread or, by `seen`, in a task."""

    def __init__(self, server, name=""):
        self.socket = socket.create_connection(("127.0.0.1", port_of(server)), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")
        if name:
            self.send(type="hello", name=name)

    def send(self, **frame):
        self.socket.sendall(json.dumps(frame).encode() + b"\n")

    def wait(self, kind, **fields):
        """The next frame of this type, or of these, that has these fields; None if the connection ended before."""
        kinds = (kind,) if isinstance(kind, str) else kind
        for line in self.file:
            frame = json.loads(line)
            if frame["type"] in kinds and fields.items() <= frame.items():
                return frame
        return None

    async def seen(self, kind, **fields):
        return await asyncio.get_running_loop().run_in_executor(None, lambda: self.wait(kind, **fields))

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # for a thread that still reads
        except OSError:
            pass
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


async def first(events, kind, **fields):
    """The next event of this class that has these fields."""
    async for event in events:
        if isinstance(event, kind) and all(getattr(event, key) == value for key, value in fields.items()):
            return event
    raise AssertionError(f"no {kind.__name__} came with {fields}")


def first_of(events, kind, **fields):
    """The same without asyncio."""
    for event in events:
        if isinstance(event, kind) and all(getattr(event, key) == value for key, value in fields.items()):
            return event
    raise AssertionError(f"no {kind.__name__} came with {fields}")


def python(code, *options, **env):
    """Runs a program of Python with this package and this library."""
    return subprocess.run([sys.executable, *options, "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(PACKAGE), **env})
