"""SIGINT and SIGTERM end chatd in good order, a second one at once; SIGHUP reloads all or nothing."""
import signal
import socket

import pytest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_stopping_tells_clients_when_to_come_back(chatd, number):
    alice = await chatd.client("alice")
    lines = chatd.lines()
    lines.send({"type": "hello", "name": "bob"})
    lines.get("welcome")
    chatd.process.send_signal(number)
    bye = await alice.get("bye")
    assert bye["retry_after_ms"] > 0
    assert (await alice.closed())[0] == 1001
    assert lines.get("bye")
    assert lines.file.readline() == b""
    lines.close()
    await chatd.ended()
    events = [record["event"] for record in chatd.records()]
    assert "stopping" in events and events[-1] == "stopped"


async def test_stopping_finishes_what_is_under_way(chatd):
    alice, bob = await chatd.client("alice"), await chatd.client("bob")
    for number in range(200):
        await alice.send({"type": "post", "content": f"line {number}", "cid": f"c-{number}"})
    await alice.get("ack", cid="c-199")
    chatd.process.send_signal(signal.SIGTERM)
    for number in range(200):
        await bob.chat(f"line {number}")
    await bob.get("bye")
    await chatd.ended()


def half_open(chatd):
    """A WebSocket that never answers a close."""
    raw = socket.create_connection(chatd.address("ws"), 20)
    raw.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return raw


def test_a_second_signal_ends_it_at_once(start_chatd):
    chatd = start_chatd("--stop-time", "1h", "--close-time", "1h")
    raw = half_open(chatd)
    chatd.process.send_signal(signal.SIGTERM)
    chatd.record("stopping")
    chatd.process.send_signal(signal.SIGTERM)
    chatd.wait_end(status=1)
    raw.close()


def test_whoever_does_not_close_holds_it_up_no_longer_than_stop_time(start_chatd):
    chatd = start_chatd("--stop-time", "200ms", "--close-time", "1h")
    raw = half_open(chatd)
    chatd.stop()
    raw.close()


async def test_hangup_reloads_what_may_change(start_chatd, settings_file):
    path = settings_file("max-content: 10\nlog-level: info\n")
    chatd = start_chatd("--config", path, "--log-format", "json", log_level=None)
    alice = await chatd.client("alice")
    assert (await alice.ask({"type": "post", "content": "x" * 20}))["code"] == "too_long"
    path.write_text("max-content: 20\nlog-level: debug\nbacklog: 7\n")
    chatd.process.send_signal(signal.SIGHUP)
    assert chatd.record("needs_restart")["option"] == "backlog"
    assert chatd.record("option_changed", option="max-content")["to"] == "20"
    chatd.record("reloaded")
    await alice.post("x" * 20)
    chatd.record("post")


async def test_a_reload_is_all_or_nothing(start_chatd, settings_file):
    path = settings_file("max-content: 10\n")
    chatd = start_chatd("--config", path)
    alice = await chatd.client("alice")
    for number, wrong in enumerate(("max-content: 20\nmax-rooms: none\n", "max-content: 20\nmax-roms: 5\n", "{")):
        mark = chatd.mark()
        path.write_text(wrong)
        chatd.process.send_signal(signal.SIGHUP)
        assert str(path) in chatd.record("reload_failed", since=mark)["message"]
        answer = await alice.ask({"type": "post", "content": f"{number}" * 20})
        assert answer["code"] == "too_long"
    path.unlink()
    chatd.process.send_signal(signal.SIGHUP)
    chatd.wait_ready()
    await alice.post("still here")


async def test_a_reload_whose_log_file_cannot_be_opened_changes_nothing(start_chatd, settings_file, tmp_path):
    path = settings_file("max-content: 10\n")
    chatd = start_chatd("--config", path)
    alice = await chatd.client("alice")
    path.write_text(f"max-content: 20\nlog-file: {tmp_path}/none/log\n")
    chatd.process.send_signal(signal.SIGHUP)
    assert "none/log" in chatd.record("reload_failed")["message"]
    assert (await alice.ask({"type": "post", "content": "x" * 20}))["code"] == "too_long"


def test_a_reload_that_fails_leaves_the_log_where_it_is(start_chatd, settings_file, tmp_path):
    path = settings_file("max-content: 10\n")
    chatd = start_chatd("--config", path)
    path.write_text(f"max-content: 20\nrooms: \"a\\ab\"\nlog-file: {tmp_path}/log\n")
    chatd.process.send_signal(signal.SIGHUP)
    assert f"{path}:2:" in chatd.record("reload_failed")["message"]
    assert not (tmp_path / "log").exists()
