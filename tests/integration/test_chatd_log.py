"""What chatd does with its log beside serving it: the place that it chooses, backups, checks, export and import."""
import asyncio
import json
import os
import pathlib
import pty
import re
import resource
import secrets
import shutil
import signal
import sqlite3
import stat
import subprocess
import tempfile

import pytest

from conftest import PATIENCE, check_sanitizers, find_program
from crowd import assert_chain, read_all
from faults import until

pytestmark = pytest.mark.usefixtures("sqlite")

# What an address sanitizer needs rights for that are given up.
NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
as_root = pytest.mark.skipif(os.getuid() != 0, reason="this is not root")


def option(path):
    return f"--log=sqlite:{path}"


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def line(number, **fields):
    return json.dumps({"type": "chat", "room": "tea", "sender": "Ann", "sender_id": "u1", "content": f"post {number}",
                       "timestamp": "2024-01-02T03:04:05.678Z", **fields})


@pytest.fixture
def log_of(run_chatd, tmp_path):
    """A log with so many entries, made by an import: answers its path."""
    def make(count, folder=tmp_path, **fields):
        path = folder / "made.db"
        text = "".join(line(number, **fields) + "\n" for number in range(count))
        done = run_chatd(option(path), "--import", input=text)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout == f"{count} {'entry was' if count == 1 else 'entries were'} added to {path}\n"
        return path
    return make


@pytest.fixture
def begin_chatd():
    """Starts chatd as a tool, with pipes: a Popen, which is ended with the test."""
    begun = []

    def begin(*args, **options):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        begun.append(subprocess.Popen([str(find_program("chatd")), *map(str, args)], **options))
        return begun[-1]
    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()


def end_of(process):
    """Exit status and standard error of one that ends."""
    said = process.stderr.read().decode()
    check_sanitizers(said)
    return process.wait(PATIENCE), said


# ------------------------------------------------------------------------------------------------ where it is


@pytest.mark.parametrize("args,name", [
    ([], "main-8080"),
    (["--listen", "tcp://localhost:7001", "--listen", "ws://localhost:9000/ws"], "main-7001"),
    (["--listen", "tcp+unix:/run/x.sock", "--listen", "ws://[::1]:9000/ws?room=a:b"], "main-9000"),
    (["--listen", "ws+unix:/run/the.chat.sock?path=/a/b.c"], "main-the.chat"),
    (["--listen", "tcp://localhost:0", "--name", "tea"], "tea-0"),
    (["--listen", "tcp://localhost:0", "--name", "../a b"], "_._a_b-0"),
])
def test_the_default_place_has_the_hubs_name_and_its_port(run_chatd, args, name):
    printed = run_chatd("--print-config", *args).stdout
    assert f'log: "sqlite:chatd-data/{name}.db"\n' in printed


def test_whoever_names_a_log_gets_it(run_chatd, settings_file):
    def log(*args, **env):
        return re.search('^log: "(.*)"$', run_chatd("--print-config", *args, env=env).stdout, re.M).group(1)
    assert log("--log", "memory") == log(CHATD_LOG="memory") == "memory"
    assert log("--config", settings_file("log: sqlite:x.db\n")) == "sqlite:x.db"


def test_the_first_words_name_the_file(start_chatd, tmp_path):
    chatd = start_chatd(log=None, cwd=tmp_path)
    path = tmp_path / "chatd-data/main-0.db"
    assert chatd.out.wait(lambda text: text if "data" in text else None).split() == ["data", str(path.resolve())]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_reload_computes_the_same_place(start_chatd, settings_file, tmp_path):
    path = settings_file("max-clients: 7\n")
    chatd = start_chatd("--config", path, log=None, cwd=tmp_path)
    path.write_text("max-clients: 8\n")
    since = chatd.mark()
    chatd.process.send_signal(signal.SIGHUP)
    chatd.record("reloaded", since)
    assert not [record for record in chatd.records() if record["event"] == "needs_restart"]
    path.write_text("max-clients: 8\nname: tea\n")
    chatd.process.send_signal(signal.SIGHUP)
    assert chatd.record("needs_restart", since, option="log")


