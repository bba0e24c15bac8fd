"""Several servers in one chatd: each with its port, its rooms and its log; made and ended while it runs."""
import asyncio
import fcntl
import json
import os
import pathlib
import signal
import socket
import stat
import tempfile

import pytest

from conftest import Client, as_record
from wire import Raw, head, upgrade

THREE = "main=127.0.0.1:0,chat1=127.0.0.1:0,chat2=127.0.0.1:0"
# What an address sanitizer needs rights for that are given up.
NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
as_root = pytest.mark.skipif(os.getuid() != 0, reason="this is not root")


@pytest.fixture
def start_servers(start_chatd):
    """As start_chatd, with the three servers of THREE or others."""
    def start(*args, servers=THREE, **options):
        return start_chatd("--servers", servers, *args, listen=(), **options)
    return start


@pytest.fixture
def one(start_chatd):
    """One chatd of one server, as most are."""
    return start_chatd(listen=("ws://127.0.0.1:0/ws",))


def url_of(chatd, server):
    return chatd.record("listening", server=server)["url"]


def port_of(chatd, server="main"):
    return int(url_of(chatd, server).split(":")[2].split("/")[0])


def own_port(chatd):
    return chatd.address("ws")[1]


async def client_of(chatd, url, name):
    client = Client(await chatd.connect(url=url))
    await client.hello(name)
    await client.join()
    return client


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def ask(port, start, *lines, host="Host: localhost", more=b""):
    """Status, headers and text of one HTTP request."""
    with Raw(("127.0.0.1", port)) as raw:
        raw.send(head(f"{start} HTTP/1.1", *lines, host=host) + more)
        status, headers, body = raw.response()
        return status, headers, body.decode()


def create(port, new, *lines, method="POST", **options):
    status, _, text = ask(port, f"{method} /api/create-server?port={new}", *lines, **options)
    return status, text


def end(port, new, *lines):
    return create(port, new, *lines, method="DELETE")


def told(port):
    return json.loads(ask(port, "GET /server.json")[2])


def names(port):
    return [server["name"] for server in told(port)["servers"]]


# ------------------------------------------------------------------------------------------ those of --servers


async def test_no_message_crosses_servers(start_servers):
    chatd = start_servers()
    clients = {server: await client_of(chatd, url_of(chatd, server), "alice") for server in ("main", "chat1", "chat2")}
    for server, client in clients.items():
        await client.post(f"said in {server}")
    for server, client in clients.items():
        said = [frame["content"] for frame in await client.quiet() if frame["type"] == "chat"]
        assert said == [f"said in {server}"]
        assert (await client.ask({"type": "who", "room": "general"}, "who"))["count"] == 1


async def test_clients_of_multiserver_are_told_which_server_it_is(start_servers):
    chatd = start_servers("--dialect", "multiserver")
    new = free_port()
    assert create(port_of(chatd), new)[0] == 200
    for server in ("main", "chat1", "chat2", f"custom-{new}"):
        client = await chatd.connect(url=url_of(chatd, server), subprotocols=None)
        assert await client.recv() == f"SYSTEM_MSG:Welcome to chat server {server}! Please type your username to begin."


def test_each_serves_the_page_and_tells_of_all(start_servers):
    chatd = start_servers()
    ports = {server: port_of(chatd, server) for server in ("main", "chat1", "chat2")}
    servers = [{"name": name, "port": port, "path": "/ws", "removable": False} for name, port in ports.items()]
    for server, port in ports.items():
        status, headers, text = ask(port, "GET /")
        assert status == 200 and headers["content-type"].startswith("text/html") and "<title>" in text
        sockets = [{"port": port, "path": "/ws"}]
        assert told(port) == {"name": server, "sockets": sockets, "servers": servers, "create": True}


def test_one_server_is_told_as_the_only_one(one):
    port = own_port(one)
    assert told(port) == {"name": "main", "sockets": [{"port": port, "path": "/ws"}], "create": True,
                          "servers": [{"name": "main", "port": port, "path": "/ws", "removable": False}]}


def test_peers_are_told_beside_it_but_not_itself_and_not_where_the_page_cannot_reach(start_chatd):
    peers = "main=8080, node-2=8081,node-3=127.0.0.1:8082,far=192.0.2.1:8083"
    port = own_port(start_chatd("--peers", peers, listen=("ws://127.0.0.1:0/ws",)))
    own = {"name": "main", "port": port, "path": "/ws", "removable": False}
    two, three = ({"name": f"node-{n}", "port": 8079 + n, "path": "/ws", "removable": False, "peer": True} for n in (2, 3))
    assert told(port)["servers"] == [own, two, three]
    again = own_port(start_chatd("--name", "other", "--peers", f"self={port},node-2=8081", listen=("ws://127.0.0.1:0/ws",)))
    assert names(again) == ["other", "self", "node-2"]


def test_a_peer_at_its_own_port_is_itself(start_chatd):
    port = free_port()
    start_chatd("--peers", f"self={port},node-2=8081", listen=(f"ws://127.0.0.1:{port}/ws",))
    assert names(port) == ["main", "node-2"]


