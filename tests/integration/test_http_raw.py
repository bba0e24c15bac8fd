"""HTTP, byte by byte: what passes the guards, what each of them refuses, and how the refusal looks."""
import os
import resource
import socket
import stat
import struct

import pytest

from conftest import Chatd
from wire import KEY, PING, PONG, TEXT, Raw, frame, head, upgrade

CSP = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


@pytest.fixture(scope="module")
def served():
    chatd = Chatd()
    yield chatd
    chatd.stop()


def ask(chatd, data, piece=None):
    with Raw(chatd.address("ws")) as raw:
        raw.send(data, piece)
        return raw.response()


def refused(chatd, data, *statuses, piece=None):
    """A refusal: one line of plain text, and the end of the connection."""
    status, headers, body = ask(chatd, data, piece)
    assert status in statuses, (status, body)
    assert headers["content-type"] == "text/plain; charset=utf-8" and headers["connection"].lower() != "keep-alive"
    assert body.endswith(b"\n") and body.count(b"\n") == 1 and int(headers["content-length"]) == len(body)
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    return headers


# ---- what is served


def test_the_page_is_served_under_its_policy(served):
    status, headers, body = ask(served, head("GET / HTTP/1.1"))
    assert status == 200 and headers["content-type"].startswith("text/html") and int(headers["content-length"]) == len(body)
    assert headers["content-security-policy"] == CSP
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_head_answers_as_get_without_the_body(served):
    status, headers, body = ask(served, head("HEAD / HTTP/1.1"))
    assert status == 200 and body == b"" and int(headers["content-length"]) > 0


def test_a_query_does_not_change_what_is_served(served):
    assert ask(served, head("GET /?a=b HTTP/1.1"))[0] == 200


def test_http_1_0_may_read(served):
    assert ask(served, head("GET / HTTP/1.0", host=None))[0] == 200


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_a_head_may_come_in_pieces(served, piece):
    assert ask(served, head("GET / HTTP/1.1", "Accept: */*", "X-Empty:"), piece)[0] == 200


def test_one_request_is_answered_and_none_behind_it(served):
    one = head("GET / HTTP/1.1")
    with Raw(served.address("ws")) as raw:
        raw.send(one + head("GET /nothing HTTP/1.1"))
        assert raw.to_end().count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("target", ["/nothing", "//", "/../etc/passwd", "/%2e%2e/etc/passwd", "/ws/", "/WS", "/index.html/.."])
def test_what_is_not_there_is_404(served, target):
    refused(served, head(f"GET {target} HTTP/1.1"), 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_405_and_told_which_there_are(served, method):
    assert refused(served, head(f"{method} / HTTP/1.1"), 405)["allow"] == "GET, HEAD"
    assert refused(served, head(f"{method} /ws HTTP/1.1"), 405)["allow"] == "GET"
    assert refused(served, upgrade(start=f"{method} /ws HTTP/1.1"), 405)["allow"] == "GET"


# ---- a route that takes POST and DELETE, and no body

ROUTE = "/api/create-server"  # says 400 to what names no port


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "PATCH", "TRACE"])
def test_a_route_tells_the_methods_that_it_has(served, method):
    status, headers, _ = ask(served, head(f"{method} {ROUTE} HTTP/1.1"))
    assert (status, headers["allow"], headers["connection"]) == (405, "POST, DELETE", "close")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("lines", [[], ["Content-Length: 0"]])
@pytest.mark.parametrize("piece", [None, 1])
def test_a_request_without_a_body_reaches_its_route(served, method, lines, piece):
    status, _, body = ask(served, head(f"{method} {ROUTE} HTTP/1.1", *lines), piece)
    assert status == 400 and body.startswith(b"Say one port")


