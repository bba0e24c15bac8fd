"""--www: a folder's files, read once, at exactly their paths, and nothing else ever."""
import http.client
import socket

import pytest


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "www"
    (top / "sub dir").mkdir(parents=True)
    (top / ".git").mkdir()
    (top / "index.html").write_text("<!doctype html><title>mine</title>")
    (top / "sub dir" / "index.html").write_text("below")
    (top / "sub dir" / "é.css").write_text("p {}")
    (top / "a.bin").write_bytes(bytes(range(256)) * 300)
    (top / "empty.txt").write_text("")
    (top / ".secret").write_text("secret")
    (top / ".git" / "config").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (top / "link.txt").symlink_to(tmp_path / "outside.txt")
    (top / "up").symlink_to(tmp_path)
    return top


def get(chatd, path, method="GET"):
    connection = http.client.HTTPConnection(*chatd.address("ws"), timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize("path,kind,body", [
    ("/", "text/html; charset=utf-8", b"<!doctype html><title>mine</title>"),
    ("/index.html", "text/html; charset=utf-8", b"<!doctype html><title>mine</title>"),
    ("/sub%20dir/", "text/html; charset=utf-8", b"below"),
    ("/sub%20dir/%C3%A9.css", "text/css; charset=utf-8", b"p {}"),
    ("/a.bin", "application/octet-stream", bytes(range(256)) * 300),
    ("/empty.txt", "text/plain; charset=utf-8", b""),
], ids=["folder", "index", "below", "unicode", "binary", "empty"])
def test_files_are_served_with_their_types(start_chatd, folder, path, kind, body):
    chatd = start_chatd("--www", folder)
    answer, got = get(chatd, path)
    assert (answer.status, answer.headers["Content-Type"], got) == (200, kind, body)
    answer, got = get(chatd, path, "HEAD")
    assert (answer.status, answer.headers["Content-Length"], got) == (200, str(len(body)), b"")


def test_nothing_else_is_served(start_chatd, folder, tmp_path):
    chatd = start_chatd("--www", folder)
    for path in ("/.secret", "/.git/config", "/link.txt", "/up/outside.txt", "/../outside.txt", "/%2e%2e/outside.txt",
                 "/..%2foutside.txt", "//index.html", "/sub%20dir", "/sub%20dir/../index.html", "/app.js", "/a.bin/",
                 "/a.bin%00.html", "/etc/passwd", "/INDEX.HTML"):
        with socket.create_connection(chatd.address("ws"), 20) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := raw.recv(65536):
                answer += piece
        assert answer.split()[1] in (b"404", b"400"), (path, answer)
        assert b"secret" not in answer
    (folder / "late.txt").write_text("late")
    assert get(chatd, "/late.txt")[0].status == 404


def test_a_folder_without_files_or_without_being_is_refused(run_chatd, tmp_path):
    done = run_chatd("--www", tmp_path)
    assert done.returncode == 1 and "no file to serve" in done.stderr
    done = run_chatd("--www", tmp_path / "none")
    assert done.returncode == 1 and "cannot be read" in done.stderr


def test_what_does_not_belong_into_memory_is_refused(run_chatd, tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(65 * 1024 * 1024)
    done = run_chatd("--www", tmp_path)
    assert done.returncode == 1 and "64 MiB" in done.stderr


def test_a_download_may_take_longer_than_a_goodbye(start_chatd, tmp_path):
    (tmp_path / "large.bin").write_bytes(bytes(32 << 20))
    chatd = start_chatd("--www", tmp_path, "--close-time", "100ms", "--first-request-time", "2s")
    with socket.socket() as slow, socket.create_connection(chatd.address("ws"), 20) as silent:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(20)
        slow.connect(chatd.address("ws"))
        slow.sendall(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = len(slow.recv(1024))
        # What says nothing after its handshake is closed after two seconds: so long the download stands still.
        silent.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                       b"Sec-WebSocket-Protocol: chathub.v1\r\n\r\n")
        while not silent.recv(4096).startswith(b"\x88"):
            pass
        while piece := slow.recv(1 << 20):
            got += len(piece)
    assert got > 32 << 20