def test_a_server_on_a_unix_socket_alone_tells_its_peers(start_chatd, tmp_path):
    start_chatd("--peers", "node-2=8081", listen=(f"ws+unix:{tmp_path}/s?path=/ws",))
    with Raw(f"{tmp_path}/s") as raw:
        raw.send(head("GET /server.json HTTP/1.1"))
        servers = json.loads(raw.response()[2])["servers"]
    assert [server["name"] for server in servers] == ["node-2"]


def test_names_are_told_as_json(start_chatd):
    name = 'a "b" \\ é'
    chatd = start_chatd("--name", name)
    assert told(own_port(chatd))["name"] == name


async def test_log_lines_tell_which_server_they_are_about_where_there_are_several(start_servers, one):
    chatd = start_servers()
    await client_of(chatd, url_of(chatd, "chat1"), "alice")
    assert chatd.record("joined")["server"] == "chat1"
    await client_of(one, one.url("ws"), "alice")
    assert "server" not in one.record("joined")
    assert not [record for record in one.records() if "server" in record]


async def test_stopping_tells_the_clients_of_all(start_servers):
    chatd = start_servers()
    clients = [await client_of(chatd, url_of(chatd, server), "alice") for server in ("main", "chat1", "chat2")]
    await clients[1].post("one post")
    chatd.process.send_signal(signal.SIGTERM)
    for client in clients:
        assert (await client.get("bye"))["retry_after_ms"] > 0
        assert (await client.closed())[0] == 1001
    await chatd.ended()
    served = {record["server"]: record["posts"] for record in chatd.records() if record["event"] == "served"}
    assert served == {"main": "0", "chat1": "1", "chat2": "0"}
    assert chatd.records()[-1]["event"] == "stopped"


def test_a_second_signal_ends_all_at_once(start_servers):
    chatd = start_servers("--stop-time", "1h", "--close-time", "1h")
    with Raw(("127.0.0.1", port_of(chatd, "chat2"))) as raw:
        raw.open(upgrade())
        chatd.process.send_signal(signal.SIGTERM)
        chatd.record("stopping")
        chatd.process.send_signal(signal.SIGTERM)
        chatd.wait_end(status=1)


async def test_a_reload_changes_all_servers_or_none(start_servers, settings_file):
    path = settings_file("max-content: 10\n")
    chatd = start_servers("--config", path)
    new = free_port()
    assert create(port_of(chatd), new)[0] == 200
    urls = [url_of(chatd, server) for server in ("main", "chat1", "chat2", f"custom-{new}")]
    clients = [await client_of(chatd, url, "alice") for url in urls]
    path.write_text("max-content: 20\nmax-servers: none\n")
    chatd.process.send_signal(signal.SIGHUP)
    assert f"{path}:2:14: 'none' is no number" in chatd.record("reload_failed")["message"]
    for client in clients:
        assert (await client.ask({"type": "post", "content": "x" * 20}))["code"] == "too_long"
    path.write_text("max-content: 20\nmax-servers: 4\nbacklog: 9\n")
    chatd.process.send_signal(signal.SIGHUP)
    assert chatd.record("option_changed", option="max-content")["to"] == "20"
    assert chatd.record("needs_restart")["option"] == "backlog"
    chatd.record("reloaded")
    for client in clients:
        await client.post("x" * 20)
    status, text = create(port_of(chatd), free_port())
    assert status == 400 and "There are 4 servers already" in text
    assert sum(record["event"] == "option_changed" for record in chatd.records()) == 1


def test_other_servers_after_a_reload_need_a_restart(start_chatd, settings_file):
    path = settings_file("servers: main=0,other=0\n")
    chatd = start_chatd("--config", path, listen=())
    path.write_text("servers: main=0,another=0\n")
    chatd.process.send_signal(signal.SIGHUP)
    chatd.record("reloaded")
    assert {record["option"] for record in chatd.records() if record["event"] == "needs_restart"} == {"servers"}
    path.write_text("servers: main=0,main=0\n")
    chatd.process.send_signal(signal.SIGHUP)
    assert f"{path}:1:10: two servers are called main" in chatd.record("reload_failed")["message"]


async def test_what_needs_a_restart_stays_as_it_was_and_is_told_each_time(start_chatd, sqlite, settings_file, tmp_path):
    lines = "servers: main=127.0.0.1:0,other=127.0.0.1:0\nlog: sqlite:{0}/{1}/\ndialect: {2}\nmax-content: {3}\n"
    path = settings_file(first := lines.format(tmp_path, "first", "multiserver", 10))
    chatd = start_chatd("--config", path, listen=(), log=None)

    def reload():
        since = chatd.mark()
        chatd.process.send_signal(signal.SIGHUP)
        chatd.record("reloaded", since)
        records = [record for line in list(chatd.log.all)[since:] if (record := as_record(line))]
        return {record["option"] for record in records if record["event"] == "needs_restart"}

    path.write_text(lines.format(tmp_path, "second", "gochat", 20).replace("other=", "another="))
    for _ in range(3):
        assert reload() == {"servers", "log", "dialect"}
    new = free_port()
    assert create(port_of(chatd), new)[0] == 200
    assert (tmp_path / f"first/custom-{new}-{new}.db").exists() and not (tmp_path / "second").exists()
    client = await chatd.connect(url=url_of(chatd, f"custom-{new}"), subprotocols=None)
    assert (await client.recv()).startswith("SYSTEM_MSG:Welcome to chat server")
    client = await client_of(chatd, url_of(chatd, f"custom-{new}"), "alice")
    await client.post("x" * 20)
    path.write_text(first)
    assert reload() == set()
    assert (await client.ask({"type": "post", "content": "x" * 20}))["code"] == "too_long"


