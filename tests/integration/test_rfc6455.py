"""RFC 6455, byte by byte: what the server takes, what it answers, and the code with which it refuses."""
import json
import signal

import pytest

from conftest import Chatd
from wire import BINARY, CLOSE, MORE, PING, PONG, TEXT, KEY, Raw, accept_of, close, frame, head, upgrade

NATIVE = "Sec-WebSocket-Protocol: chathub.v1"


@pytest.fixture(scope="module")
def served():
    """One chatd for all tests that only knock at it; in the end it stops well, whatever they did."""
    chatd = Chatd(["--control-rate", "5000", "--observe-delay", "0"])
    yield chatd
    chatd.stop()


@pytest.fixture
def raw(served):
    with Raw(served.address("ws")) as socket:
        socket.open()
        yield socket


@pytest.fixture
def sync(served):
    """A function after which the server has read what was sent before: it has answered another connection since."""
    with Raw(served.address("ws")) as other:
        other.open()
        yield lambda: other.send(frame(PING, b"sync")) or other.get(PONG)


def ask(ref, size=None):
    """A request that is answered by a pong with its ref; blanks make it `size` bytes long."""
    text = json.dumps({"type": "ping", "ref": ref}, separators=(",", ":"))
    return text[:-1] + " " * ((size or len(text)) - len(text)) + "}"


def answered(raw, ref):
    while True:
        reply = json.loads(raw.get(TEXT))
        if reply.get("ref") == ref:
            return reply["type"] == "pong"


# ---- the opening handshake, section 4.2


def test_the_accept_key_is_the_one_of_the_standard(served):
    assert accept_of(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    for key in (KEY, "AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w=="):
        with Raw(served.address("ws")) as raw:
            headers = raw.open(upgrade(Sec_WebSocket_Key=key))
            assert headers["sec-websocket-accept"] == accept_of(key)
            assert headers["upgrade"].lower() == "websocket" and headers["connection"].lower() == "upgrade"


def test_only_an_offered_subprotocol_is_chosen_and_no_extension_echoed(served):
    deflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    for lines, chosen in ([], None), (["Sec-WebSocket-Protocol: soap, wamp"], None), ([NATIVE], "chathub.v1"), (
            ["Sec-WebSocket-Protocol: soap", "Sec-WebSocket-Protocol: wamp , chathub.v1"], "chathub.v1"):
        with Raw(served.address("ws")) as raw:
            headers = raw.open(upgrade(deflate, *lines))
            assert headers.get("sec-websocket-protocol") == chosen
            assert "sec-websocket-extensions" not in headers


def test_tokens_of_the_handshake_are_compared_without_case_and_found_in_lists(served):
    for upgraded, connection in (("WebSocket", "UPGRADE"), ("h2c, websocket", "keep-alive,upgrade"),
                                 ("websocket,foo", " keep-alive ,\tUpgrade ")):
        with Raw(served.address("ws")) as raw:
            raw.open(upgrade(Upgrade=upgraded, Connection=connection))


def test_bytes_before_the_answer_are_frames(served):
    for piece in (None, 1):
        with Raw(served.address("ws")) as raw:
            raw.open(upgrade() + frame(TEXT, ask("early")) + frame(PING, b"p"), piece)
            answers = dict([raw.get(TEXT, PONG), raw.get(TEXT, PONG)])
            assert answers[PONG] == b"p" and json.loads(answers[TEXT])["ref"] == "early"


def test_a_dialect_may_be_chosen_by_query_but_has_to_exist(served):
    with Raw(served.address("ws")) as raw:
        raw.open(upgrade(start="GET /ws?x=1&dialect=native HTTP/1.1"))
    with Raw(served.address("ws")) as raw:
        raw.send(upgrade(start="GET /ws?dialect=klingon HTTP/1.1"))
        assert raw.response()[0] == 400


# ---- lengths, section 5.2


@pytest.mark.parametrize("size", [24, 125, 126, 127, 4085, 4096, 4097, 65535, 65536])
def test_messages_of_every_length_form_are_taken(raw, size):
    raw.send(frame(TEXT, ask("x", size)))
    assert answered(raw, "x")


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\2\3\4"])
def test_any_mask_is_undone(raw, mask):
    raw.send(frame(TEXT, ask("m", 1000), mask=mask))
    assert answered(raw, "m")


@pytest.mark.parametrize("size, form", [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)])
def test_lengths_that_are_not_in_their_shortest_form_are_refused(raw, size, form):
    raw.send(frame(TEXT, b" " * size, form=form))
    assert raw.closed() == 1002


