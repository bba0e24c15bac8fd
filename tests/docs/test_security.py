"""What docs/security.md claims: the tests that it names are there, and the limits are those of the option table."""
import os
import pathlib
import re
import subprocess

import pytest

from pages import ROOT

TEXT = (ROOT / "docs/security.md").read_text()
DEFENDED = TEXT[TEXT.index("## What is defended"):TEXT.index("## Limits")]
LIMITS = TEXT[TEXT.index("## Limits"):TEXT.index("## Before")]


def proofs():
    rows = re.findall(r"^\| (?!against|---)(.*?) \| (.*?) \| (.*?) \|$", DEFENDED, re.M)
    assert len(rows) >= 15
    return [(against, name) for against, _, tests in rows for name in re.findall(r"`(\w+)`", tests)]


@pytest.fixture(scope="module")
def tests():
    """The names of all tests: functions of Python, those of check, and programs."""
    names = set()
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "tests").rglob("*.c")]:
        text = path.read_text()
        names |= set(re.findall(r"^\s*(?:async )?def (test_\w+)\(|^START_TEST\((\w+)\)", text, re.M))
        if path.name.startswith("test_") and path.suffix == ".c":
            names.add((path.stem, ""))
    return {name for pair in names for name in pair if name}


@pytest.mark.parametrize("against, name", proofs())
def test_each_defence_names_a_test_that_is_there(tests, against, name):
    assert name in tests


def test_no_defence_is_without_a_test():
    for row in re.findall(r"^\| (?!against|---)(.*) \|$", DEFENDED, re.M):
        assert re.search(r"`\w+`$", row), row


@pytest.fixture(scope="module")
def chatd():
    build = os.environ.get("CHATHUB_BUILD")
    found = [pathlib.Path(build, "examples/chatd/chatd")] if build else sorted(ROOT.glob("build/*/examples/chatd/chatd"))
    if not found:
        pytest.skip("there is no chatd in build/*; name its build folder by CHATHUB_BUILD")

    def run(*args):
        return subprocess.run([found[-1], *args], capture_output=True, text=True, check=True).stdout
    return run


@pytest.mark.parametrize("option, default", re.findall(r"^\| `([\w-]+)` \| (\S+) \|", LIMITS, re.M))
def test_a_limit_is_an_option_with_this_default(chatd, tmp_path, option, default):
    assert re.search(rf"^{option}: {default}\b", chatd("--print-config", "--log", "memory"), re.M)


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`--(?:no-)?([\w-]+)", TEXT)) - {"help"}))
def test_an_option_that_is_named_is_there(chatd, option):
    assert option in chatd("--help", "all") or option in chatd("--help")


def test_the_log_lines_to_watch_for_are_told():
    text = "".join(path.read_text() for path in (ROOT / "libchathub").rglob("*.c"))
    lines = re.search(r"Watch for (.*?) in the log lines", TEXT, re.S)[1]
    for event in re.findall(r"`([^`]+)`", lines):
        assert f'"{event}"' in text