def is_ignored(pid, number):
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["SigIgn"], 16) >> (number - 1) & 1 == 1


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_late_signal_does_not_cut_off_the_end(start_chatd, number):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * 4096)  # so that the log's last lines are waited for
    chatd = start_chatd(stderr=writing)
    os.close(writing)
    assert not is_ignored(chatd.pid, number)
    chatd.process.send_signal(signal.SIGTERM)
    while chatd.process.poll() is None and not is_ignored(chatd.pid, number):
        pass
    assert chatd.process.poll() is None, "it ended before the signal was ignored"
    chatd.process.send_signal(number)
    with os.fdopen(reading, "rb") as pipe:
        assert b'"event":"stopped"' in pipe.read()
    chatd.wait_end()


def test_what_is_served_is_told_for_each(start_servers):
    chatd = start_servers()
    chatd.process.send_signal(signal.SIGUSR1)
    for server in ("main", "chat1", "chat2"):
        assert chatd.record("served", server=server)["posts"] == "0"


# -------------------------------------------------------------------------------------------- what fails to start


async def test_a_port_that_is_taken_leaves_the_others_running(start_chatd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chatd = start_chatd("--servers", f"main=127.0.0.1:0,chat1=127.0.0.1:{port},chat2=127.0.0.1:0", listen=())
    failed = chatd.record("server_failed")
    assert failed["server"] == "chat1" and str(port) in failed["message"] and "in use" in failed["message"]
    assert failed["level"] == "error"
    assert f"chatd: server chat1 is not there: {failed['message']}" in chatd.log.all
    words = "\n".join(chatd.out.all)
    assert "2 of 3 servers" in words and f"localhost:{port_of(chatd, 'chat2')}/" in words
    assert f"localhost:{port}" not in words and "chat1" in words
    assert names(port_of(chatd)) == ["main", "chat2"]
    await client_of(chatd, url_of(chatd, "chat2"), "alice")


def test_a_log_that_cannot_be_opened_leaves_the_others_running(start_servers, sqlite, tmp_path):
    (tmp_path / "logs/chat1-0.db").mkdir(parents=True)
    chatd = start_servers("--log", f"sqlite:{tmp_path}/logs/")
    failed = chatd.record("server_failed")
    assert failed["server"] == "chat1" and "logs/chat1-0.db" in failed["message"]
    assert names(port_of(chatd)) == ["main", "chat2"]


def test_if_none_can_start_chatd_ends(run_chatd):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        servers = f"a=127.0.0.1:{one.getsockname()[1]},b=localhost:{other.getsockname()[1]}"
        done = run_chatd("--servers", servers, "--log", "memory")
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and done.stdout == ""
    assert [line for line in lines if line.startswith("chatd: server a is not there: ") and "in use" in line]
    assert [line for line in lines if line.startswith("chatd: server b is not there: ") and "in use" in line]
    assert lines[-1].startswith("chatd: no server could be started")


def test_the_only_one_that_cannot_start_is_told_in_one_line(run_chatd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_chatd("--servers", f"a=127.0.0.1:{taken.getsockname()[1]}", "--log", "memory")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "in use" in done.stderr


# -------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("args,wanted", [
    (["--servers", "main"], "--servers: 'main' is no server; write NAME=PORT"),
    (["--servers", "main=8080,"], "--servers: '' is no server"),
    (["--servers", "=8080"], "--servers: '' cannot be a server's name"),
    (["--servers", "a b=8080"], "'a b' cannot be a server's name"),
    (["--servers", "../a=8080"], "'../a' cannot be a server's name"),
    (["--servers", "x" * 65 + "=8080"], "cannot be a server's name"),
    (["--servers", "main=65536"], "server main: '65536' is no port"),
    (["--servers", "main=99999999999999999999"], "is no port"),
    (["--servers", "main=-1"], "'-1' is no port"),
    (["--servers", "main="], "server main: '' is no port"),
    (["--servers", "main=8080/x"], "'8080/x' is no port"),
    (["--servers", "main=a/b:8080"], "'a/b' is no host"),
    (["--servers", "main=:8080"], "'' is no host"),
    (["--servers", "main=example.org:8080"], "server main: "),
    (["--servers", "main=0.0.0.0:8080"], "--insecure"),
    (["--servers", "main=8080,main=8081"], "two servers are called main"),
    (["--servers", "main=8080,other=8080"], "main and other have the same port"),
    (["--servers", "a=0,main=127.0.0.1:8080,other=[::1]:8080"], "main and other have the same port, by which servers"),
    (["--servers", "a=0,b=0,c=0", "--max-servers", "2"], "more than 2 servers; raise --max-servers"),
    (["--servers", "a=0", "--max-servers", "0"], "--max-servers: '0' is no number from 1 to 1024"),
    (["--max-servers", "x"], "--max-servers: 'x' is no number"),
    (["--peers", "a"], "--peers: 'a' is no server; write NAME=PORT"),
    (["--peers", "a=0"], "--peers: a has port 0, at which nothing can be reached"),
    (["--peers", "a=8081,a=8082"], "--peers: two servers are called a"),
    (["--peers", "a=8081", "--servers", "b=0"], "--peers: both say which servers there are"),
    (["--custom", "1023"], "--custom: '1023' is no port from 1024 to 65535"),
    (["--custom", "65536"], "--custom: '65536' is no port"),
    (["--custom", "0"], "'0' is no port"),
    (["--custom", "9000x"], "'9000x' is no port"),
    (["--servers", "main=8080", "--custom", "9000"], "--servers and --custom: both say"),
    (["--servers", "main=8080", "--listen", "tcp://localhost:0"], "--servers and --listen: both say"),
    (["--custom", "9000", "--listen", "tcp://localhost:0"], "--custom and --listen: both say"),
    (["--servers", "main=8080", "--name", "x"], "--servers and --name: both say"),
    (["--custom", "9000", "--name", "x"], "--custom and --name: both say"),
])
def test_wrong_servers_are_refused_with_what_would_be_right(run_chatd, args, wanted):
    checked, started = run_chatd("--check-config", *args), run_chatd(*args)
    assert (checked.returncode, checked.stdout) == (2, "") and checked.stderr.count("\n") == 1
    assert checked.stderr.startswith("chatd: ") and wanted in checked.stderr
    assert (started.returncode, started.stderr) == (2, checked.stderr)