def test_a_length_with_its_top_bit_set_is_refused(raw):
    raw.send(frame(TEXT, b"x", form=8, length=1 << 63))
    assert raw.closed() == 1002


@pytest.mark.parametrize("length", [65537, 1 << 20, 1 << 32, (1 << 63) - 1])
def test_a_message_that_is_announced_too_big_is_refused_at_its_first_byte(raw, length):
    raw.send(frame(TEXT, b"x", length=length))
    assert raw.closed() == 1009


def test_fragments_that_sum_up_to_too_much_are_refused(raw):
    raw.send(frame(TEXT, b" " * 60000, fin=False) + frame(MORE, b" ", fin=False, length=5537))
    assert raw.closed() == 1009


def test_the_length_of_a_later_fragment_cannot_overflow_the_sum(raw):
    raw.send(frame(TEXT, b" " * 10, fin=False) + frame(MORE, b" ", fin=True, length=(1 << 63) - 1))
    assert raw.closed() == 1009


def test_the_server_writes_every_length_form_too(start_chatd):
    chatd = start_chatd("--max-content", "200k", "--max-message", "300k")
    with Raw(chatd.address("ws")) as raw:
        raw.open()
        for size in (1, 200, 70000):
            content = "é" * (size // 2) + "x"
            raw.send(frame(TEXT, json.dumps({"content": content})))
            while json.loads(raw.get(TEXT)).get("content") != content:
                pass
        raw.close_well()


# ---- masks, reserved bits and opcodes, sections 5.1 and 5.2


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_unmasked_frames_are_refused(raw, opcode):
    raw.send(frame(opcode, b"\x03\xe8", mask=None))
    assert raw.closed() == 1002


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE])
def test_reserved_bits_are_refused(raw, opcode, rsv):
    raw.send(frame(opcode, b"", rsv=rsv))
    assert raw.closed() == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"x" * 100])
def test_reserved_opcodes_are_refused(raw, opcode, payload):
    raw.send(frame(opcode, payload))
    assert raw.closed() == 1002


@pytest.mark.parametrize("fin", [True, False])
def test_binary_messages_are_refused(raw, fin):
    raw.send(frame(BINARY, b"\0\1", fin=fin))
    assert raw.closed() == 1003


# ---- fragments and control frames, sections 5.4 and 5.5


def pieces(data, size):
    """A message in fragments of `size` bytes."""
    parts = [data[at:at + size] for at in range(0, len(data), size)]
    return [frame(TEXT if i == 0 else MORE, part, fin=i == len(parts) - 1) for i, part in enumerate(parts)]


@pytest.mark.parametrize("size", [1, 2, 7, 13, 100])
@pytest.mark.parametrize("piece", [None, 1, 3])
def test_fragments_are_put_together_with_pings_between_them(raw, size, piece):
    stream = b"".join(part + frame(PING, b"%d" % i) for i, part in enumerate(pieces(ask("föhn").encode(), size)))
    raw.send(stream, piece)
    pongs = []
    while True:
        opcode, payload = raw.get(TEXT, PONG)
        if opcode == TEXT:
            assert json.loads(payload)["ref"] == "föhn"
            break
        pongs.append(int(payload))
    assert pongs == sorted(set(pongs))  # each ping at most once, in order


