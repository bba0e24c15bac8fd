"""Log lines: structured, escaped, capped, silent about what was said; and no reader of theirs holds up the chat."""
import asyncio
import json
import os
import re
import signal
import stat
import subprocess

from conftest import as_record


LOGFMT = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]*)(?: |$)')


def parse_logfmt(line):
    assert LOGFMT.sub("", line) == "", line
    return {key: json.loads(value) if value.startswith('"') else value for key, value in LOGFMT.findall(line)}


async def some_chat(chatd, room='a "b"=c \\d', name="o'hara"):
    alice = await chatd.client(name, room=room, session="secret-session-key-0123456789")
    await alice.post("the-body-of-a-post", room=room)
    await alice.chat("the-body-of-a-post")
    await alice.send("{broken")
    await alice.get("error")
    await alice.close()


async def test_what_happens_is_told_but_never_what_was_said(chatd):
    await some_chat(chatd)
    gone = chatd.record("disconnected")
    assert int(gone["duration_ms"]) >= 0 and gone["reason"]
    chatd.stop()
    events = {record["event"] for record in chatd.records()}
    assert {"listening", "started", "connected", "joined", "post", "disconnected", "stopped"} <= events
    for line in chatd.log.all:
        record = as_record(line)
        assert record, f"not JSON: {line}"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
        assert record["level"] in ("debug", "info", "warning", "error")
    text = "\n".join(chatd.log.all)
    assert "the-body" not in text and "secret-session" not in text and "{broken" not in text


async def test_logfmt_can_be_read_back_whatever_clients_send(start_chatd):
    chatd = start_chatd("--log-format", "logfmt", "--log-level", "debug", log_level=None, wait=False)
    url = chatd.log.wait(lambda line: (m := re.search(r"event=listening url=(ws:\S+)", line)) and m.group(1))
    chatd.urls = [url]
    await some_chat(chatd)
    chatd.stop()
    records = [parse_logfmt(line) for line in chatd.log.all]
    assert any(record.get("room") == 'a "b"=c \\d' for record in records)


async def test_the_level_leaves_out_what_is_less(start_chatd):
    chatd = start_chatd(log_level="info")
    await some_chat(chatd)
    chatd.stop()
    assert {record["level"] for record in chatd.records()} <= {"info", "warning", "error"}


def read_up_to(path, event, begin=lambda: None):
    """Waits until the file, made anew or not, has a line of this event."""
    reader = subprocess.Popen(["tail", "-F", "-n", "+1", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        begin()
        for line in reader.stdout:
            if json.loads(line)["event"] == event:
                break
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


def test_the_log_file_is_private_and_opened_anew_on_hangup(start_chatd, tmp_path):
    path, old = tmp_path / "log", tmp_path / "log.1"
    chatd = start_chatd("--log-file", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read_up_to(path, "started")
    path.rename(old)
    read_up_to(path, "reloaded", lambda: chatd.process.send_signal(signal.SIGHUP))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "started" in old.read_text()
    chatd.stop()
    assert json.loads(path.read_text().splitlines()[-1])["event"] == "stopped"
    assert chatd.log.all == []


async def test_a_log_that_nobody_reads_holds_nobody_up_and_the_loss_is_told(start_chatd):
    reading, writing = os.pipe()
    chatd = start_chatd(stderr=writing, wait=False)
    os.close(writing)
    chatd.out.wait(lambda line: line if "others" in line else None)
    where = chatd.out.wait(lambda line: (m := re.search(r"wscat -c (ws:\S+)", line)) and m.group(1))
    chatd.urls = [where.replace("localhost", "127.0.0.1")]
    alice = await chatd.client("alice")
    for number in range(6000):
        await alice.send({"type": "post", "content": str(number)})
    await alice.chat("5999")
    with os.fdopen(reading, "rb") as pipe:
        seen = 0
        while seen < 200_000:
            seen += len(pipe.read1(65536))
        await alice.post("one more, whose line finds room")
        chatd.process.send_signal(signal.SIGTERM)
        rest = (await asyncio.to_thread(pipe.read)).decode()
    await chatd.ended()
    dropped = [record for line in rest.splitlines() if (record := as_record(line)) and
               record["event"] == "log_dropped"]
    assert dropped and int(dropped[0]["lines"]) > 0