def test_a_log_that_cannot_be_opened_is_no_half_start(run_chatd, tmp_path):
    (tmp_path / "chatd-data").write_text("in the way")
    done = run_chatd("--listen", "tcp://127.0.0.1:0")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.splitlines()[-1].startswith("chatd: log sqlite:")
    assert "by default; --log" in done.stderr and "Not a directory" in done.stderr


@pytest.fixture
def passable():
    """A folder into which anybody may go; pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        yield pathlib.Path(folder)


@as_root
async def test_the_log_is_handed_to_the_user_and_works_on(start_chatd, run_chatd, passable):
    path = passable / "made/for/this/chat.db"
    chatd = start_chatd("--user", "nobody", option(path), env=NO_LEAKS)
    for one in (*path.parent.iterdir(), path.parent, path.parent.parent, passable / "made"):
        assert (one.stat().st_uid, one.stat().st_gid) == (65534, 65534), one
    assert passable.stat().st_uid == 0
    assert {one.name for one in path.parent.iterdir()} == {"chat.db", "chat.db-wal", "chat.db-shm", "chat.db-lock"}
    alice = await chatd.client("alice")
    await alice.post("as nobody")
    await alice.close()
    chatd.stop()
    second = start_chatd("--user", "nobody", option(path), env=NO_LEAKS)
    assert [entry["content"] for entry in await read_all(await second.client("bob"), "general")] == ["as nobody"]
    second.stop()
    done = run_chatd("--user", "nobody", option(passable / "made/other.db"), "--import", input=line(1) + "\n", env=NO_LEAKS)
    assert done.returncode == 0 and (passable / "made/other.db").stat().st_uid == 65534, done.stderr


@as_root
def test_a_place_that_the_user_cannot_use_is_told_at_the_start(run_chatd, passable):
    folder = passable / "roots"
    folder.mkdir(0o700)
    done = run_chatd("--user", "nobody", option(folder / "chat.db"), "--listen", "tcp://127.0.0.1:0", env=NO_LEAKS)
    assert done.returncode == 1 and "--user: nobody cannot write" in done.stderr and "chown" in done.stderr
    assert folder.stat().st_uid == 0


@as_root
def test_what_a_link_leads_to_is_not_given_away(run_chatd, log_of, passable):
    path, target = log_of(1, passable), passable / "target"
    target.hardlink_to(path)
    done = run_chatd("--user", "nobody", option(path), "--listen", "tcp://127.0.0.1:0", env=NO_LEAKS)
    assert done.returncode == 1 and "nobody cannot write" in done.stderr and target.stat().st_uid == 0


# ------------------------------------------------------------------------------------------------------ backup


async def post_until(client, name, stop):
    """Posts, acked one by one, until it is to stop; answers what was acked."""
    acked = []
    while not stop.is_set():
        acked.append((await client.post(f"{name} {len(acked)}", cid=secrets.token_hex(8)))["position"])
    return acked


@pytest.mark.takes(300)
async def test_a_backup_of_a_busy_server_has_all_that_was_acked_before(start_logged, run_chatd, log_path, tmp_path):
    chatd = start_logged()
    clients = [await chatd.client(f"peer{number}", join=None) for number in range(4)]
    stop = asyncio.Event()
    posting = [asyncio.create_task(post_until(client, number, stop)) for number, client in enumerate(clients)]
    reader = await chatd.client("reader", room=None)
    for number in range(3):
        at_least = (await reader.ask({"type": "join", "room": "general", "last": 1}, "joined"))["position"]
        await reader.ask({"type": "leave", "room": "general"}, "left")
        copy = tmp_path / f"copy{number}.db"
        done = await asyncio.to_thread(run_chatd, option(log_path), "--backup", copy)
        assert done.returncode == 0 and done.stdout.startswith(f"{log_path} was copied to {copy} ("), done.stderr
        assert (await asyncio.to_thread(run_chatd, option(log_path), "--check-log")).returncode == 0
        entries = lines_of(await asyncio.to_thread(run_chatd, option(copy), "--export", "general"))
        assert_chain(entries)
        assert entries[-1]["position"] >= at_least
    stop.set()
    acked = {position for positions in await asyncio.gather(*posting) for position in positions}
    known = await read_all(reader, "general")
    assert acked <= {entry["position"] for entry in known}
    await chatd.stopped()
    last = tmp_path / "copy2.db"
    assert run_chatd(option(last), "--check-log").stdout == f"nothing is wrong with {last}\n"
    copied = lines_of(run_chatd(option(last), "--export", "general"))
    assert copied == known[:len(copied)]
    assert not [name for name in os.listdir(tmp_path) if name.endswith("-new")]


async def test_a_restored_backup_serves_on(start_chatd, start_logged, run_chatd, log_path, tmp_path):
    first = start_logged()
    alice = await first.client("alice")
    await alice.post("before", cid="c-1")
    copy = tmp_path / "copy.db"
    assert run_chatd(option(log_path), "--backup", copy).returncode == 0
    ack = await alice.post("after")
    await first.stopped()
    second = start_chatd(log=copy)
    bob = await second.client("bob", room=None)
    joined = await bob.ask({"type": "join", "room": "general", "after": ack["position"], "epoch": ack["epoch"]}, "joined")
    assert (await bob.get("gap"))["from"] == ack["position"]
    assert joined["epoch"] != ack["epoch"]
    assert [entry["content"] for entry in await read_all(bob, "general")] == ["before"]


def test_a_backup_refuses_what_is_there(run_chatd, log_of, tmp_path):
    path, taken = log_of(3), tmp_path / "taken"
    taken.write_text("mine")
    done = run_chatd(option(path), "--backup", taken)
    assert (done.returncode, done.stdout, taken.read_text()) == (1, "", "mine")
    assert done.stderr == f"chatd: backup {taken} cannot be made: there is something of this name; name another file, or " \
                          "move that away\n"
    done = run_chatd(option(path), "--backup", tmp_path / "none/copy")
    assert done.returncode == 1 and "No such file" in done.stderr
    done = run_chatd(option(tmp_path / "none.db"), "--backup", tmp_path / "copy")
    assert done.returncode == 1 and "is not there" in done.stderr and not (tmp_path / "copy").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_signal_leaves_no_half_backup(begin_chatd, run_chatd, log_of, tmp_path, number):
    path, copy = log_of(10000, content="x" * 1000), tmp_path / "copy.db"
    before = {one.name for one in tmp_path.iterdir()} | {"made.db-shm", "made.db-wal"}
    process = begin_chatd(option(path), "--backup", copy)
    await until(lambda: (tmp_path / "copy.db-new").exists() or process.poll() is not None, "the copying")
    process.send_signal(number)
    status, said = await asyncio.to_thread(end_of, process)
    now = {one.name for one in tmp_path.iterdir()}
    if status == 0:  # it had copied all before it heard
        assert now == before | {"copy.db"} and run_chatd(option(copy), "--check-log").returncode == 0
    else:
        assert (status, said) == (1, "chatd: --backup: ended by a signal; nothing was changed\n") and now == before


def test_a_disk_that_takes_no_more_ends_a_backup_cleanly(run_chatd, log_of, tmp_path):
    def allow_a_megabyte():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    path = log_of(3000, content="x" * 1000)
    done = run_chatd(option(path), "--backup", tmp_path / "copy.db", preexec_fn=allow_a_megabyte)
    assert done.returncode == 1 and done.stderr.startswith(f"chatd: backup {tmp_path}/copy.db cannot be made: ")
    assert not list(tmp_path.glob("copy.db*"))


# ------------------------------------------------------------------------------------------------------- check


def test_a_check_names_each_fault(run_chatd, log_of):
    path = log_of(100)
    done = run_chatd(option(path), "--check-log")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nothing is wrong with {path}\n", "")
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM entries WHERE position=50")
        db.execute("DELETE FROM marks WHERE position=64")
    db.close()
    done = run_chatd(option(path), "--check-log")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "the entry at position 51 of room 'tea' says that it follows 50, but it follows 49",
        "room 'tea' lacks a mark before position 66: older entries cannot be found from there",
        "room 'tea' has 99 entries, but its row counts 100",
    ]
    assert done.stderr.startswith(f"chatd: log sqlite:{path} is damaged: 3 faults were found; ")


@pytest.mark.parametrize("break_it,wanted", [
    (lambda data: data[:len(data) // 2], "cut"),
    (lambda data: data[:40960] + bytes(8192) + data[49152:], "damaged"),
    (lambda data: b"no database" + data[11:], "is no SQLite database"),
    (lambda data: b"", "is empty"),
])
def test_a_check_finds_what_the_disk_did(run_chatd, log_of, break_it, wanted):
    path = log_of(2000)
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    path.write_bytes(break_it(path.read_bytes()))
    broken = path.read_bytes()
    done = run_chatd(option(path), "--check-log")
    assert done.returncode == 1 and wanted in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == broken


# -------------------------------------------------------------------------------------------- export and import


async def test_what_is_exported_can_be_imported_elsewhere(start_logged, start_chatd, run_chatd, log_path, tmp_path):
    first = start_logged()
    alice, bob = await first.client("Alice"), await first.client("bob")
    await bob.join("Garten Ü")
    for number in range(150):
        await (alice, bob)[number % 2].post(f"{number} \"✓\"\n\t\\", cid=f"c-{number}", data={"n": [number, 1.5, None]})
        await bob.post(f"draußen {number}", room="garten ü")
    before = await read_all(alice, "general")
    garden = await read_all(bob, "garten ü")
    assert lines_of(run_chatd(option(log_path), "--export", "GENERAL")) == before
    every = run_chatd(option(log_path), "--export-all")
    assert [entry["position"] for entry in lines_of(every)] == list(range(1, 301))
    assert {entry["room"] for entry in lines_of(every)} == {"general", "garten ü"}
    await first.stopped()
    path = tmp_path / "other.db"
    done = run_chatd(option(path), "--import", input=every.stdout)
    assert done.stdout == f"300 entries were added to {path}\n", done.stderr
    second = start_chatd(log=path)
    carol = await second.client("carol", room=None)
    assert await read_all(carol, "general") == before
    assert [{**entry, "room": "Garten Ü"} for entry in await read_all(carol, "garten ü")] == garden
    dave = await second.client("Alice", session=alice.session)
    ack = await dave.post("148 \"✓\"\n\t\\", cid="c-148", data={"n": [148, 1.5, None]})
    assert ack["dup"] and ack["position"] == before[148]["position"]
    assert run_chatd(option(path), "--export-all").stdout == every.stdout


async def test_an_import_goes_behind_what_is_there(start_logged, run_chatd, log_path):
    first = start_logged()
    await (await first.client("alice")).post("hi")
    first.stop()
    text = "\r\n".join([line(1, room="General"), "", line(2, room="tea")])
    done = run_chatd(option(log_path), "--import", input=text)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    second = start_logged()
    bob = await second.client("bob", room=None)
    entries = await read_all(bob, "general")
    assert [entry["content"] for entry in entries] == ["hi", "post 1"]
    assert_chain(entries)
    assert entries[1]["timestamp"] == "2024-01-02T03:04:05.678Z"


def test_an_import_is_refused_beside_a_server(start_logged, run_chatd, log_path):
    chatd = start_logged()
    done = run_chatd(option(log_path), "--import", input=line(1) + "\n")
    assert done.returncode == 1 and done.stdout == ""
    assert f"is in use by another hub (process {chatd.pid})" in done.stderr
    assert run_chatd(option(log_path), "--export-all").stdout == ""


@pytest.mark.parametrize("wrong,wanted", [
    ("{", "line 3: not a JSON object"),
    (line(1, type="entry"), "line 3: \"type\""),
    (line(1, room="\x07"), "line 3: \"room\""),
    (line(1, content="x" * 40000), "line 3: \"content\" has 40000 bytes"),
    (line(1, timestamp="soon"), "line 3: \"timestamp\""),
    (line(1, sender=""), "line 3: \"sender\""),
    ("\udcff", "line 3: it is not UTF-8"),
])
def test_an_import_takes_all_or_nothing(run_chatd, log_of, wrong, wanted):
    path = log_of(2)
    text = "\n".join([line(1, cid="a"), line(2), wrong, line(3)])
    done = run_chatd(option(path), "--import", input=text, errors="surrogateescape")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith(f"chatd: {wanted}"), done.stderr
    assert len(lines_of(run_chatd(option(path), "--export", "tea"))) == 2
    assert run_chatd(option(path), "--check-log").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_import_without_a_trace(begin_chatd, run_chatd, log_of, number):
    path = log_of(2)
    master, slave = pty.openpty()
    process = begin_chatd(option(path), "--import", stderr=slave)
    said = b""
    while b"--import:" not in said:  # it has worked for a while
        process.stdin.write((line(3) + "\n").encode() * 100)
        process.stdin.flush()
        os.set_blocking(master, False)
        try:
            said += os.read(master, 4096)
        except BlockingIOError:
            pass
    os.set_blocking(master, True)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 1
    os.close(slave)
    try:
        while more := os.read(master, 4096):
            said += more
    except OSError:
        pass  # the end of a terminal
    os.close(master)
    assert "ended by a signal; nothing was added" in said.decode()
    assert len(lines_of(run_chatd(option(path), "--export", "tea"))) == 2


def test_an_export_into_a_pipe_that_nobody_reads_says_so(begin_chatd, log_of):
    process = begin_chatd(option(log_of(5000)), "--export", "tea")
    assert json.loads(process.stdout.readline())["content"] == "post 0"
    process.stdout.close()
    status, said = end_of(process)
    assert (status, said) == (1, "chatd: --export: standard output: Broken pipe\n")


# --------------------------------------------------------------------------------------------------- being asked


@pytest.mark.parametrize("args,status,wanted", [
    (["--export", "nowhere"], 1, "has no room of this name: nowhere"),
    (["--export", "a\tb"], 1, "no acceptable room name"),
    (["--export="], 1, "no acceptable room name"),
    (["--export", "tea", "--check-log"], 2, "--check-log and --export are two things"),
    (["--backup"], 2, "--backup needs a value"),
    (["--log", "memory", "--check-log"], 2, "--log: memory has no file"),
    (["--max-clients=x", "--check-log"], 2, "--max-clients: "),
])
def test_what_cannot_be_done_is_told_in_one_line(run_chatd, log_of, args, status, wanted):
    path = log_of(1)
    done = run_chatd(option(path), *args)
    assert (done.returncode, done.stdout) == (status, "")
    assert wanted in done.stderr and done.stderr.count("\n") == 1


def test_tools_are_asked_for_on_the_command_line_alone(run_chatd, settings_file, tmp_path):
    done = run_chatd("--config", settings_file("backup: x.db\n"), "--check-config")
    assert done.returncode == 2 and "command line" in done.stderr
    assert run_chatd("--check-config", env={"CHATD_IMPORT": "yes", "CHATD_BACKUP": "x"}).returncode == 0
    assert "backup" not in run_chatd("--print-config").stdout


def test_tools_know_the_log_from_the_settings(run_chatd, log_of, settings_file):
    path = log_of(7)
    file = settings_file(f"log: sqlite:{path}\n")
    assert len(lines_of(run_chatd("--config", file, "--export-all"))) == 7
    assert len(lines_of(run_chatd("--export-all", env={"CHATD_LOG": f"sqlite:{path}"}))) == 7


def test_tools_make_nothing_where_there_is_no_log(run_chatd, tmp_path):
    for args in (["--check-log"], ["--export-all"], ["--backup", "copy.db"]):
        done = run_chatd(*args)
        assert done.returncode == 1 and "chatd-data" in done.stderr and "by default; --log" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_moved_log_is_the_same_log(start_chatd, log_of, tmp_path):
    path = log_of(3)
    for name in ("", "-wal"):
        if path.with_name(path.name + name).exists():
            shutil.move(path.with_name(path.name + name), tmp_path / f"moved.db{name}")
    chatd = start_chatd(log=tmp_path / "moved.db")
    alice = chatd.lines()
    alice.send({"type": "join", "room": "tea"})
    assert [alice.get("chat")["content"] for _ in range(3)] == ["post 0", "post 1", "post 2"]