def test_one_file_for_several_logs_is_refused_with_what_to_do(run_chatd, sqlite):
    done = run_chatd("--servers", "main=0,other=0", "--log", "sqlite:all.db")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--log: each server has a log of its own" in done.stderr and "--log sqlite:all.db/" in done.stderr
    assert run_chatd("--check-config", "--servers", "main=0", "--log", "sqlite:one.db").returncode == 0


def test_one_stream_for_several_logs_is_refused_with_what_to_do(run_chatd, nats):
    servers = ["--check-config", "--servers", "main=0,other=0", "--log"]
    done = run_chatd(*servers, "jetstream:nats://user:a/secret@localhost,b:4222/one")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "secret" not in done.stderr
    assert "--log: each server has a log of its own" in done.stderr and "leave out the /STREAM" in done.stderr
    assert run_chatd(*servers, "jetstream:nats://user:a/secret@localhost,b:4222").returncode == 0
    assert run_chatd("--check-config", "--servers", "main=0", "--log", "jetstream:localhost/one").returncode == 0


def test_a_stream_is_called_as_its_server_so_that_has_to_be_a_streams_name(run_chatd, nats):
    done = run_chatd("--check-config", "--servers", f"{'long' * 9}=0", "--log", "jetstream:localhost")
    assert done.returncode == 2 and "stream" in done.stderr
    assert run_chatd("--check-config", "--servers", f"{'long' * 9}=0", "--log", "jetstream:localhost/one").returncode == 0


def test_servers_can_be_said_in_each_way(run_chatd, settings_file):
    wanted = run_chatd("--print-config", "--servers", "main=8080, chat1=[::1]:8081").stdout
    assert 'servers: "main=8080, chat1=[::1]:8081"' in wanted
    path = settings_file("servers: main=8080, chat1=[::1]:8081\n")
    assert run_chatd("--print-config", "--config", path).stdout == wanted
    assert run_chatd("--print-config", env={"CHATD_SERVERS": "main=8080, chat1=[::1]:8081"}).stdout == wanted
    assert "listen:\n" in run_chatd("--print-config", "--config", path, "--servers", "").stdout


@pytest.mark.parametrize("args", [["--servers", "main=8080,chat1=127.0.0.1:8081"], ["--custom", "9000"],
                                  ["--custom", "9000", "--log", "memory"], ["--log", "sqlite:all/"]])
def test_print_config_is_valid_as_a_file_and_means_the_same(run_chatd, settings_file, args):
    first = run_chatd("--print-config", *args)
    assert first.returncode == 0, first.stderr
    path = settings_file(first.stdout)
    assert run_chatd("--config", path, "--print-config").stdout == first.stdout
    assert run_chatd("--config", path, "--check-config").stdout == "the settings are valid\n"


async def test_custom_is_one_server_at_its_port(start_chatd, sqlite, tmp_path):
    port = free_port()
    chatd = start_chatd("--custom", port, listen=(), log=None, cwd=tmp_path)
    assert told(port)["servers"] == [{"name": f"custom-{port}", "port": port, "path": "/ws", "removable": False}]
    assert (tmp_path / f"chatd-data/custom-{port}-{port}.db").exists()
    assert [url for url in chatd.urls if url.startswith("tcp:")] == []
    await client_of(chatd, f"ws://127.0.0.1:{port}/ws", "alice")
    assert end(port, port)[0] == 400


# ----------------------------------------------------------------------------------------------------------- logs


async def test_each_server_has_a_log_of_its_own(start_chatd, sqlite, tmp_path):
    ports = {server: free_port() for server in ("main", "chat1")}
    servers = ",".join(f"{server}=127.0.0.1:{port}" for server, port in ports.items())
    chatd = start_chatd("--servers", servers, listen=(), log=None, cwd=tmp_path)
    for server in ports:
        await (await client_of(chatd, url_of(chatd, server), "alice")).post(f"said in {server}")
    files = {path.name for path in (tmp_path / "chatd-data").glob("*.db")}
    assert files == {f"{server}-{port}.db" for server, port in ports.items()}
    words = "\n".join(chatd.out.all)
    assert f"data     {tmp_path.resolve()}/chatd-data/:" in words
    await chatd.stopped()
    chatd = start_chatd("--servers", servers, "--log", "sqlite:chatd-data/", listen=(), cwd=tmp_path)
    for server in ports:
        client = Client(await chatd.connect(url=url_of(chatd, server)))
        await client.hello("bob")
        await client.join(last=10)
        assert (await client.get("chat"))["content"] == f"said in {server}"


