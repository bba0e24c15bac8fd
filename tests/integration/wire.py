"""Raw sockets: HTTP heads and WebSocket frames as bytes, without a library's help or mercy."""
import base64
import hashlib
import socket
import struct

from conftest import PATIENCE

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the one of RFC 6455 section 1.3
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def head(start="GET /ws HTTP/1.1", *lines, host="Host: localhost"):
    """A request's head of these lines."""
    return "\r\n".join([start] + ([host] if host else []) + list(lines) + ["", ""]).encode("latin-1")


def upgrade(*more, start="GET /ws HTTP/1.1", host="Host: localhost", without=(), **instead):
    """A WebSocket's opening head. `without` names headers to leave out, `instead` other values, `more` further lines."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}
    for name, value in instead.items():
        headers[name.replace("_", "-")] = value
    return head(start, *[f"{name}: {value}" for name, value in headers.items() if name not in without], *more, host=host)


def frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x11\x22\x33\x44", form=None, length=None):
    """One frame. form: bytes of the extended length (0, 2, 8), the shortest if not said; length: instead of the true."""
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload) if length is None else length
    if form is None:
        form = 0 if size < 126 else 2 if size < 65536 else 8
    out = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    out += bytes([(0x80 if mask else 0) | {0: size if form == 0 else 0, 2: 126, 8: 127}[form]])
    out += {0: b"", 2: struct.pack(">H", size & 0xffff), 8: struct.pack(">Q", size)}[form]
    if mask:
        out += mask
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return out + payload


def close(code=None, reason=b"", **options):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason, **options)


class Raw:
    """A socket whose bytes are looked at one by one."""

    def __init__(self, address):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, PATIENCE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(PATIENCE)
        self.left = b""
        self.reason = None  # of the server's close frame

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, piece=None):
        """Sends, in pieces of so many bytes if said."""
        for at in range(0, len(data), piece or max(len(data), 1)):
            self.socket.sendall(data[at:at + (piece or len(data))])

    def more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.left += data
        return bool(data)

    def take(self, size):
        while len(self.left) < size:
            assert self.more(), f"the connection was closed within {self.left!r}"
        out, self.left = self.left[:size], self.left[size:]
        return out

    def to_end(self):
        """Everything up to the end of the connection."""
        while self.more():
            pass
        out, self.left = self.left, b""
        return out

    # ---- HTTP

    def response(self, closed=True):
        """Status, headers by lower-case name (the last of each), body."""
        while b"\r\n\r\n" not in self.left:
            assert self.more(), f"no whole answer: {self.left!r}"
        text, self.left = self.left.split(b"\r\n\r\n", 1)
        lines = text.decode("latin-1").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:]}
        if not closed:
            return int(status), headers, b""
        return int(status), headers, self.to_end()

    # ---- WebSocket

    def open(self, data=None, piece=None):
        self.send(data or upgrade(), piece)
        status, headers, _ = self.response(closed=False)
        assert status == 101
        return headers

    def frame(self):
        """The next frame of the server: opcode and payload. They are never masked, fragmented, or longer written than
        needed."""
        first, second = self.take(2)
        assert first & 0xf0 == 0x80 and second & 0x80 == 0
        size = second
        if size == 126:
            size, = struct.unpack(">H", self.take(2))
            assert size > 125
        elif size == 127:
            size, = struct.unpack(">Q", self.take(8))
            assert size > 65535
        return first & 0xf, self.take(size)

    def get(self, *opcodes):
        """The next frame of these opcodes; others are passed over."""
        while True:
            opcode, payload = self.frame()
            if opcode in opcodes:
                return payload if len(opcodes) == 1 else (opcode, payload)

    def closed(self):
        """The server's close frame: its code (None: without). The connection is ended from there on."""
        payload = self.get(CLOSE)
        code = struct.unpack(">H", payload[:2])[0] if payload else None
        self.reason = payload[2:].decode()
        return code

    def close_well(self):
        """The closing handshake from our side: the answer has the same code, and then the server ends it."""
        self.send(close(1000))
        assert self.closed() == 1000
        assert self.to_end() == b""
