#!/usr/bin/python3
"""Drives the shared library by ctypes alone, which proves that its face can be used from other languages.

    bindings/python/smoke.py PATH/libchathub.so.0

Makes a hub on a port that the system chooses, lets a client inside the process and one at a socket talk to each other,
steps the hub's own loop, stops it and frees it. Prints "ok", or what went wrong with exit status 1.
"""
import ctypes
import select
import socket
import sys
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

NUL = c_size_t(-1)
WELCOME, MESSAGE, ACK, JOINED, CLOSED = 1, 2, 3, 5, 16


class Event(Structure):
    """struct chathub_event"""
    _fields_ = [("size", c_uint32), ("type", c_uint32), ("client", c_uint64), ("position", c_uint64),
                ("prev", c_uint64), ("time", c_uint64), ("count", c_uint64), ("code", c_int32), ("flags", c_uint32),
                ("room", c_char_p), ("sender", c_char_p), ("sender_id", c_char_p), ("content", c_char_p),
                ("content_len", c_size_t), ("cid", c_char_p), ("data", c_char_p), ("session", c_char_p),
                ("message", c_char_p), ("ref", c_char_p), ("json", c_char_p), ("json_len", c_size_t)]


EventCallback = CFUNCTYPE(None, c_void_p, POINTER(Event), c_void_p)
StopCallback = CFUNCTYPE(None, c_void_p)


def load(path):
    """The library with the types of the functions that are used here."""
    lib = ctypes.CDLL(path)
    for name, result, *arguments in (
            ("version", c_char_p), ("strerror", c_char_p, c_int), ("errname", c_char_p, c_int),
            ("new", c_int, POINTER(c_void_p)), ("free", None, c_void_p), ("problem", c_char_p, c_void_p),
            ("set", c_int, c_void_p, c_char_p, c_char_p),
            ("set_number", c_int, c_void_p, c_char_p, c_uint64),
            ("get", c_int, c_void_p, c_char_p, c_char_p, c_size_t),
            ("listen", c_int, c_void_p, c_char_p),
            ("listener", c_int, c_void_p, c_uint32, c_char_p, c_size_t),
            ("start", c_int, c_void_p, c_void_p), ("step", c_int, c_void_p, c_int), ("fd", c_int, c_void_p),
            ("timeout", c_int, c_void_p), ("stop", c_int, c_void_p, StopCallback, c_void_p),
            ("client", c_int, c_void_p, c_char_p, EventCallback, c_void_p, POINTER(c_uint64)),
            ("join", c_int, c_void_p, c_uint64, c_char_p, c_int, c_uint64),
            ("post", c_int, c_void_p, c_uint64, c_char_p, c_char_p, c_size_t, c_char_p),
            ("close", c_int, c_void_p, c_uint64)):
        function = getattr(lib, "chathub_" + name)
        function.restype, function.argtypes = result, arguments
    return lib


class Smoke:
    """One hub and what happened to its client."""

    def __init__(self, lib):
        self.lib, self.hub, self.events, self.stopped = lib, c_void_p(), [], False
        self.on_event = EventCallback(self.take)
        self.on_stop = StopCallback(self.done)

    def take(self, _hub, event, _arg):
        event = event.contents
        assert event.size >= ctypes.sizeof(Event)
        self.events.append((event.type, event.content[:event.content_len].decode(), event.sender.decode(),
                            event.cid.decode(), event.position))

    def done(self, _arg):
        self.stopped = True

    def check(self, result):
        """An error becomes an exception."""
        if result < 0:
            problem = self.lib.chathub_problem(self.hub) or self.lib.chathub_strerror(result)
            raise RuntimeError(f"{self.lib.chathub_errname(result).decode()}: {problem.decode()}")
        return result

    def step_until(self, test):
        """Lets the hub work, as a host with a loop of its own does: wait for its descriptor, then step."""
        for _ in range(10000):
            if test():
                return
            timeout = self.lib.chathub_timeout(self.hub)
            wait = 1.0 if timeout < 0 else min(timeout / 1000, 1.0)
            select.select([self.lib.chathub_fd(self.hub)], [], [], wait)
            if self.check(self.lib.chathub_step(self.hub, 0)) == 0:
                break
        if not test():
            raise RuntimeError("what was waited for did not happen")

    def happened(self, kind, content=None):
        return next((event for event in self.events if event[0] == kind and content in (None, event[1])), None)


def open_hub(smoke):
    lib = smoke.lib
    smoke.check(lib.chathub_new(byref(smoke.hub)))
    smoke.check(lib.chathub_set(smoke.hub, b"default-room", b"lobby"))
    smoke.check(lib.chathub_set_number(smoke.hub, b"max-clients", 10))
    assert lib.chathub_set(smoke.hub, b"max-clinets", b"10") < 0
    assert b"max-clients" in lib.chathub_problem(smoke.hub)
    text = ctypes.create_string_buffer(64)
    assert lib.chathub_get(smoke.hub, b"default-room", text, len(text)) == 5 and text.value == b"lobby"
    smoke.check(lib.chathub_listen(smoke.hub, b"tcp://127.0.0.1:0"))
    smoke.check(lib.chathub_start(smoke.hub, None))
    smoke.check(lib.chathub_listener(smoke.hub, 0, text, len(text)))
    return int(text.value.rsplit(b":", 1)[1])


def talk(smoke, port):
    lib, client = smoke.lib, c_uint64()
    smoke.check(lib.chathub_client(smoke.hub, b"python", smoke.on_event, None, byref(client)))
    smoke.check(lib.chathub_join(smoke.hub, client, None, 0, 0))
    smoke.check(lib.chathub_post(smoke.hub, client, None, "grüß".encode(), NUL, b"c-1"))
    smoke.step_until(lambda: smoke.happened(ACK) and smoke.happened(MESSAGE, "grüß"))
    assert smoke.happened(WELCOME) and smoke.happened(JOINED)
    assert smoke.happened(MESSAGE)[2:4] == ("python", "c-1")
    assert smoke.happened(MESSAGE)[4] == smoke.happened(ACK)[4] > 0
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b'{"content":"hello python"}\n')
        smoke.step_until(lambda: smoke.happened(MESSAGE, "hello python"))
    smoke.check(lib.chathub_close(smoke.hub, client))
    smoke.step_until(lambda: smoke.happened(CLOSED))
    assert lib.chathub_post(smoke.hub, client, None, b"late", NUL, None) < 0


def main(path):
    smoke = Smoke(load(path))
    port = open_hub(smoke)
    talk(smoke, port)
    smoke.check(smoke.lib.chathub_stop(smoke.hub, smoke.on_stop, None))
    smoke.step_until(lambda: smoke.stopped)
    smoke.lib.chathub_free(smoke.hub)
    smoke.lib.chathub_free(None)
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