def test_a_folder_is_fine_for_one_server_too(start_chatd, sqlite, tmp_path):
    chatd = start_chatd("--name", "tea", "--log", f"sqlite:{tmp_path}/new/logs/", listen=("ws://127.0.0.1:0/ws",))
    path = tmp_path / "new/logs/tea-0.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert f"data     {path.resolve()}" in "\n".join(chatd.out.all)


@pytest.mark.parametrize("log,beside", [(None, "chatd-data"), ("sqlite:a/b.db", "a"), ("sqlite:b.db", "."),
                                        ("sqlite:c/", "c")])
def test_the_log_of_a_made_server_is_beside_the_others(start_chatd, sqlite, tmp_path, log, beside):
    args = ["--log", log] if log else []
    chatd = start_chatd(*args, listen=("ws://127.0.0.1:0/ws",), log=None, cwd=tmp_path)
    new = free_port()
    assert create(own_port(chatd), new)[0] == 200
    assert (tmp_path / beside / f"custom-{new}-{new}.db").exists()


def test_with_a_log_in_memory_made_servers_have_it_there_too(one, tmp_path):
    assert create(own_port(one), free_port())[0] == 200
    assert not list(tmp_path.iterdir()) and not list(pathlib.Path(f"/proc/{one.pid}/cwd").glob("chatd-data/custom*"))


@pytest.mark.parametrize("tool", [["--backup", "x.db"], ["--check-log"], ["--export", "general"], ["--export-all"],
                                  ["--import"]])
def test_tools_want_to_know_which_log_is_meant(run_chatd, sqlite, tool):
    done = run_chatd("--servers", "main=8080,chat1=8081", *tool, input="")
    assert done.returncode == 2 and done.stdout == "" and "--log sqlite:chatd-data/main-8080.db" in done.stderr


def test_a_tool_takes_the_log_that_is_named(start_chatd, run_chatd, sqlite, tmp_path):
    servers = ("--servers", "main=127.0.0.1:0,chat1=127.0.0.1:0")
    chatd = start_chatd(*servers, "--log", f"sqlite:{tmp_path}/", listen=())
    chatd.stop()
    done = run_chatd(*servers, "--log", f"sqlite:{tmp_path}/chat1-0.db", "--check-log")
    assert (done.returncode, done.stdout) == (0, f"nothing is wrong with {tmp_path}/chat1-0.db\n")
    assert run_chatd("--servers", "main=127.0.0.1:0", "--log", f"sqlite:{tmp_path}/", "--check-log").returncode == 0


@as_root
async def test_all_logs_are_handed_to_the_user(start_chatd, sqlite):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        logs = pathlib.Path(folder, "made/logs")
        chatd = start_chatd("--servers", THREE, "--user", "nobody", "--log", f"sqlite:{logs}/", listen=(), env=NO_LEAKS)
        new = free_port()
        assert create(port_of(chatd), new) == (200, f"Server started on port {new}")
        for path in (logs.parent, logs, *logs.iterdir()):
            assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534), path
        assert len(list(logs.glob("*.db"))) == 4
        await (await client_of(chatd, url_of(chatd, "chat2"), "alice")).post("as nobody")
        await chatd.stopped()


@as_root
def test_what_servers_made_that_failed_is_handed_to_the_user_too(start_chatd, sqlite):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        logs = pathlib.Path(folder, "made/logs")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            args = ("--servers", f"main=127.0.0.1:{port},b=127.0.0.1:0", "--user", "nobody", "--log", f"sqlite:{logs}/")
            chatd = start_chatd(*args, listen=(), env=NO_LEAKS)
            assert "in use" in chatd.record("server_failed", server="main")["message"]
            assert names(own_port(chatd)) == ["b"]
            assert {path.name for path in logs.glob("*.db")} == {f"main-{port}.db", "b-0.db"}
            for path in (logs.parent, logs, *logs.iterdir()):
                assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534), path
            chatd.stop()
        chatd = start_chatd(*args, listen=(), env=NO_LEAKS)
        assert names(port) == ["main", "b"]
        chatd.stop()


@as_root
def test_a_start_that_failed_leaves_a_log_that_the_user_can_use(start_chatd, run_chatd, sqlite):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        path = pathlib.Path(folder, "made/chat.db")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"
            args = ("--user", "nobody", "--log", f"sqlite:{path}")
            done = run_chatd(*args, "--listen", url, env=NO_LEAKS)
            assert done.returncode == 1 and "in use" in done.stderr and path.exists()
        start_chatd(*args, listen=(url,), env=NO_LEAKS).stop()


