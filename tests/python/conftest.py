"""Servers in Python, by the package in bindings/python and a real libchathub.

The library is the one that CHATHUB_LIBRARY names, else that of the build folder CHATHUB_BUILD, else what the package
finds. One that was built with a sanitizer is only taken if that is loaded already (LD_PRELOAD). Tests may be
`async def`, and may take 60 s unless `@pytest.mark.takes(SECONDS)` says otherwise. After each no server is left.
"""
import asyncio
import faulthandler
import gc
import inspect
import os
import pathlib
import subprocess
import sys

import pytest

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
    """Runs tests that are coroutines. What hangs says where."""
    takes = pyfuncitem.get_closest_marker("takes")
    patience = takes.args[0] if takes else 60
    faulthandler.dump_traceback_later(patience + 30, exit=True)
    try:
        if not inspect.iscoroutinefunction(pyfuncitem.obj):
            return None
        wanted = pyfuncitem._fixtureinfo.argnames
        test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted})
        asyncio.run(asyncio.wait_for(test, patience))
        return True
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def nothing_left():
    """Every test stops what it starts, or says that it does not."""
    yield
    from chathub import _core
    gc.collect()
    left, _core._cores = _core._cores, set()
    assert not left


def port_of(server, number=0):
    return int(server.listeners[number].split("?")[0].rsplit("/", 1)[0 if "/ws" in server.listeners[number] else 1]
               .rsplit(":", 1)[1])


def python(code, *options, **env):
    """Runs a program of Python with this package and this library."""
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "PYTHONPATH": str(PACKAGE), **env})