@pytest.mark.parametrize("lines, body, status", [
    (["Content-Length: 5"], b"hello", 413), (["Content-Length: 5", "Expect: 100-continue"], b"", 413),
    (["Content-Length: 18446744073709551615"], b"", 413), (["Content-Length: 18446744073709551616"], b"", 400),
    (["Content-Length: 0", "Content-Length: 0"], b"", 400), (["Content-Length: 0", "Content-Length: 5"], b"hello", 400),
    (["Content-Length: 00"], b"", 400), (["Content-Length: +0"], b"", 400), (["Content-Length: 0, 0"], b"", 400),
    (["Content-Length: -1"], b"", 400), (["Content-Length:"], b"", 400), (["Content-Length: 0x5"], b"hello", 400),
    (["Transfer-Encoding: chunked"], b"0\r\n\r\n", 400), (["Transfer-Encoding: identity"], b"", 400),
    (["transfer-encoding: xchunked"], b"", 400),
    (["Transfer-Encoding: chunked", "Content-Length: 0"], b"0\r\n\r\n", 400),
])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_request_with_a_body_never_reaches_its_route(served, method, lines, body, status):
    behind = head(f"{method} {ROUTE} HTTP/1.1")
    for data in (body, body + behind):
        refused(served, head(f"{method} {ROUTE} HTTP/1.1", *lines) + data, status)


@pytest.mark.parametrize("method", ["POST", "DELETE", "GET", "PUT"])
def test_behind_a_request_for_a_route_there_is_no_other(served, method):
    with Raw(served.address("ws")) as raw:
        raw.send(head(f"{method} {ROUTE} HTTP/1.1") + head(f"POST {ROUTE} HTTP/1.1"))
        assert raw.to_end().count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("lines", [["Origin: http://localhost", "Origin: http://localhost"],
                                   ["Origin: null", "origin: http://a"], ["Origin:"], ["Origin: \t"]])
def test_a_request_tells_one_origin_or_none(served, lines):
    refused(served, head(f"POST {ROUTE} HTTP/1.1", *lines), 400)
    refused(served, head("GET /server.json HTTP/1.1", *lines), 400)
    assert ask(served, head("GET /server.json HTTP/1.1", "Origin: null"))[0] == 200


# ---- CVEs of llhttp 8.1.0 and its kin, each with the bytes that it is about


@pytest.mark.parametrize("data", [
    # CVE-2021-22959: a space before the colon
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n",
    # CVE-2023-30589: a bare CR ends a header
    b"GET / HTTP/1.1\r\nHost: x\r\nX:\rTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\rContent-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: x\r\n\rTransfer-Encoding: chunked\r\n\r\n",
    # CVE-2024-27982: a folded header, and one that hides another
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n Content-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: x\r\n\tTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    # CVE-2025-23167: CR LF CR X ends a head
    b"GET / HTTP/1.1\r\nHost: x\r\n\rX\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\rXGET /admin HTTP/1.1\r\nHost: x\r\n\r\n",
    # a bare LF, here and there
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost: x\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\nY: b\r\n\r\n",
    # no name
    b"GET / HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n:\r\n\r\n",
    # no colon, or a name that is no token
    b"GET / HTTP/1.1\r\nHost: x\r\nX\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX(y): z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\xc3\xa9: z\r\n\r\n",
    # control characters
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x7fb\r\n\r\n",
    b"GET /\x0b HTTP/1.1\r\nHost: x\r\n\r\n",
])
@pytest.mark.parametrize("piece", [None, 1])
def test_heads_that_parsers_read_differently_are_refused(served, data, piece):
    refused(served, data, 400, piece=piece)


@pytest.mark.parametrize("start, status", [
    ("GET / HTTP/2.0", 505), ("GET / HTTP/0.9", 505), ("GET / HTTP/3.1", 505), ("PRI * HTTP/2.0", 505),
    ("GET / HTTP/1.2", 505), ("GET / HTTP/1.1 ", 400), ("GET /", 400), ("GET", 400), (" GET / HTTP/1.1", 400),
    ("GET  / HTTP/1.1", 400), ("GET / http/1.1", 400), ("GET / HTTP/11", 400), ("GET /a b HTTP/1.1", 400),
    ("GET\t/ HTTP/1.1", 400), ("GET /\xe9 HTTP/1.1", 400), ("GET /#x HTTP/1.1", 400), ("GET * HTTP/1.1", 400),
    ("GET http://localhost/ HTTP/1.1", 400), ("GET x HTTP/1.1", 400), ("FOO / HTTP/1.1", 400), ("get / HTTP/1.1", 400),
    ("CONNECT localhost:80 HTTP/1.1", 400), ("", 400),
])
def test_request_lines_have_one_form(served, start, status):
    refused(served, head(start), status)


