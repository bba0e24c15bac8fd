"""What the tests of the reference share: sources, pages and programs."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from pages import ROOT

BUILD = pathlib.Path(os.environ.get("CHATHUB_BUILD", ROOT / "build" / "sanitize"))
CHATD = BUILD / "examples" / "chatd" / "chatd"
MAN = ROOT / "docs" / "man"
PAGES = sorted(MAN.glob("*.scd"))
INCLUDE = ROOT / "libchathub" / "include"
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
CHATD_MD = (ROOT / "docs" / "chatd.md").read_text(encoding="utf-8")
# All pages for whoever runs chatd.
RUNNING = "\n".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
                    for name in ("chatd", "dialects", "operations", "packaging") if (ROOT / "docs" / f"{name}.md").exists())


def source(*patterns):
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    assert paths, patterns
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def plain(text):
    """What a page for scdoc says, without its marks."""
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)[*]|(?<![\\\w])_|(?<![\\])_(?!\w)", "", text))


def entries(page):
    """head → text of each entry of a manual page."""
    return {plain(head): plain(text) for head, text in re.findall(r"^(\*.*)\n\t((?:.+\n)(?:\t.+\n)*)", page, re.M)}


def man(name):
    return (MAN / f"{name}.scd").read_text(encoding="utf-8")


def section(text, title, mark="##"):
    """What stands under a heading, up to the next as high."""
    return re.search(rf"^{mark} {re.escape(title)}\n(.*?)(?=^{mark} |\Z)", text, re.M | re.S)[1]


def run(*command, **more):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120, **more)


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"there is no {', '.join(missing)}")
