"""Who may make and end servers of a running chatd, at which host they are made, what is left of one that cannot be, and
which servers a page is told of."""
import contextlib
import os
import resource
import signal
import socket

import pytest

from test_chatd_servers import ask, create, end, free_port, names, own_port, told
from wire import Raw, head

LOCAL, WORLD = "ws://127.0.0.1:0/ws", "ws://0.0.0.0:0/ws"


@pytest.fixture
def one(start_chatd):
    return start_chatd(listen=(LOCAL,))


def ports_of(chatd):
    """Of each listener."""
    return [int(url.split("/ws")[0].rsplit(":", 1)[1]) for url in chatd.urls]


def listening(chatd, port):
    """Where a server that was made listens."""
    return chatd.record("listening", server=f"custom-{port}")["url"]


def reached(host, port):
    try:
        Raw((host, port)).socket.close()
    except ConnectionRefusedError:
        return False
    return True


# -------------------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize("line", [
    "Forwarded: for=192.0.2.1", "Forwarded:", "X-Forwarded-For: 192.0.2.1", "x-forwarded-for: 127.0.0.1",
    "X-Forwarded-Host: localhost", "X-Forwarded-Proto: https", "Via: 1.1 proxy", "X-Real-IP: 192.0.2.1",
])
def test_who_comes_through_a_proxy_on_this_machine_may_not(one, line):
    port, new = own_port(one), free_port()
    for method in ("POST", "DELETE"):
        status, text = create(port, new, line, method=method)
        assert status == 403 and "without a proxy" in text
    assert '"create":false' in ask(port, "GET /server.json", line)[2]
    assert names(port) == ["main"]
    assert "without a proxy" in one.record("refused", status="403")["reason"]
    assert create(port, new)[0] == 200


def test_headers_that_only_look_like_a_proxys_change_nothing(one):
    port = own_port(one)
    assert create(port, free_port(), "X-Forwarded: x", "Viab: x", "X-Real: x")[0] == 200
    assert told(port)["create"] is True


def test_an_operator_can_have_no_servers_made_or_ended(start_chatd):
    port, new = own_port(start_chatd("--no-create-servers", listen=(LOCAL,))), free_port()
    assert told(port)["create"] is False
    for method in ("POST", "DELETE"):
        status, text = create(port, new, method=method)
        assert status == 403 and "create-servers is no" in text
    assert names(port) == ["main"]


def test_create_servers_is_an_option_of_the_file_too(start_chatd, run_chatd, settings_file):
    assert "\ncreate-servers: yes\n" in run_chatd("--print-config").stdout
    path = settings_file("create-servers: no\n")
    assert "\ncreate-servers: no\n" in run_chatd("--print-config", "--config", path).stdout
    assert told(own_port(start_chatd("--config", path, listen=(LOCAL,))))["create"] is False
    done = run_chatd("--create-servers=maybe", "--check-config")
    assert done.returncode == 2 and '"maybe" is not possible; it is one of yes, no' in done.stderr


@pytest.mark.parametrize("before,after", [("no", "yes"), ("yes", "no")])
def test_create_servers_changes_only_with_a_restart(start_chatd, settings_file, before, after):
    path = settings_file(f"create-servers: {before}\n")
    chatd = start_chatd("--config", path, listen=(LOCAL,))
    path.write_text(f"create-servers: {after}\n")
    chatd.process.send_signal(signal.SIGHUP)
    assert chatd.record("needs_restart")["option"] == "create-servers"
    chatd.record("reloaded")
    assert told(own_port(chatd))["create"] is (before == "yes")
    assert create(own_port(chatd), free_port())[0] == (200 if before == "yes" else 403)


# -------------------------------------------------------------------------------------------------- at which host


@pytest.mark.parametrize("urls,host", [
    ((WORLD, LOCAL), "127.0.0.1"), ((LOCAL, WORLD), "127.0.0.1"), ((WORLD, "ws://localhost:0/ws"), "localhost"),
    ((WORLD, "ws://127.0.0.9:0/ws"), "127.0.0.9"), ((WORLD,), "0.0.0.0"),
])
def test_a_server_is_made_for_this_machine_alone_where_that_can_be(start_chatd, urls, host):
    chatd = start_chatd("--insecure", listen=urls)
    for port in ports_of(chatd):
        new = free_port()
        with Raw(("127.0.0.9" if "127.0.0.9" in chatd.urls[ports_of(chatd).index(port)] else "127.0.0.1", port)) as raw:
            raw.send(head(f"POST /api/create-server?port={new} HTTP/1.1"))
            assert raw.response()[0] == 200
        assert listening(chatd, new) == f"ws://{host}:{new}/ws"
        assert reached("127.0.0.2", new) == (host == "0.0.0.0")