@as_root
def test_a_log_that_the_user_cannot_use_leaves_the_others_running(start_chatd, sqlite):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        logs = pathlib.Path(folder, "logs")
        start_chatd("--servers", "chat1=0", "--log", f"sqlite:{logs}/", listen=()).stop()
        logs.chmod(0o777)
        os.link(logs / "chat1-0.db", logs / "other-name")  # what has links is not given away
        chatd = start_chatd("--servers", THREE, "--user", "nobody", "--log", f"sqlite:{logs}/", listen=(), env=NO_LEAKS)
        failed = chatd.record("server_failed")
        assert failed["server"] == "chat1" and "nobody cannot write" in failed["message"]
        assert names(port_of(chatd)) == ["main", "chat2"]
        chatd.stop()


# ------------------------------------------------------------------------------------- made and ended while it runs


async def test_a_server_is_made_used_and_ended(one):
    port, new = own_port(one), free_port()
    status, headers, text = ask(port, f"POST /api/create-server?port={new}", "Content-Length: 0")
    assert (status, text) == (200, f"Server started on port {new}")
    assert headers["content-type"] == "text/plain; charset=utf-8"
    for asked in (port, new):
        assert told(asked)["servers"][1:] == [{"name": f"custom-{new}", "port": new, "path": "/ws", "removable": True}]
    assert told(new)["name"] == f"custom-{new}" and ask(new, "GET /")[0] == 200
    alice = await client_of(one, url_of(one, f"custom-{new}"), "alice")
    other = await client_of(one, one.url("ws"), "bob")
    await alice.post("only here")
    assert await alice.chat("only here")
    assert not [frame for frame in await other.quiet() if frame["type"] == "chat"]
    assert end(port, new) == (200, f"Server stopped on port {new}")
    assert await alice.get("bye")
    assert (await alice.closed())[0] == 1001
    one.record("server_removed", server=f"custom-{new}")
    assert names(port) == ["main"]
    with pytest.raises(ConnectionRefusedError):
        Raw(("127.0.0.1", new))
    await other.post("still here")
    assert end(port, new) == (404, f"There is no server on port {new}")
    assert create(port, new) == (200, f"Server started on port {new}")


async def test_a_server_answers_its_own_end(one):
    port, new = own_port(one), free_port()
    assert create(port, new)[0] == 200
    alice = await client_of(one, url_of(one, f"custom-{new}"), "alice")
    assert end(new, new) == (200, f"Server stopped on port {new}")
    assert (await alice.closed())[0] == 1001
    one.record("server_removed")
    assert names(port) == ["main"]


async def test_a_server_makes_another_and_ends_it(one):
    port, new, newer = own_port(one), free_port(), free_port()
    assert create(port, new)[0] == 200 and create(new, newer)[0] == 200
    assert end(port, new)[0] == 200
    one.record("server_removed", server=f"custom-{new}")
    assert names(newer) == ["main", f"custom-{newer}"]
    assert end(newer, newer)[0] == 200
    one.record("server_removed", server=f"custom-{newer}")


