"""The five other dialects byte by byte: what goes in, and what each client gets out, in order (tests/conformance/
transcripts), however the dialect was chosen."""
import re

import pytest

from dialects import DIALECTS, WAYS, Transcript, load_transcripts

ALL = load_transcripts()


def ways(lines):
    for _, line in lines:
        found = re.fullmatch(r"ways (.+)", line)
        if found:
            return found[1].split()
    return WAYS


RUNS = [pytest.param(dialect, way, lines, id=f"{dialect}-{title}-{way}")
        for dialect, title, lines in ALL for way in ways(lines)]


@pytest.mark.parametrize("dialect, way, lines", RUNS)
def test_transcript(dialect, way, lines):
    Transcript(dialect, way, lines).run()


@pytest.mark.parametrize("dialect, lines", [pytest.param(dialect, lines, id=f"{dialect}-{title}")
                                            for dialect, title, lines in ALL if "listener" in ways(lines)
                                            and not any("--log-entries" in line for _, line in lines)])
def test_transcript_with_a_log_that_takes_its_time(sqlite, log_path, dialect, lines):
    """The same order where each post waits for its commit. (What is too much is deleted later there.)"""
    Transcript(dialect, "listener", lines, log_path).run()


def test_each_dialect_has_transcripts_with_three_clients():
    for name in DIALECTS:
        mine = [lines for dialect, _, lines in ALL if dialect == name]
        assert len(mine) >= 8
        assert any(len({line.split(" opens")[0] for _, line in lines if " opens" in line}) >= 3 for lines in mine)
    assert {dialect for dialect, _, _ in ALL} == set(DIALECTS)
    assert all(way in WAYS for _, _, lines in ALL for way in ways(lines))


TRUE = """
alice opens
alice> {"username":"alice","content":"hi"}
alice< {"username":"alice","content":"hi"}¶
alice< {"username":"System","content":"alice joined the chat"}¶
"""


@pytest.mark.parametrize("spoil", [
    pytest.param(lambda text: text.replace("hi\"}¶", "ho\"}¶"), id="another text"),
    pytest.param(lambda text: text.replace("¶", "", 1), id="no newline"),
    pytest.param(lambda text: text.rsplit("\n", 2)[0], id="a frame more than written"),
    pytest.param(lambda text: "\n".join(text.split("\n")[:3] + text.split("\n")[:2:-1]), id="another order"),
    pytest.param(lambda text: text.replace("\"alice\",\"content\":\"hi\"}¶", "\"<id:a>\",\"content\":\"<id:b>\"}¶")
                 .replace("\"hi\"}\n", "\"alice\"}\n"), id="ids that are the same"),
    pytest.param(lambda text: text + "alice closed 1000\n", id="not closed"),
    pytest.param(lambda text: text + "bob opens dialect=none\n", id="refused"),
])
def test_the_runner_notices_what_is_not_so(spoil, monkeypatch):
    monkeypatch.setattr("wire.PATIENCE", 1)
    lines = [("here", line) for line in TRUE.splitlines() if line]
    Transcript("gochat", "listener", lines).run()
    spoiled = [("here", line) for line in spoil(TRUE).splitlines() if line]
    assert spoiled != lines
    with pytest.raises((AssertionError, TimeoutError)):
        Transcript("gochat", "listener", spoiled).run()
