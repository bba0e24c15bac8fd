"""The ledger of docs/changes.md has each public symbol, and the version that the build has."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

from pages import ROOT

sys.path.insert(0, str(ROOT / "tests/abi"))
import table  # noqa: E402

TEXT = (ROOT / "docs/changes.md").read_text()
LEDGER = re.findall(r"^\| (.*?) \| ([\d.]+) \| (.*?) ?\|$", TEXT[TEXT.index("## Ledger"):], re.M)
VERSION = re.search(r"version: '([\d.]+)'", (ROOT / "meson.build").read_text())[1]


def in_ledger():
    names = [name for symbols, _, changed in LEDGER if not changed.startswith("removed")
             for name in re.findall(r"`(chathub_?\w*)`", symbols)]
    assert len(names) == len(set(names)), "a symbol stands in two rows"
    return set(names)


def declared():
    face = table.of(table.headers_of())
    opaque = [name for name in face["opaque"] if name.startswith("chathub")]
    return {kind: set(face[kind]) for kind in ("functions", "structs", "enums", "callbacks")}, set(opaque)


def number(version):
    return [int(part) for part in version.split(".")]


def test_each_symbol_of_the_headers_is_in_it_and_no_other():
    kinds, opaque = declared()
    assert all(len(names) >= 10 for names in kinds.values())
    assert in_ledger() == set().union(opaque, *kinds.values())


def test_each_symbol_that_the_library_exports_is_in_it():
    build = os.environ.get("CHATHUB_BUILD")
    libraries = sorted(pathlib.Path(build, "libchathub").glob("libchathub.so.*.*.*")) if build else []
    if not libraries:
        pytest.skip("name a build folder with a shared library by CHATHUB_BUILD")
    out = subprocess.run(["nm", "-D", "--defined-only", libraries[0]], check=True, capture_output=True, text=True).stdout
    shown = {line.split()[2].split("@")[0] for line in out.splitlines()}
    exported = {name for name in shown if name.startswith("chathub_")}
    assert len(exported) > 50
    assert exported <= in_ledger()


def test_the_newest_version_is_the_builds():
    versions = re.findall(r"^## (\d+\.\d+\.\d+)\b", TEXT, re.M)
    assert versions[0] == VERSION
    assert versions == sorted(versions, key=number, reverse=True)
    assert {since for _, since, _ in LEDGER} <= set(versions)


def test_the_version_is_the_same_everywhere():
    header = (ROOT / "libchathub/include/chathub.h").read_text()
    package = (ROOT / "bindings/python/chathub/_version.py").read_text()
    assert f'CHATHUB_VERSION "{VERSION}"' in header
    assert f'__version__ = "{VERSION}"' in package


def test_the_soname_is_the_one_that_is_promised():
    soversion = re.search(r"soversion: '(\d+)'", (ROOT / "libchathub/meson.build").read_text())[1]
    assert f"libchathub.so.{soversion}" in TEXT
    assert f"`CHATHUB_{soversion}`" in TEXT
    assert f"CHATHUB_{soversion} {{" in (ROOT / "libchathub/chathub.map").read_text()