def test_empty_fragments_are_fragments(raw):
    raw.send(frame(TEXT, b"", fin=False) + frame(MORE, ask("e"), fin=False) + frame(MORE, b""))
    assert answered(raw, "e")


def test_a_continuation_without_a_beginning_is_refused(raw):
    raw.send(frame(MORE, ask("x")))
    assert raw.closed() == 1002


def test_a_continuation_after_the_end_is_refused(raw):
    raw.send(frame(TEXT, ask("x")) + frame(MORE, b"x"))
    assert answered(raw, "x")
    assert raw.closed() == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_new_message_within_a_fragmented_one_is_refused(raw, opcode):
    raw.send(frame(TEXT, b"{", fin=False) + frame(opcode, b"}"))
    assert raw.closed() == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frames_may_not_be_fragmented(raw, opcode):
    raw.send(frame(opcode, b"", fin=False))
    assert raw.closed() == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frames_may_not_be_longer_than_125(raw, opcode):
    raw.send(frame(opcode, b"\x03\xe8" + b"x" * 124))
    assert raw.closed() == 1002


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(125)), b"\xff" * 125])
def test_a_ping_is_answered_with_its_payload(raw, payload):
    raw.send(frame(PING, payload))
    assert raw.get(PONG) == payload


def test_a_control_frame_may_be_cut_anywhere_also_within_a_message(raw, sync):
    ping, begin, end = frame(PING, b"payload"), frame(TEXT, ask("c")[:5], fin=False), frame(MORE, ask("c")[5:])
    for cut in range(1, len(ping)):
        raw.send(begin + ping[:cut])
        sync()
        raw.send(ping[cut:] + end)
        answers = dict([raw.get(TEXT, PONG), raw.get(TEXT, PONG)])  # in either order
        assert answers[PONG] == b"payload" and json.loads(answers[TEXT])["ref"] == "c"


def test_unasked_pongs_are_passed_over(raw):
    raw.send(frame(PONG, b"") + frame(PONG, b"x" * 125) + frame(TEXT, ask("x")))
    assert answered(raw, "x")


def test_of_many_pings_at_least_the_last_is_answered(raw):
    raw.send(b"".join(frame(PING, b"%03d" % i) for i in range(200)))
    last = b""
    while last != b"199":
        payload = raw.get(PONG)
        assert payload > last
        last = payload


def test_everything_may_come_byte_by_byte(served, sync):
    with Raw(served.address("ws")) as raw:
        for byte in upgrade() + frame(TEXT, ask("slow", 300)) + frame(PING, b"p") + close(1000):
            raw.send(bytes([byte]))
            sync()
        assert raw.response(closed=False)[0] == 101
        assert answered(raw, "slow")
        assert raw.closed() == 1000


def test_many_connections_cut_their_frames_at_the_same_time(served, sync):
    sockets = [Raw(served.address("ws")) for _ in range(20)]
    streams = [b"".join(pieces(ask(f"n{i}", 200 + i).encode(), 50 + i)) for i in range(20)]
    for raw in sockets:
        raw.open()
    for at in range(0, max(map(len, streams)), 17):
        for raw, stream in zip(sockets, streams):
            raw.send(stream[at:at + 17])
        sync()
    for i, raw in enumerate(sockets):
        assert answered(raw, f"n{i}")
        raw.close_well()


# ---- closing, sections 5.5.1, 7.1 and 7.4

VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", VALID)
def test_a_close_is_answered_with_its_code_and_the_connection_ended(raw, code):
    raw.send(close(code, "bye é".encode()))
    assert raw.closed() == code
    assert raw.to_end() == b""


@pytest.mark.parametrize("code", INVALID)
def test_close_codes_that_may_not_be_sent_are_refused(raw, code):
    raw.send(close(code))
    assert raw.closed() == 1002


def test_a_close_without_a_code_is_answered_without_one(raw):
    raw.send(close())
    assert raw.closed() is None
    assert raw.to_end() == b""


def test_a_close_of_one_byte_is_refused(raw):
    raw.send(frame(CLOSE, b"\x03"))
    assert raw.closed() == 1002