@pytest.mark.parametrize("hosts", [[], ["Host: x", "Host: x"], ["Host: x", "host: y"], ["Host:"], ["Host: a b"], ["Host: a/b"]])
def test_there_has_to_be_one_host(served, hosts):
    refused(served, head("GET / HTTP/1.1", *hosts, host=None), 400)
    refused(served, upgrade(*hosts, host=None), 400)


@pytest.mark.parametrize("lines", [
    ["Content-Length: 5"], ["Content-Length: 0", "Content-Length: 0"], ["Content-Length: +0"], ["Content-Length: 00"],
    ["Content-Length: 0, 0"], ["Content-Length: -1"], ["Content-Length:"], ["Content-Length: 0x0"],
    ["Transfer-Encoding: chunked"], ["Transfer-Encoding: identity"], ["transfer-encoding: xchunked"],
    ["Transfer-Encoding: chunked", "Content-Length: 0"], ["Content-Length: 99999999999999999999999"],
])
def test_requests_with_a_body_are_refused(served, lines):
    refused(served, head("GET / HTTP/1.1", *lines) + b"0\r\n\r\n", 400)
    refused(served, upgrade(*lines) + b"0\r\n\r\n", 400)


def test_a_body_of_nothing_is_none(served):
    assert ask(served, head("GET / HTTP/1.1", "Content-Length: 0"))[0] == 200


# ---- bounds


def test_the_target_may_have_2048_bytes(served):
    assert ask(served, head("GET /?" + "x" * 2046 + " HTTP/1.1"))[0] == 200
    refused(served, head("GET /?" + "x" * 2047 + " HTTP/1.1"), 414)
    refused(served, b"GET /" + b"x" * 5000, 414)


def test_a_head_may_have_8192_bytes(served):
    plain = len(head("GET / HTTP/1.1", "X: "))
    for piece in (None, 1000):
        assert ask(served, head("GET / HTTP/1.1", "X: " + "x" * (8192 - plain)), piece)[0] == 200
        refused(served, head("GET / HTTP/1.1", "X: " + "x" * (8193 - plain)), 431, piece=piece)
    refused(served, b"GET / HTTP/1.1\r\nX: " + b"x" * 100000, 431)
    refused(served, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000, 431)


def test_a_head_may_have_64_headers(served):
    lines = [f"X-{i}: y" for i in range(63)]
    assert ask(served, head("GET / HTTP/1.1", *lines))[0] == 200
    refused(served, head("GET / HTTP/1.1", *lines, "X: y"), 431)


def test_a_head_has_to_be_complete_in_time(start_chatd):
    chatd = start_chatd("--head-time", "200ms")
    for begin in (b"G", b"GET / HTTP/1.1\r\n", head()[:-1]):
        refused(chatd, begin, 408)
    with Raw(chatd.address("ws")) as raw:
        assert raw.to_end() == b""


def test_a_slow_head_is_not_kept_alive_by_dripping(start_chatd):
    chatd = start_chatd("--head-time", "300ms")
    with Raw(chatd.address("ws")) as raw:
        raw.send(b"GET / HTTP/1.1\r\nX: ")
        raw.socket.settimeout(0.02)
        while not raw.left:
            try:
                raw.send(b"x")
                raw.more()
            except (TimeoutError, BrokenPipeError):
                continue
        assert raw.left.startswith(b"HTTP/1.1 408 ")


def test_tls_is_told_that_there_is_none(served):
    refused(served, bytes.fromhex("1603010200010001fc0303") + os.urandom(32).replace(b"\r", b"x"), 400)


def test_rubbish_is_refused(served):
    for data in (b"\0" * 100, b"\xff" * 100 + b"\r\n\r\n", b"\r\n\r\n", b"\n", b"{}\r\n\r\n", b":\r\n\r\n", b" \r\n\r\n"):
        refused(served, data, 400)


