"""What chatd answers over HTTP, and what it tells in its log lines, is in docs/chatd.md."""

import re

from pages import ROOT
from reference import CHATD_MD, RUNNING, man, plain, section, source


def routes():
    """Paths that chatd answers by itself."""
    found = []
    for path in sorted((ROOT / "examples" / "chatd").glob("*.c")):
        text = path.read_text(encoding="utf-8")
        for argument in re.findall(r"\bchathub_route(?:_methods)?\([^,]+, ([^,]+),", text):
            literal = argument if argument.startswith('"') else re.search(rf"^#define {argument} (\".*\")$", text, re.M)[1]
            found.append(literal.strip('"'))
    return found


def test_every_route_of_chatd_is_told():
    assert {"/api/create-server", "/server.json"} <= set(routes())
    assert [route for route in routes() if route not in RUNNING] == []


def test_every_status_of_the_api_is_told():
    statuses = set(re.findall(r"\banswer\([\w>-]+, (\d{3}),", source("examples/chatd/api.c")))
    told = set(re.findall(r"\d{3}", " ".join(re.findall(r"^\| ([\d, ]+) \|", section(CHATD_MD, "Several servers"), re.M))))
    assert len(statuses) >= 5 and statuses - told == set()


def test_every_field_of_server_json_is_told():
    fields = set(re.findall(r'\\"(\w+)\\":', source("examples/chatd/places.c")))
    assert {"sockets", "servers", "create"} <= fields
    assert {field for field in fields if f'"{field}":' not in CHATD_MD and f"`{field}`" not in CHATD_MD} == set()


def test_every_part_of_a_listeners_query_is_told():
    parts = set(re.findall(r'chi_span_is\(key, "(\w+)"\)', source("libchathub/net/address.c")))
    assert {"room", "dialect", "history"} <= parts
    assert {part for part in parts if f"{part}=" not in RUNNING} == set()


def test_every_variable_that_is_read_is_in_the_manual_page():
    read = set(re.findall(r'\b(?:getenv|take)\("([A-Z_]+)"', source("examples/chatd/*.c")))
    assert {name for name in read if name not in plain(section(man("chatd.1"), "ENVIRONMENT", "#"))} == set()


def log_events(text):
    """(names of events, calls whose event was not understood)."""
    found, strange = set(), []
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for expression in re.findall(r"\bCHATHUB_(?:DEBUG|INFO|WARNING|ERROR),\s*([^,;{}]+),", text):
        words = re.findall(r'"([^"]*)"', expression)
        found.update(words)
        if not words:
            strange.append(expression)
    # In two files a function of its own makes the record.
    found.update(re.findall(r'\btell\(carriers, carrier, "([^"]*)"', text))
    return found, strange


def events():
    return log_events(source("libchathub/**/*.c", "examples/chatd/*.c"))


def told_events(text):
    """Names in the first column of tables of events."""
    tables = re.findall(r"^\| (?:event|log line) \|.*\n((?:\|.*\n)+)", text, re.M)
    return {name for table in tables for row in re.findall(r"^\|([^|]+)\|", table, re.M) for name in re.findall(r"`(\w+)`", row)}


def test_every_log_event_is_told():
    found, strange = events()
    assert {"connected", "disconnected", "log_down", "log_up", "listening", "log_dropped", "post", "node_down"} <= found
    assert strange == ["event"], "teach log_events() to understand this"
    assert found - told_events(RUNNING) == set()
    assert told_events(CHATD_MD) - found == set()
    assert all(re.fullmatch(r"[a-z_]+", event) for event in found)


def test_a_new_log_event_is_noticed():
    text = """say(hub, CHATHUB_INFO, "frobnicated", NULL);
        log(self, down ? CHATHUB_ERROR : CHATHUB_WARNING,
            down ? "a" : "b", x);"""
    assert log_events(text) == ({"frobnicated", "a", "b"}, [])
    assert log_events("log(self, CHATHUB_INFO, event, x);") == (set(), ["event"])
