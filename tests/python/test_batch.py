"""What chathub_take hands out becomes events, whatever is in it: made here, byte by byte as the header has it."""
import ctypes

import pytest
from chathub import _abi, _batch, events

TEXTS = _batch.TEXTS


class Sink:
    def __init__(self):
        self.seen = []

    def told(self, client, told):
        self.seen.append((client, told))

    def acked(self, client, cid, position):
        self.seen.append((client, cid, position))
        return cid == "known"


def batch_of(*described, longer=0, more_texts=0):
    """As the hub makes it; `longer` bytes in each struct and `more_texts` as a later library might have."""
    size = ctypes.sizeof(_abi.Event) + longer
    block, blob, places = bytearray(size * len(described)), bytearray(), []
    for number, fields in enumerate(described):
        event = _abi.Event.from_buffer(block, number * size)
        event.size = size
        for name in TEXTS:
            places.append((number * size + getattr(_abi.Event, name).offset, len(blob)))
            blob += fields.get(name, "").encode() + b"\0"
        blob += b"later\0" * more_texts
        for name, value in fields.items():
            if name not in TEXTS:
                setattr(event, name, value)
    texts = ctypes.create_string_buffer(bytes(blob), len(blob))
    held = (ctypes.c_char * len(block)).from_buffer(block)
    for at, offset in places:
        ctypes.c_uint64.from_buffer(block, at).value = ctypes.addressof(texts) + offset
    batch = _abi.Batch(size=ctypes.sizeof(_abi.Batch), count=len(described), events=ctypes.addressof(held),
                       texts=ctypes.addressof(texts), texts_len=len(blob))
    batch.kept = (texts, held, block)
    return batch


def message(number, client=7, **fields):
    return {"type": _abi.EVENT_MESSAGE, "client": client, "position": number, "prev": number - 1, "time": 1000 + number,
            "room": "tea", "sender": "ann", "sender_id": "id", "content": f"grüß {number}", "cid": f"c-{number}",
            **fields}


def made(number):
    return events.Message("tea", "ann", "id", f"grüß {number}", f"c-{number}", None, number, number - 1, 1000 + number)


def sorted_of(batch):
    waiting, sink = {}, Sink()
    _batch.sort(batch, waiting, sink)
    return waiting, sink.seen


@pytest.mark.parametrize("longer, more_texts", [(0, 0), (8, 0), (16, 1)])
def test_messages_of_one_client_and_of_several(longer, more_texts):
    numbers = range(1, 6)
    alone = batch_of(*map(message, numbers), longer=longer, more_texts=more_texts)
    assert sorted_of(alone) == ({7: [made(number) for number in numbers]}, [])
    mixed = batch_of(*(message(number, client=number % 2) for number in numbers), longer=longer, more_texts=more_texts)
    assert sorted_of(mixed) == ({1: [made(1), made(3), made(5)], 0: [made(2), made(4)]}, [])


def test_messages_with_data_and_redacted_ones():
    frame = ('{"type":"chat","room":"tea","position":%d,"prev":0,"sender":"ann","sender_id":"id","content":"%s",'
             '"data":{"n":1},"redacted":%s,"timestamp":"2026-01-02T03:04:05.678Z"}')
    batch = batch_of(message(1), message(2, data='{"n":1}', json=frame % (2, "with", "false")),
                     message(3, content="", json=frame % (3, "", "true")), message(4))
    waiting, seen = sorted_of(batch)
    assert [(event.position, event.content, event.data, event.redacted) for event in waiting[7]] \
        == [(1, "grüß 1", None, False), (2, "with", {"n": 1}, False), (3, "", {"n": 1}, True), (4, "grüß 4", None, False)]
    assert not seen


def test_an_entry_that_makes_no_sense_harms_no_other():
    batch = batch_of(message(1), message(2, data='{"n":1}', json='{"type":"chat","room":"tea","position":"2"}'), message(3))
    waiting, seen = sorted_of(batch)
    assert waiting == {7: [made(1), made(3)]}
    assert [told.level for _, told in seen] == [_abi.ERROR] and "is left out" in seen[0][1].event


def test_a_nul_in_a_text_moves_nothing():
    waiting, _ = sorted_of(batch_of(message(1, content="a\0b"), message(2)))
    assert waiting[7][0].content == "a" and waiting[7][1] == made(2)
    waiting, _ = sorted_of(batch_of(message(1, room="te\0a")))
    assert (waiting[7][0].room, waiting[7][0].sender) == ("te", "ann")


def test_what_is_no_utf_8_is_shown_so():
    batch = batch_of(message(1, content="aXb"))
    texts = batch.kept[0]
    at = texts.raw.index(b"aXb") + 1
    texts[at] = b"\xff"
    assert sorted_of(batch)[0][7][0].content == "a\ufffdb"


def test_other_events_are_told_in_their_order():
    batch = batch_of(
        {"type": _abi.EVENT_ACK, "client": 1, "cid": "known", "position": 5},
        {"type": _abi.EVENT_ACK, "client": 1, "cid": "other", "position": 6, "flags": _abi.DUP, "room": "tea", "time": 9,
         "json": '{"type":"ack","epoch":"e-1"}'},
        {"type": _abi.EVENT_ERROR, "client": 2, "code": -29, "message": "join it", "ref": "3", "room": "tea"},
        {"type": _abi.EVENT_QUESTION, "id": 8, "code": _abi.POST, "client": 3, "room": "tea", "sender": "ann",
         "sender_id": "id", "content": "hi"},
        {"type": _abi.EVENT_LOG, "code": _abi.WARNING, "message": "slow", "json": '{"client":"3"}', "count": 2},
        {"type": 99, "client": 1}, {"type": _abi.EVENT_WHO, "client": 1, "json": '{"type":"who"}'},
        {"type": _abi.EVENT_CLOSED, "client": 2, "code": -41, "message": "elsewhere"}, {"type": _abi.EVENT_STOPPED})
    waiting, seen = sorted_of(batch)
    assert waiting == {}
    assert seen[:2] == [(1, "known", 5), (1, "other", 6)]
    assert seen[2:6] == [
        (1, _batch.Replied("", "other", events.Ack("tea", "other", 6, 9, True, "e-1"))),
        (2, _batch.Replied("3", "", events.Failure(-29, "not_member", "join it", "tea", "", "3"))),
        (3, _batch.Asked(8, _batch.Question("post", 3, "ann", "id", "tea", "hi"))),
        (0, _batch.Logged(_abi.WARNING, "slow", {"client": "3"}, 2))]
    assert seen[6][1].level == _abi.ERROR and "makes no sense and is left out" in seen[6][1].event
    assert seen[7:] == [(2, events.Closed(-41, "elsewhere")), (0, _batch.Stopped())]
