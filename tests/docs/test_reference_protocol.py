"""Every error, close code, frame, field and limit is in docs/protocol.md and in chathub-protocol(7). (That docs/protocol.md
has every error with its text, every field at all and every limit is proved by tests/integration/test_protocol_md.py.)"""

import re

from reference import INCLUDE, PROTOCOL, entries, man, plain, section, source


def errors():
    header = (INCLUDE / "chathub.h").read_text(encoding="utf-8").replace("\\\n", " ")
    return {word: "".join(re.findall(r'"([^"]*)"', said))
            for word, said in re.findall(r'X\(\w+, -\d+, "(\w+)",\s*((?:"[^"]*"\s*)+)\)', header)}


def test_the_manual_page_has_every_error_with_its_text():
    said = entries(section(man("chathub-protocol.7"), "ERROR CODES", "#"))
    assert len(errors()) > 40
    assert {word: text.strip().lower() for word, text in said.items()} == \
        {word: (text if text.endswith("?") else text + ".").lower() for word, text in errors().items()}


def close_codes():
    """What the sources close WebSockets with; numbers in arithmetic and comparisons are times and ranges."""
    text = source("libchathub/core/*.c", "libchathub/net/*.c", "libchathub/dialect/*.c")
    text = re.sub(r"/\*.*?\*/|SWEEP_MS +\d+", "", text, flags=re.S)
    numbers = re.finditer(r"\b(?:10(?:0[0-9]|1[0-5])|400[0-9])\b", text)
    return {number[0] for number in numbers if not re.search(r"(?:[-*/%+]|[<>]=?)$", text[:number.start()].rstrip())}


def told_codes(cells):
    """From cells such as `4000, 4002 to 4999`."""
    return {code for cell in cells for code in re.findall(r"\d{4}", cell)}


def test_every_close_code_is_told():
    assert {"1000", "1001", "1008", "1012", "1013", "4001"} <= close_codes()
    table = told_codes(re.findall(r"^\| ([\d, to]+) \|", section(PROTOCOL, "How a connection ends"), re.M))
    page = told_codes(entries(section(man("chathub-protocol.7"), "CLOSE CODES", "#")))
    assert close_codes() - table == set() and close_codes() - page == set()
    assert table == page == close_codes() | {"4000", "4002", "4999"}


def written():
    """frame → fields, as the encoder writes them."""
    text = source("libchathub/dialect/native_encode.c")
    functions = dict(re.findall(r"^(?:static )?void (\w+)\([^{;]*?\)\n\{\n(.*?)^\}", text, re.M | re.S))

    def fields(body):
        found = set(re.findall(r'\\"(\w+)\\":', body))
        for helper in ("time_field", "add_sender", "add_presence"):
            if f"{helper}(" in body:
                found |= fields(functions[helper])
        return found - {"type", "kind"}

    replies = re.findall(r'\{"\{\\"type\\":\\"(\w+)\\"", (add_\w+)\}', text)
    frames = {reply: fields(functions[function]) for reply, function in replies}
    frames["chat"] = fields(functions["chi_native_encode_entry"])
    signals = re.findall(r'\\"type\\":\\"(\w+)\\",(.*?)break;', functions["chi_native_encode_signal"], re.S)
    return {**frames, **{signal: fields(body) for signal, body in signals}}


def test_the_encoder_is_understood():
    frames = written()
    assert set(frames) == {"welcome", "ack", "error", "joined", "left", "history", "who", "pong", "ok", "gap", "bye", "private",
                           "chat", "presence", "typing", "status"}
    assert frames["typing"] == {"room", "sender", "sender_id", "on"} and frames["pong"] == {"timestamp"}
    assert {"room", "position", "prev", "sender_id", "content", "timestamp", "redacted"} <= frames["chat"]


def read():
    """request → fields that it may have, as the decoder asks for them."""
    text = source("libchathub/dialect/native_decode.c")
    functions = dict(re.findall(r"^static [\w ]+?\*?(\w+)\([^{;]*?\)\n\{\n(.*?)^\}", text, re.M | re.S))

    def fields(body):
        found = set(re.findall(r'\b(?:chi_reading_\w+|read_\w+)\(in, "(\w+)"', body))
        if "chi_reading_data(" in body:
            found.add("data")
        for helper in re.findall(r"\b(read_room|read_start)\(", body):
            found |= fields(functions[helper])
        return found

    requests = re.findall(r'\{"(\w+)",\s*CHI_REQUEST_\w+,\s*(read_\w+)\}', text)
    return {request: fields(functions[function]) for request, function in requests}


def test_the_decoder_is_understood():
    requests = read()
    assert set(requests) == {"hello", "join", "leave", "post", "history", "who", "typing", "status", "ping"}
    assert requests["join"] == {"room", "after", "epoch", "last", "now"} and requests["ping"] == set()
    assert requests["post"] == {"room", "content", "cid", "data"} and requests["hello"] == {"name", "session", "rooms"}


def test_protocol_md_says_of_each_field_in_which_frames_it_is():
    rows = re.findall(r"^\| .* \|$", section(PROTOCOL, "All fields"), re.M)
    everywhere = {"ref", *re.findall(r"`(\w+)`", " ".join(row for row in rows if re.search(r"\| (?:nearly )?all \|", row)))}
    missing = {(frame, field) for frames in (written(), read()) for frame, fields in frames.items()
               for field in fields - everywhere if not any(f"`{frame}`" in row and f"`{field}`" in row for row in rows)}
    assert len(rows) > 40 and everywhere == {"ref", "type", "room"} and missing == set()


def missing_fields(title, frames, inside=()):
    """(frame, field) that the head of a frame's entry in a section of the manual page does not name."""
    heads = {head.split(" ")[0]: head for head in entries(section(man("chathub-protocol.7"), title, "#"))}
    return set(frames) ^ (set(heads) - {"entry"}) | {
        (frame, field) for frame, fields in frames.items() for field in fields
        if not re.search(rf"\b{field}\b", heads.get(frame, "")) and (frame, field) not in inside}


def test_the_manual_page_has_every_frame_with_its_fields():
    frames = {frame: fields - {"ref"} for frame, fields in written().items()}
    assert missing_fields("WHAT THE HUB SENDS", frames, inside=[("welcome", "content"), ("welcome", "message")]) == set()
    assert missing_fields("REQUESTS", read()) == set()


def test_the_manual_page_has_the_limits_of_protocol_md():
    page = plain(section(man("chathub-protocol.7"), "LIMITS", "#"))
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]*) \| ([^|]+) \|$", section(PROTOCOL, "Limits"), re.M)[1:]
    assert len(rows) > 15
    for _, default, names, _ in rows:
        wanted = default.strip() + (f" ({', '.join(re.findall(r'`([a-z-]+)`', names))})" if "`" in names else "")
        assert wanted in page, wanted