# ---- the opening handshake, RFC 6455 section 4.2.1


@pytest.mark.parametrize("instead, without, status", [
    ({"Sec_WebSocket_Version": "12"}, [], 426), ({"Sec_WebSocket_Version": "013"}, [], 426),
    ({"Sec_WebSocket_Version": "13, 8"}, [], 426), ({}, ["Sec-WebSocket-Version"], 426),
    ({}, ["Upgrade"], 426), ({"Upgrade": "h2c"}, [], 400), ({"Upgrade": "websocketx"}, [], 400),
    ({}, ["Connection"], 400), ({"Connection": "keep-alive"}, [], 400), ({"Connection": "xupgrade"}, [], 400),
    ({}, ["Sec-WebSocket-Key"], 400), ({"Sec_WebSocket_Key": ""}, [], 400), ({"Sec_WebSocket_Key": KEY[:-1]}, [], 400),
    ({"Sec_WebSocket_Key": KEY + "="}, [], 400), ({"Sec_WebSocket_Key": "A" * 24}, [], 400),
    ({"Sec_WebSocket_Key": "A" * 20 + "===="}, [], 400), ({"Sec_WebSocket_Key": "-" * 22 + "=="}, [], 400),
    ({"Sec_WebSocket_Key": "A" * 21 + "B=="}, [], 400),
])
def test_handshakes_that_lack_something_are_refused(served, instead, without, status):
    headers = refused(served, upgrade(without=without, **instead), status)
    if status == 426:
        assert headers["sec-websocket-version"] == "13" and headers["upgrade"] == "websocket"


@pytest.mark.parametrize("name", ["Sec-WebSocket-Key: " + KEY, "Sec-WebSocket-Version: 13"])
def test_headers_of_the_handshake_may_be_there_once(served, name):
    refused(served, upgrade(name), 400, 426)


@pytest.mark.parametrize("version, status", [("HTTP/1.0", 400), ("HTTP/2.0", 505), ("HTTP/0.9", 505)])
def test_only_http_1_1_is_upgraded(served, version, status):
    refused(served, upgrade(start=f"GET /ws {version}"), status)


def test_only_the_listeners_path_is_upgraded(served):
    refused(served, upgrade(start="GET /other HTTP/1.1"), 404)
    status, _, _ = ask(served, upgrade(start="GET / HTTP/1.1"))
    assert status == 200  # what is there is served; the wish to upgrade is passed over


def origin(chatd, value, host="localhost:1", *more):
    with Raw(chatd.address("ws")) as raw:
        raw.send(upgrade(f"Origin: {value}", *more, host=f"Host: {host}"))
        return raw.response(closed=False)[0]


@pytest.mark.parametrize("value", ["http://localhost", "http://localhost:3000", "https://localhost:1", "http://127.0.0.1:99",
                                   "http://[::1]:5", "HTTP://LocalHost:7"])
def test_pages_of_this_machine_may_connect_to_a_loopback_listener(served, value):
    assert origin(served, value) == 101


@pytest.mark.parametrize("value, host", [("http://chat.example", "chat.example"), ("https://chat.example", "chat.example"),
                                         ("http://chat.example:80", "chat.example"), ("https://chat.example", "chat.example:443"),
                                         ("http://Chat.Example:8080", "chat.example:8080"),
                                         ("http://[fe80::1]:8", "[fe80::1]:8")])
def test_pages_of_the_same_host_may_connect(served, value, host):
    assert origin(served, value, host) == 101


@pytest.mark.parametrize("value, host", [
    ("null", "localhost"), ("http://evil.example", "localhost"), ("http://evil.example", "chat.example"),
    ("http://chat.example:81", "chat.example"), ("http://chat.example", "chat.example:8080"),
    ("http://localhost.evil.example", "localhost"), ("http://evil.example/localhost", "localhost"),
    ("http://localhost@evil.example", "localhost"), ("http://127.0.0.1.evil.example", "localhost"),
    ("http://127.0.0.2", "127.0.0.1"), ("file://", "localhost"), ("", "localhost"), ("http://", "localhost"),
    ("localhost", "localhost"), ("ws://localhost", "localhost"), ("http://localhost:0", "localhost"),
    ("http://localhost:x", "localhost"), ("http://localhost:80:80", "localhost"), ("http://[::1", "localhost"),
    ("http://localhost http://evil.example", "localhost"),
])
def test_pages_from_elsewhere_may_not_connect(served, value, host):
    assert origin(served, value, host) == 403