async def test_a_made_server_has_the_others_options(start_chatd, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    chatd = start_chatd("--max-content", "10", "--www", tmp_path, listen=("ws://127.0.0.1:0/ws",))
    new = free_port()
    assert create(own_port(chatd), new)[0] == 200
    assert ask(new, "GET /")[2] == "mine"
    alice = await client_of(chatd, f"ws://127.0.0.1:{new}/ws", "alice")
    assert (await alice.ask({"type": "post", "content": "x" * 20}))["code"] == "too_long"
    assert chatd.record("joined")["server"] == f"custom-{new}"


def test_a_server_that_is_still_stopping_is_told(start_chatd):
    chatd = start_chatd("--stop-time", "1h", "--close-time", "1h", listen=("ws://127.0.0.1:0/ws",))
    port, new = own_port(chatd), free_port()
    assert create(port, new)[0] == 200
    with Raw(("127.0.0.1", new)) as silent:  # never says goodbye
        silent.open(upgrade())
        assert end(port, new)[0] == 200
        assert names(port) == ["main"]
        assert create(port, new) == (400, f"Server custom-{new} is still stopping; try again shortly")
        assert end(port, new)[0] == 404
    chatd.record("server_removed")
    assert create(port, new)[0] == 200


async def test_chatd_may_be_stopped_while_a_server_stops(start_chatd):
    chatd = start_chatd("--stop-time", "1h", "--close-time", "1h", listen=("ws://127.0.0.1:0/ws",))
    port, new = own_port(chatd), free_port()
    assert create(port, new)[0] == 200
    alice = await client_of(chatd, chatd.url("ws"), "alice")
    with Raw(("127.0.0.1", new)) as silent:
        silent.open(upgrade())
        assert end(port, new)[0] == 200
        chatd.process.send_signal(signal.SIGTERM)
        assert (await alice.closed())[0] == 1001
    await chatd.ended()
    assert "server_removed" in [record["event"] for record in chatd.records()]


def held(pid):
    """What a process has open: files, sockets, threads."""
    opened = []
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            opened.append(os.readlink(path))
        except FileNotFoundError:
            pass  # a connection that has just ended
    sockets = sum(name.startswith("socket:") for name in opened)
    return len(opened) - sockets, sockets, len(os.listdir(f"/proc/{pid}/task"))


def test_making_and_ending_again_and_again_leaves_nothing(start_chatd, sqlite, tmp_path):
    chatd = start_chatd("--log", f"sqlite:{tmp_path}/", listen=("ws://127.0.0.1:0/ws",))
    port, before = own_port(chatd), held(chatd.pid)
    for _ in range(20):
        new, since = free_port(), chatd.mark()
        assert create(port, new)[0] == 200
        assert held(chatd.pid)[0] > before[0] and held(chatd.pid)[2] > before[2]
        assert end(port, new)[0] == 200
        chatd.record("server_removed", since)
        with pytest.raises(ConnectionRefusedError):
            Raw(("127.0.0.1", new))
    files, sockets, threads = held(chatd.pid)
    assert (files, threads) == (before[0], before[2])
    assert sockets <= before[1] + 2  # a connection or two may be on their way out


def test_servers_are_limited_in_number(start_chatd):
    chatd = start_chatd("--max-servers", "3", listen=("ws://127.0.0.1:0/ws",))
    port, made = own_port(chatd), [free_port() for _ in range(3)]
    assert [create(port, new)[0] for new in made] == [200, 200, 400]
    status, text = create(port, made[2])
    assert status == 400 and text.startswith("There are 3 servers already") and "--max-servers" in text
    assert end(port, made[0])[0] == 200
    chatd.record("server_removed")
    assert create(port, made[2])[0] == 200


def test_where_none_may_be_added_none_is(start_chatd):
    port = own_port(start_chatd("--max-servers", "1", listen=("ws://127.0.0.1:0/ws",)))
    status, text = create(port, free_port())
    assert status == 400 and text.startswith("There is 1 server already")


# ---- who may


def test_only_post_and_delete_are_taken(one):
    port, new = own_port(one), free_port()
    for method in ("GET", "HEAD", "PUT", "OPTIONS", "PATCH"):
        status, headers, _ = ask(port, f"{method} /api/create-server?port={new}")
        assert (status, headers["allow"]) == (405, "POST, DELETE"), method
    assert names(port) == ["main"]


@pytest.mark.parametrize("lines,more,status", [
    (["Content-Length: 2"], b"{}", 413), (["Content-Length: 2", "Expect: 100-continue"], b"", 413),
    (["Transfer-Encoding: chunked"], b"0\r\n\r\n", 400), (["Content-Length: 0", "Content-Length: 0"], b"", 400),
    (["Content-Length: 00"], b"", 400), (["Content-Length: x"], b"", 400),
    (["Origin: http://localhost", "Origin: http://localhost"], b"", 400), (["Origin:"], b"", 400),
])
def test_bodies_and_unclear_heads_are_refused(one, lines, more, status):
    port, new = own_port(one), free_port()
    for method in ("POST", "DELETE"):
        got, headers, text = ask(port, f"{method} /api/create-server?port={new}", *lines, more=more)
        assert got == status and text.endswith("\n") and headers["connection"] == "close"
    assert names(port) == ["main"]


def test_what_follows_a_request_is_no_further_one(one):
    port, first, second = own_port(one), free_port(), free_port()
    hidden = head(f"POST /api/create-server?port={second} HTTP/1.1")
    assert create(port, first, more=hidden)[0] == 200
    assert create(port, second, f"Content-Length: {len(hidden)}", more=hidden)[0] == 413
    assert names(port) == ["main", f"custom-{first}"]


def origins(port):
    return [f"http://{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]", "LocalHost")]


def test_pages_of_this_chatd_may(start_servers):
    chatd = start_servers()
    port, other, new = port_of(chatd), port_of(chatd, "chat2"), free_port()
    for number in range(4):
        since = chatd.mark()
        assert create(port, new, f"Origin: {origins(port)[number]}")[0] == 200
        assert end(port, new, f"Origin: {origins(other)[number]}")[0] == 200
        chatd.record("server_removed", since)
    assert create(port, new)[0] == 200
    newer = free_port()
    assert create(port, newer, f"Origin: http://localhost:{new}")[0] == 200  # a page of the one that was made
    assert end(port, new)[0] == 200
    chatd.record("server_removed", server=f"custom-{new}")
    assert end(port, newer, f"Origin: http://localhost:{new}")[0] == 403


@pytest.mark.parametrize("origin", [
    "null", "http://evil.example", "http://evil.example:PORT", "http://localhost", "http://localhost:1",
    "http://localhost:OTHER", "https://localhost:PORT", "ws://localhost:PORT", "file://", "localhost:PORT",
    "http://localhost:PORT/", "http://localhost:PORTx", "http://localhost:+PORT", "http://localhost: PORT",
    "http://localhost.evil.example:PORT", "http://localhost@evil.example:PORT", "http://127.0.0.2:PORT",
    "http://evil.example/http://localhost:PORT", "http://[::1:PORT", "http://::1:PORT", "http://0.0.0.0:PORT",
    "http://localhost:PORT http://evil.example", "http://localhost:", "http://", "*", "http://localhost:4294967296",
    "http://localhost:0",
])
def test_pages_from_elsewhere_may_not(one, origin):
    port, new = own_port(one), free_port()
    origin = origin.replace("PORT", str(port)).replace("OTHER", str(free_port()))
    for method in ("POST", "DELETE"):
        status, text = create(port, new, f"Origin: {origin}", method=method)
        assert status == 403 and "from elsewhere" in text
    assert names(port) == ["main"]
    assert one.record("refused", status="403", origin=origin)["host"] == "localhost"