@pytest.mark.parametrize("reason", [b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"x" * 122 + b"\xe2"])
def test_a_close_reason_has_to_be_utf8(raw, reason):
    raw.send(close(1000, reason))
    assert raw.closed() == 1007


def test_a_close_reason_may_be_cut_anywhere(served, sync):
    data = close(1000, "grüße, 世界".encode())
    for cut in range(1, len(data)):
        with Raw(served.address("ws")) as raw:
            raw.open()
            raw.send(data[:cut])
            sync()
            raw.send(data[cut:])
            assert raw.closed() == 1000


def test_nothing_behind_a_close_is_heard(raw):
    raw.send(close(1000) + frame(TEXT, ask("late")) + frame(0xf, b"rubbish"))
    assert raw.closed() == 1000
    assert raw.to_end() == b""


def test_nothing_behind_a_fault_is_heard(raw):
    raw.send(frame(TEXT, b"\xff") + frame(TEXT, ask("late")) * 3 + frame(PING, b"late"))
    assert raw.closed() == 1007
    assert raw.to_end() == b""


def test_what_is_owed_comes_before_the_close_of_a_fault(raw):
    raw.send(frame(TEXT, ask("owed")) + frame(3))
    assert answered(raw, "owed")
    assert raw.closed() == 1002


def test_a_peer_that_does_not_answer_our_close_is_cut_off(start_chatd):
    chatd = start_chatd("--close-time", "100ms")
    with Raw(chatd.address("ws")) as raw:
        raw.open()
        chatd.process.send_signal(signal.SIGTERM)
        assert raw.closed() == 1001
        assert raw.to_end() == b""
    chatd.wait_end()


def test_stopping_closes_with_1001_and_takes_the_answer(start_chatd):
    chatd = start_chatd()
    with Raw(chatd.address("ws")) as raw:
        raw.open()
        raw.send(frame(TEXT, ask("x")))
        assert answered(raw, "x")
        chatd.process.send_signal(signal.SIGTERM)
        assert raw.closed() == 1001
        raw.send(frame(TEXT, ask("late")) + close(1001))
        assert raw.to_end() == b""
    chatd.wait_end()


# ---- UTF-8, section 8.1