# --------------------------------------------------------------------------------------------- what cannot be made


@pytest.mark.parametrize("family,address,listen", [
    (socket.AF_INET, "127.0.0.1", LOCAL), (socket.AF_INET, "127.0.0.1", "ws://localhost:0/ws"),
    (socket.AF_INET6, "::1", "ws://localhost:0/ws"), (socket.AF_INET6, "::1", "ws://[::1]:0/ws"),
])
def test_a_port_that_is_taken_leaves_no_log_behind(start_chatd, sqlite, tmp_path, family, address, listen):
    try:
        taken = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    chatd = start_chatd("--log", f"sqlite:{tmp_path}/", listen=(listen,))
    host, asked = ("::1" if "[::1]" in listen else "127.0.0.1"), ports_of(chatd)[0]
    before = sorted(path.name for path in tmp_path.iterdir())
    with taken:
        port = taken.getsockname()[1]
        with Raw((host, asked)) as raw:
            raw.send(head(f"POST /api/create-server?port={port} HTTP/1.1"))
            status, _, text = raw.response()
        assert status == 400 and text.startswith(b"Port %d cannot be used: it is already in use" % port)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert "already in use" in chatd.record("server_failed", server=f"custom-{port}")["message"]


def test_a_port_is_free_again_right_after_its_last_client(one):
    """What is left of closed connections (TIME_WAIT) is no use of the port."""
    port, new = own_port(one), free_port()
    for _ in range(2):
        since = one.mark()
        assert create(port, new)[0] == 200
        assert ask(new, "GET /")[0] == 200
        assert end(port, new)[0] == 200
        one.record("server_removed", since)


@contextlib.contextmanager
def descriptors_left(pid, count):
    """As many further descriptors as said are left to a process: whatever it has open, it keeps."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = [number for number in range(max(used) + count + 2) if number not in used]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[count], before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("left", range(1, 16))
def test_too_few_descriptors_are_no_matter_of_the_port(start_chatd, sqlite, tmp_path, left):
    chatd = start_chatd("--log", f"sqlite:{tmp_path}/", listen=("ws://localhost:0/ws",))
    port, new = own_port(chatd), free_port()
    with descriptors_left(chatd.pid, left):  # the first is the connection's own
        status, text = create(port, new)
    if status != 200:
        assert (status, text) == (500, f"Server custom-{new} could not be started; chatd's log lines say why")
        assert chatd.record("server_failed", server=f"custom-{new}")["level"] == "warning"
    assert status == 500 or left > 3
    assert left > 1 or not list(tmp_path.glob("custom-*"))  # nothing is made without a socket to try with


# ---------------------------------------------------------------------------------------- which servers pages reach


def test_a_page_is_told_only_of_servers_at_its_own_host(start_chatd):
    servers = "main=127.0.0.1:0,two=localhost:0,far=127.0.0.2:0,other=127.0.0.3:0"
    chatd = start_chatd("--servers", servers, listen=())
    port = {server: int(chatd.record("listening", server=server)["url"].split(":")[2].split("/")[0])
            for server in ("main", "two", "far")}
    assert names(port["main"]) == names(port["two"]) == ["main", "two"]
    with Raw(("127.0.0.2", port["far"])) as raw:
        raw.send(head("GET /server.json HTTP/1.1"))
        text = raw.response()[2].decode()
    assert '"name":"far","port"' in text and '"name":"main"' not in text and '"name":"other"' not in text


def test_a_server_at_every_host_is_at_each_ones_host(start_chatd):
    chatd = start_chatd("--insecure", "--servers", "main=127.0.0.1:0,all=0.0.0.0:0,far=127.0.0.2:0", listen=())
    port = {server: int(chatd.record("listening", server=server)["url"].split(":")[2].split("/")[0])
            for server in ("main", "all")}
    assert names(port["main"]) == ["main", "all"]
    assert names(port["all"]) == ["main", "all", "far"]


def test_a_server_is_told_with_the_port_that_the_page_reaches(start_chatd):
    """A listener at another host does not hide one at the page's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but its loopback ones")
        address = probe.getsockname()[0]
    chatd = start_chatd("--insecure", listen=(f"ws://{address}:0/ws", LOCAL))
    far, near = ports_of(chatd)
    new = free_port()
    assert create(near, new)[0] == 200
    assert listening(chatd, new) == f"ws://127.0.0.1:{new}/ws"
    assert [server["port"] for server in told(new)["servers"]] == [near, new]
    assert [server["port"] for server in told(near)["servers"]] == [far, new]
