"""What chathub.h declares, for ctypes: its numbers, structs, callbacks and functions, in its order and by its names.

Nothing is loaded here. tests/python/test_abi.py compares all of it with the header: sizes, offsets, values, types.
"""
from __future__ import annotations

import ctypes
from ctypes import (CFUNCTYPE, POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64,
                    c_void_p)
from typing import Any, Dict, Final, Tuple

# In place of a length: the text ends in NUL.
NUL: Final = (1 << 8 * ctypes.sizeof(c_size_t)) - 1

# ------------------------------------------------------------------------------------------ numbers

OPTION_TEXT: Final = 0
OPTION_SWITCH: Final = 1
OPTION_NUMBER: Final = 2
OPTION_SIZE: Final = 3
OPTION_TIME: Final = 4
OPTION_LIST: Final = 5

METHOD_GET: Final = 0
METHOD_HEAD: Final = 1
METHOD_POST: Final = 2
METHOD_DELETE: Final = 3

DEBUG: Final = 0
INFO: Final = 1
WARNING: Final = 2
ERROR: Final = 3

HELLO: Final = 0
JOIN: Final = 1
POST: Final = 2
HISTORY: Final = 3

DENY: Final = 0
ALLOW: Final = 1
LATER: Final = 2

EVENT_WELCOME: Final = 1
EVENT_MESSAGE: Final = 2
EVENT_ACK: Final = 3
EVENT_ERROR: Final = 4
EVENT_JOINED: Final = 5
EVENT_LEFT: Final = 6
EVENT_PRESENCE: Final = 7
EVENT_TYPING: Final = 8
EVENT_STATUS: Final = 9
EVENT_GAP: Final = 10
EVENT_HISTORY: Final = 11
EVENT_WHO: Final = 12
EVENT_PONG: Final = 13
EVENT_OK: Final = 14
EVENT_BYE: Final = 15
EVENT_CLOSED: Final = 16
EVENT_PRIVATE: Final = 17
EVENT_QUESTION: Final = 18
EVENT_LOG: Final = 19
EVENT_STOPPED: Final = 20

DUP: Final = 1
ON: Final = 2

START_DEFAULT: Final = 0
START_NOW: Final = 1
START_LAST: Final = 2
START_AFTER: Final = 3

ADOPT_HTTP: Final = 0
ADOPT_WEBSOCKET: Final = 1
ADOPT_LINES: Final = 2

# ------------------------------------------------------------------------------------------ structs


class Option(ctypes.Structure):
    """struct chathub_option"""

    _fields_ = [("size", c_uint32), ("type", c_uint32), ("name", c_char_p), ("standard", c_char_p), ("help", c_char_p),
                ("group", c_char_p), ("min", c_uint64), ("max", c_uint64), ("live", c_uint8), ("common", c_uint8),
                ("reserved", c_uint8 * 6)]


class Http(ctypes.Structure):
    """struct chathub_http"""

    _fields_ = [("size", c_uint32), ("head", c_uint32), ("path", c_char_p), ("query", c_char_p), ("address", c_char_p),
                ("method", c_int32), ("local", c_uint32), ("origin", c_char_p), ("host", c_char_p),
                ("forwarded", c_uint32), ("reserved", c_uint32)]


class Field(ctypes.Structure):
    """struct chathub_field"""

    _fields_ = [("key", c_char_p), ("value", c_char_p), ("len", c_size_t)]


class Record(ctypes.Structure):
    """struct chathub_record"""

    _fields_ = [("size", c_uint32), ("level", c_int32), ("event", c_char_p), ("fields", POINTER(Field)),
                ("count", c_size_t)]


class Question(ctypes.Structure):
    """struct chathub_question"""

    _fields_ = [("size", c_uint32), ("action", c_int32), ("id", c_uint64), ("client", c_uint64), ("user", c_char_p),
                ("name", c_char_p), ("room", c_char_p), ("content", c_char_p), ("content_len", c_size_t)]