WORDS = ["κόσμε", "\U0001f600x", "߿ࠀ￿", "\U00010000\U0010ffff", "aé世\U0001f600"]
BROKEN = [b"\x80", b"\xbf\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xc3", b"\xc3(", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xe2\x82",
          b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80",
          b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff"]


@pytest.mark.parametrize("word", WORDS)
def test_utf8_may_be_cut_anywhere(raw, sync, word):
    data = json.dumps({"type": "ping", "ref": word}, ensure_ascii=False).encode()
    for cut in range(1, len(data)):
        raw.send(frame(TEXT, data[:cut], fin=False) + frame(MORE, data[cut:]))
        assert answered(raw, word)
    whole = frame(TEXT, data)
    for cut in range(1, len(whole)):
        raw.send(whole[:cut])
        sync()
        raw.send(whole[cut:])
        assert answered(raw, word)


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("size", [None, 1, 2, 3])
def test_what_is_not_utf8_is_refused_across_any_cut(raw, broken, size):
    data = b'{"type":"ping","ref":"' + broken
    if size:
        raw.send(b"".join(pieces(data, size)))
    else:
        raw.send(frame(TEXT, data))
    assert raw.closed() == 1007


def test_invalid_utf8_is_refused_before_its_message_is_complete(raw):
    raw.send(frame(TEXT, b"{\xff", fin=False))
    assert raw.closed() == 1007


# ---- bounds


def test_too_many_fragments_are_refused(raw):
    raw.send(frame(TEXT, b"{", fin=False) + frame(MORE, b" ", fin=False) * 128)
    assert raw.closed() == 1008 and "fragments" in raw.reason


def test_128_fragments_are_taken(raw):
    parts = pieces(ask("f", 128).encode(), 1)
    assert len(parts) == 128
    raw.send(b"".join(parts))
    assert answered(raw, "f")


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_floods_of_control_frames_are_cut_off(start_chatd, opcode):
    chatd = start_chatd("--control-rate", "10")
    with Raw(chatd.address("ws")) as raw:
        raw.open()
        raw.send(frame(opcode, b"x") * 100)
        assert raw.closed() == 1008 and "control" in raw.reason
    chatd.record("disconnected")


def test_a_message_has_to_be_complete_in_time(start_chatd):
    chatd = start_chatd("--message-time", "100ms")
    for begin in (frame(TEXT, b"{", fin=False), frame(TEXT, ask("x"))[:-1], frame(TEXT, ask("x"))[:1]):
        with Raw(chatd.address("ws")) as raw:
            raw.open()
            raw.send(begin)
            assert raw.closed() == 1008 and "in time" in raw.reason


def test_who_has_completed_a_message_is_not_judged_by_its_time(start_chatd):
    chatd = start_chatd("--message-time", "100ms", "--ping-idle", "100ms")
    whole = frame(TEXT, ask("x", 9000))
    with Raw(chatd.address("ws")) as raw, Raw(chatd.address("ws")) as other:
        raw.open()
        other.open()
        for cut in (1, 5, 8000):
            raw.send(whole[:cut])
            other.send(frame(PING, b"read?"))  # answered behind what was sent before
            while other.get(PONG) != b"read?":
                pass
            raw.send(whole[cut:])
            assert answered(raw, "x")
            raw.send(frame(PONG, raw.get(PING)))  # it comes after a silence that is longer
        raw.close_well()


def test_who_asks_for_chathub_v1_has_to_say_something(start_chatd):
    chatd = start_chatd("--first-request-time", "100ms")
    with Raw(chatd.address("ws")) as raw:
        raw.open(upgrade(NATIVE))
        assert raw.closed() == 1008


def test_the_server_pings_the_silent_and_ends_the_dead(start_chatd):
    chatd = start_chatd("--ping-idle", "100ms", "--pong-time", "100ms")
    with Raw(chatd.address("ws")) as raw:
        raw.open()
        raw.send(frame(TEXT, ask("x")))
        for _ in range(3):  # who answers lives on
            payload = raw.get(PING)
            raw.send(frame(PONG, payload))
        raw.get(PING)
        assert raw.to_end() is not None
    assert "ping" in chatd.record("disconnected")["reason"]


def test_unfinished_input_of_all_is_bounded(start_chatd):
    """Beyond the bound nobody is read from until there is less: the one who waits is served in the end."""
    chatd = start_chatd("--hub-partial-bytes", "64k", "--message-time", "300ms")
    sockets = [Raw(chatd.address("ws")) for _ in range(8)]
    for raw in sockets:
        raw.open()
    for raw in sockets[:-1]:
        raw.send(frame(TEXT, b" " * 20000, fin=False))
    sockets[-1].send(frame(TEXT, ask("patient")))
    assert answered(sockets[-1], "patient")
    chatd.record("input_full")
    for raw in sockets[:-1]:
        assert raw.closed() == 1008
        raw.socket.close()
    sockets[-1].close_well()


def test_a_connection_that_ends_within_a_frame_or_a_head_leaves_nothing(served):
    whole = upgrade() + frame(TEXT, ask("x"))
    for cut in range(1, len(whole), 3):
        with Raw(served.address("ws")) as raw:
            raw.send(whole[:cut])
    with Raw(served.address("ws")) as raw:
        raw.open()
        raw.send(frame(TEXT, ask("alive")))
        assert answered(raw, "alive")


def test_a_get_without_upgrade_says_what_is_needed(served):
    with Raw(served.address("ws")) as raw:
        raw.send(head())
        status, headers, body = raw.response()
        assert status == 426 and headers["upgrade"] == "websocket" and body.count(b"\n") == 1