def test_two_origins_and_cookies_without_origin_are_refused(served):
    assert origin(served, "http://localhost", "localhost", "Origin: http://localhost") == 403
    refused(served, upgrade("Cookie: a=b"), 403)


def test_further_origins_are_allowed_by_option(start_chatd):
    chatd = start_chatd("--origins", "https://one.example, http://two.example:8080,app://x")
    for value, status in (("https://one.example", 101), ("https://one.example:443", 101), ("http://one.example", 403),
                          ("http://two.example:8080", 101), ("http://two.example", 403), ("app://x", 101), ("app://y", 403),
                          ("null", 403)):
        assert origin(chatd, value) == status, value


# ---- log lines


def test_refusals_are_logged_and_queries_are_not(start_chatd):
    chatd = start_chatd()
    refused(chatd, head("GET /nothing?token=hidden1 HTTP/1.1"), 404)
    refused(chatd, upgrade(start="GET /ws?token=hidden2&dialect=x HTTP/1.1"), 400)
    refused(chatd, upgrade(start="GET /ws?token=hidden3 HTTP/1.1"), 401)
    with Raw(chatd.address("ws")) as raw:
        raw.open(upgrade(start="GET /ws?key=hidden4 HTTP/1.1"))
        raw.close_well()
    chatd.record("refused", status="404")
    chatd.record("disconnected")
    assert "hidden" not in "\n".join(chatd.log.all)


# ---- descriptors, handshakes, listeners


def test_unfinished_handshakes_are_bounded_and_others_wait(start_chatd):
    chatd = start_chatd("--max-handshakes", "4", "--head-time", "300ms")
    silent = [Raw(chatd.address("ws")) for _ in range(6)]
    assert ask(chatd, head("GET / HTTP/1.1"))[0] == 200
    for raw in silent:
        assert raw.to_end() == b""


def test_a_flood_of_silent_connections_does_not_keep_others_out(start_chatd):
    chatd = start_chatd("--head-time", "300ms")
    silent = [Raw(chatd.address("ws")) for _ in range(700)]
    assert ask(chatd, head("GET / HTTP/1.1"))[0] == 200
    for raw in silent:
        raw.socket.close()


def cpu(pid):
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        parts = file.read().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def test_running_out_of_descriptors_is_logged_once_and_survived_without_spinning(start_chatd):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    chatd = start_chatd("--head-time", "1h", "--ping-idle", "100ms", preexec_fn=few)
    clock = Raw(chatd.address("ws"))
    clock.open()
    many = [Raw(chatd.address("ws")) for _ in range(100)]
    chatd.record("accept_failed")
    before = cpu(chatd.pid)
    for _ in range(3):  # a ping comes each second or so
        clock.send(frame(PONG, clock.get(PING)))
    assert cpu(chatd.pid) - before < 0.7
    for raw in many:
        raw.socket.close()
    assert ask(chatd, head("GET / HTTP/1.1"))[0] == 200
    assert sum(record["event"] == "accept_failed" for record in chatd.records()) == 1


def test_unix_sockets_are_served_and_their_files_removed(start_chatd, tmp_path):
    path = str(tmp_path / "chat.sock")
    chatd = start_chatd(listen=[f"ws+unix:{path}?path=/chat"])
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0
    with Raw(path) as raw:
        raw.open(upgrade(start="GET /chat HTTP/1.1"))
        raw.close_well()
    chatd.stop()
    assert not os.path.exists(path)


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(start_chatd, run_chatd, tmp_path):
    path = str(tmp_path / "chat.sock")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    chatd = start_chatd(listen=[f"ws+unix:{path}"])
    done = run_chatd("--listen", f"tcp+unix:{path}")
    assert done.returncode == 1 and "in use" in done.stderr
    with Raw(path) as raw:
        raw.open()
        raw.close_well()
    chatd.stop()
    with open(path, "w", encoding="ascii"):
        pass
    done = run_chatd("--listen", f"tcp+unix:{path}")
    assert done.returncode == 1 and os.path.exists(path)