class Event(ctypes.Structure):
    """struct chathub_event"""

    _fields_ = [("size", c_uint32), ("type", c_uint32), ("client", c_uint64), ("position", c_uint64),
                ("prev", c_uint64), ("time", c_uint64), ("count", c_uint64), ("code", c_int32), ("flags", c_uint32),
                ("room", c_char_p), ("sender", c_char_p), ("sender_id", c_char_p), ("content", c_char_p),
                ("content_len", c_size_t), ("cid", c_char_p), ("data", c_char_p), ("session", c_char_p),
                ("message", c_char_p), ("ref", c_char_p), ("json", c_char_p), ("json_len", c_size_t),
                ("id", c_uint64)]


class Batch(ctypes.Structure):
    """struct chathub_batch"""

    # Not c_char_p, of which ctypes would make a text at each look.
    _fields_ = [("size", c_uint32), ("count", c_uint32), ("events", c_void_p), ("texts", c_void_p),
                ("texts_len", c_size_t)]


class Adoption(ctypes.Structure):
    """struct chathub_adoption"""

    _fields_ = [("size", c_uint32), ("as", c_int32), ("fd", c_int32), ("reserved", c_uint32), ("url", c_char_p),
                ("bytes", c_void_p), ("len", c_size_t), ("subprotocol", c_char_p)]


CarrierSend = CFUNCTYPE(c_int64, c_void_p, c_void_p, c_size_t)
CarrierClose = CFUNCTYPE(None, c_void_p, c_int, c_char_p)


class Carrier(ctypes.Structure):
    """struct chathub_carrier"""

    _fields_ = [("size", c_uint32), ("reserved", c_uint32), ("send", CarrierSend), ("close", CarrierClose)]


class Stats(ctypes.Structure):
    """struct chathub_stats"""

    _fields_ = [("size", c_uint32), ("reserved", c_uint32)] + [(name, c_uint64) for name in (
        "clients", "observers", "sessions", "rooms", "members", "drafts", "connections", "window_bytes", "held_bytes",
        "behind", "posts", "dups", "refused", "bad_requests", "deliveries", "writes", "pages", "gaps", "log_commits",
        "log_failures", "log_pages", "log_down")]


STRUCTS: Final[Dict[str, Any]] = {
    "chathub_option": Option, "chathub_http": Http, "chathub_field": Field, "chathub_record": Record,
    "chathub_question": Question, "chathub_event": Event, "chathub_batch": Batch, "chathub_adoption": Adoption,
    "chathub_carrier": Carrier, "chathub_stats": Stats,
}

# ------------------------------------------------------------------------------------------ callbacks

# `struct chathub *`, and a pointer of the host's.
_hub = c_void_p
_arg = c_void_p

StopCallback = CFUNCTYPE(None, _arg)
WakeCallback = CFUNCTYPE(None, _hub, _arg)
RouteCallback = CFUNCTYPE(c_int, _hub, POINTER(Http), _arg)
LogCallback = CFUNCTYPE(None, POINTER(Record), _arg)
AuthorizeCallback = CFUNCTYPE(c_int, _hub, POINTER(Question), _arg)
EventCallback = CFUNCTYPE(None, _hub, POINTER(Event), _arg)
ProgressCallback = CFUNCTYPE(c_int, c_uint64, c_uint64, _arg)
LineCallback = CFUNCTYPE(c_int, c_char_p, c_size_t, _arg)
NextLineCallback = CFUNCTYPE(c_int, POINTER(c_char_p), POINTER(c_size_t), _arg)

CALLBACKS: Final[Dict[str, Any]] = {
    "chathub_stop_cb": StopCallback, "chathub_wake_cb": WakeCallback, "chathub_route_cb": RouteCallback,
    "chathub_log_cb": LogCallback, "chathub_authorize_cb": AuthorizeCallback, "chathub_event_cb": EventCallback,
    "chathub_progress_cb": ProgressCallback, "chathub_line_cb": LineCallback,
    "chathub_next_line_cb": NextLineCallback,
}

# ------------------------------------------------------------------------------------------ functions