@pytest.mark.parametrize("host,may", [
    ("localhost", True), ("localhost:8080", True), ("127.0.0.1:1", True), ("[::1]", True), ("[::1]:80", True),
    ("LOCALHOST", True), ("evil.example", False), ("evil.example:8080", False), ("localhost.evil.example", False),
    ("127.0.0.1.evil.example", False), ("localhost.", False), ("127.0.0.2", False), ("0.0.0.0", False),
    ("localhost:", False), ("localhost:x", False), ("[::1", False), ("::1", False), ("localhost:80:80", False),
    ("localhost@evil.example", False), ("xlocalhost", False),
])
def test_the_host_has_to_be_this_machines_own_name(one, host, may):
    port, new = own_port(one), free_port()
    status, text = create(port, new, host=f"Host: {host}")
    assert status == (200 if may else 403), text
    assert may or "Host" in text
    assert json.loads(ask(port, "GET /server.json", host=f"Host: {host}")[2])["create"] == may


def test_without_a_host_nobody_may(one):
    with Raw(("127.0.0.1", own_port(one))) as raw:
        raw.send(head(f"POST /api/create-server?port={free_port()} HTTP/1.0", host=None))
        assert raw.response()[0] == 403


def test_only_this_machine_may(start_chatd):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but its loopback ones")
        address = probe.getsockname()[0]
    chatd = start_chatd("--insecure", listen=("ws://0.0.0.0:0/ws",))
    port, new = own_port(chatd), free_port()
    with Raw((address, port)) as raw:
        raw.send(head(f"POST /api/create-server?port={new} HTTP/1.1"))
        status, _, text = raw.response()
        assert status == 403 and b"from the machine" in text
    with Raw((address, port)) as raw:
        raw.send(head("GET /server.json HTTP/1.1"))
        assert json.loads(raw.response()[2])["create"] is False
    assert create(port, new)[0] == 200
    with Raw((address, new)) as raw:  # it listens where the one does that was asked
        raw.send(head("GET / HTTP/1.1"))
        assert raw.response()[0] == 200


def test_who_comes_by_a_unix_socket_may(start_chatd, tmp_path):
    path = str(tmp_path / "s")
    start_chatd(listen=(f"ws+unix:{path}",))
    new = free_port()
    with Raw(path) as raw:
        raw.send(head(f"POST /api/create-server?port={new} HTTP/1.1"))
        assert raw.response()[0] == 200
    assert names(new) == [f"custom-{new}"]  # the other has no port to choose it by


# ---- ports


@pytest.mark.parametrize("query", [
    "", "?", "?port", "?port=", "?port=x", "?port=80", "?port=1023", "?port=65536", "?port=-1", "?port=0x2000",
    "?port=9000.0", "?port=%39000", "?port=+9000", "?port=99999999999999999999", "?port=9000&port=9001", "?Port=9000",
    "?xport=9000", "?port=9000;", "?port=00009000",
])
def test_bad_ports_are_told(one, query):
    for method in ("POST", "DELETE"):
        status, _, text = ask(own_port(one), f"{method} /api/create-server{query}")
        assert (status, text) == (400, "Say one port from 1024 to 65535: /api/create-server?port=N")
    assert names(own_port(one)) == ["main"]


def test_ports_that_are_taken_are_told(start_servers):
    chatd = start_servers()
    port, other = port_of(chatd), port_of(chatd, "chat1")
    assert create(port, port) == (400, f"Port {port} is the one of server main; choose another")
    assert create(port, other) == (400, f"Port {other} is the one of server chat1; choose another")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        foreign = taken.getsockname()[1]
        status, text = create(port, foreign)
        assert status == 400 and text.startswith(f"Port {foreign} cannot be used: ") and "in use" in text
    assert chatd.record("server_failed", server=f"custom-{foreign}")["level"] == "warning"
    new = free_port()
    assert create(port, new)[0] == 200
    assert create(port, new) == (400, f"Server custom-{new} is there already")
    assert names(port) == ["main", "chat1", "chat2", f"custom-{new}"]


def test_a_name_that_is_taken_is_told(start_servers):
    new = free_port()
    chatd = start_servers(servers=f"main=127.0.0.1:0,custom-{new}=127.0.0.1:0")
    assert create(port_of(chatd), new) == (400, f"Server custom-{new} is there already")


def test_a_log_that_cannot_be_opened_is_told_without_its_place(start_chatd, sqlite, tmp_path):
    new = free_port()
    (tmp_path / f"custom-{new}-{new}.db").mkdir()
    chatd = start_chatd("--log", f"sqlite:{tmp_path}/main.db", listen=("ws://127.0.0.1:0/ws",))
    status, text = create(own_port(chatd), new)
    assert status == 500 and str(tmp_path) not in text and f"custom-{new}" in text
    assert str(tmp_path) in chatd.record("server_failed")["message"]
    assert names(own_port(chatd)) == ["main"]


def test_servers_of_the_start_are_not_ended_by_a_request(start_servers):
    chatd = start_servers()
    for server in ("main", "chat1"):
        status, text = end(port_of(chatd), port_of(chatd, server))
        assert status == 400 and f"Server {server} was there when chatd started" in text
    assert names(port_of(chatd)) == ["main", "chat1", "chat2"]
    port = free_port()
    assert end(port_of(chatd), port) == (404, f"There is no server on port {port}")