def test_localhost_is_both_addresses_with_one_port(start_chatd):
    chatd = start_chatd(listen=["ws://localhost:0/ws"])
    _, port = chatd.address("ws")
    for host in ("127.0.0.1", "::1"):
        try:
            raw = Raw((host, port))
        except OSError:
            assert host == "::1" and not os.path.exists("/proc/net/if_inet6")
            continue
        with raw:
            raw.open()
            raw.close_well()


@pytest.mark.parametrize("url", ["ws://0.0.0.0:0/ws", "tcp://[::]:0"])
def test_listening_beyond_this_machine_needs_to_be_meant(run_chatd, url):
    done = run_chatd("--listen", url)
    assert done.returncode != 0 and "--insecure" in done.stderr


# ---- lines


def lines(chatd):
    return Raw(chatd.address("tcp"))


def test_a_line_without_end_is_refused(served):
    with lines(served) as raw:
        raw.send(b"x" * 70000)
        answer = raw.to_end()
        assert b"65536" in answer


@pytest.mark.parametrize("piece", [None, 1])
def test_lines_end_in_lf_or_crlf_and_may_come_in_pieces(served, piece):
    with lines(served) as raw:
        raw.send(b'\r\n\n{"type":"ping","ref":1}\n{"type":"ping","ref":2}\r\n', piece)
        while b'"ref":2' not in raw.left:
            assert raw.more()
        assert b'"ref":1' in raw.left


def test_a_line_that_is_not_utf8_is_answered_and_others_go_on(served):
    with lines(served) as raw:
        raw.send(b'{"type":"ping","ref":1}\n{"content":"\xff"}\n{"type":"ping","ref":2}\n')
        while b'"ref":2' not in raw.left:
            assert raw.more()
        assert b'"bad_text"' in raw.left


def test_browsers_that_are_lured_to_the_port_for_lines_say_nothing(served):
    with lines(served) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nhi all\n")
        assert b"HTTP" in raw.to_end()


@pytest.mark.parametrize("dialect", ["human", "native", "gochat", "multiserver", "realtime"])
def test_browsers_say_nothing_where_lines_have_a_fixed_dialect_either(start_chatd, dialect):
    chatd = start_chatd(listen=[f"tcp://127.0.0.1:0?dialect={dialect}"])
    witness = lines(chatd)
    with lines(chatd) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nhi all\n")
        assert b"HTTP" in raw.to_end()
    witness.socket.shutdown(socket.SHUT_WR)
    assert b"hi all" not in witness.to_end() and b"POST" not in witness.left


def test_a_line_has_to_be_complete_in_time(start_chatd):
    chatd = start_chatd("--message-time", "100ms")
    with lines(chatd) as raw:
        raw.send(b"hal")
        assert raw.to_end() is not None


def test_connections_that_are_reset_leave_nothing(served):
    for data in (b"", b"GET", upgrade(), upgrade() + frame(TEXT, '{"content":"x"}'), upgrade() + frame(TEXT, "{", fin=False)):
        raw = Raw(served.address("ws"))
        raw.send(data)
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.socket.close()
    assert ask(served, head("GET / HTTP/1.1"))[0] == 200


# ---- slow peers


def test_a_peer_that_takes_nothing_is_closed_and_the_others_go_on(start_chatd):
    chatd = start_chatd("--stall-time", "1s", "--ping-idle", "1h")
    stalled = Raw(chatd.address("ws"))
    stalled.open()
    stalled.send(frame(TEXT, '{"content":"here"}'))
    poster = chatd.lines()
    for i in range(1000):
        poster.send({"content": "x" * 16000, "ref": i})
        poster.get("ack")
    chatd.record("slow")
    assert "slow" in chatd.record("disconnected")["reason"]
    poster.send({"content": "still here", "ref": "last"})
    assert poster.get("ack", ref="last")
    poster.close()