# name: (result, arguments)
FUNCTIONS: Final[Dict[str, Tuple[Any, Tuple[Any, ...]]]] = {
    "chathub_strerror": (c_char_p, (c_int,)),
    "chathub_errname": (c_char_p, (c_int,)),
    "chathub_version": (c_char_p, ()),
    "chathub_has": (c_int, (c_char_p,)),
    "chathub_new": (c_int, (POINTER(_hub),)),
    "chathub_free": (None, (_hub,)),
    "chathub_problem": (c_char_p, (_hub,)),
    "chathub_check": (c_int, (_hub,)),
    "chathub_start": (c_int, (_hub, c_void_p)),
    "chathub_run": (c_int, (_hub,)),
    "chathub_start_thread": (c_int, (_hub,)),
    "chathub_step": (c_int, (_hub, c_int)),
    "chathub_fd": (c_int, (_hub,)),
    "chathub_timeout": (c_int, (_hub,)),
    "chathub_stop": (c_int, (_hub, StopCallback, _arg)),
    "chathub_wake": (c_int, (_hub,)),
    "chathub_on_wake": (c_int, (_hub, WakeCallback, _arg)),
    "chathub_set": (c_int, (_hub, c_char_p, c_char_p)),
    "chathub_set_number": (c_int, (_hub, c_char_p, c_uint64)),
    "chathub_get": (c_int, (_hub, c_char_p, c_char_p, c_size_t)),
    "chathub_option_at": (c_int, (c_uint32, POINTER(Option))),
    "chathub_listen": (c_int, (_hub, c_char_p)),
    "chathub_listen_fd": (c_int, (_hub, c_int)),
    "chathub_listener": (c_int, (_hub, c_uint32, c_char_p, c_size_t)),
    "chathub_asset": (c_int, (_hub, c_char_p, c_char_p, c_void_p, c_size_t)),
    "chathub_route": (c_int, (_hub, c_char_p, RouteCallback, _arg)),
    "chathub_route_methods": (c_int, (_hub, c_char_p, c_uint32, RouteCallback, _arg)),
    "chathub_http_body": (c_int, (_hub, c_char_p, c_void_p, c_size_t)),
    "chathub_on_log": (c_int, (_hub, c_int, LogCallback, _arg)),
    "chathub_on_authorize": (c_int, (_hub, c_uint32, AuthorizeCallback, _arg)),
    "chathub_answer": (c_int, (_hub, c_uint64, c_int, c_char_p)),
    "chathub_fold": (c_int, (_hub, c_char_p, c_char_p, c_size_t)),
    "chathub_client": (c_int, (_hub, c_char_p, EventCallback, _arg, POINTER(c_uint64))),
    "chathub_join": (c_int, (_hub, c_uint64, c_char_p, c_int, c_uint64)),
    "chathub_leave": (c_int, (_hub, c_uint64, c_char_p)),
    "chathub_post": (c_int, (_hub, c_uint64, c_char_p, c_char_p, c_size_t, c_char_p)),
    "chathub_request": (c_int, (_hub, c_uint64, c_char_p, c_size_t)),
    "chathub_close": (c_int, (_hub, c_uint64)),
    "chathub_redact": (c_int, (_hub, c_uint64, c_char_p, c_uint64)),
    "chathub_disconnect": (c_int, (_hub, c_uint64, c_int, c_char_p)),
    "chathub_queue_fd": (c_int, (_hub,)),
    "chathub_take": (c_int, (_hub, POINTER(Batch))),
    "chathub_queue_questions": (c_int, (_hub, c_uint32)),
    "chathub_queue_log": (c_int, (_hub, c_int)),
    "chathub_adopt": (c_int, (_hub, POINTER(Adoption))),
    "chathub_carry": (c_int, (_hub, POINTER(Carrier), c_void_p, c_char_p, c_char_p, POINTER(c_uint64))),
    "chathub_carrier_line": (c_int, (_hub, c_uint64, c_char_p, c_size_t)),
    "chathub_carrier_ready": (c_int, (_hub, c_uint64)),
    "chathub_carrier_writable": (c_int, (_hub, c_uint64)),
    "chathub_carrier_closed": (c_int, (_hub, c_uint64, c_int)),
    "chathub_stats": (c_int, (_hub, POINTER(Stats))),
    "chathub_log_backup": (c_int, (_hub, c_char_p, ProgressCallback, _arg)),
    "chathub_log_check": (c_int, (_hub, LineCallback, ProgressCallback, _arg)),
    "chathub_log_export": (c_int, (_hub, c_char_p, LineCallback, ProgressCallback, _arg)),
    "chathub_log_import": (c_int, (_hub, NextLineCallback, _arg, POINTER(c_uint64))),
}
