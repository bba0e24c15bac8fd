"""docs/testing.md tells of tests that are there, and of all ways in which the simulation is tried."""
import itertools
import re
import runpy

import pytest

from pages import ROOT

TEXT = (ROOT / "docs/testing.md").read_text()
PROGRAM = "tests/simulation/simulation"  # in the build folder


def spelt(name):
    """What {a,b} in a name stands for; an ellipsis and a star stand for some."""
    parts = re.split(r"\{([^}]*)\}", name)
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(one) for one in itertools.product(*choices) if "…" not in "".join(one)]


def named():
    found = re.findall(r"`((?:tests/)?[\w/.*{},…-]*test_[\w*{},…]+\.(?:py|c))`|`(tests/[\w/*-]+(?:\.\w+)?)`", TEXT)
    return sorted({one for pair in found for name in pair if name and name != PROGRAM for one in spelt(name)})


@pytest.mark.parametrize("name", named())
def test_what_is_named_is_there(name):
    pattern = name if name.startswith("tests/") else f"tests/*/{name}"
    assert list(ROOT.glob(pattern))


def test_enough_is_named():
    assert len(named()) > 40


def test_each_breakage_is_listed_and_no_other():
    program = runpy.run_path(str(ROOT / "tests/simulation/breakages.py"))
    breakages = program["BREAKAGES"] + program["NODES"]
    listed = re.findall(r"^\| ([\w-]+) \| (.*) \| [\d,]+ \| ([\d,]+) \|$", TEXT[TEXT.index("### All breakages"):], re.M)
    assert [(name, what, int(within.replace(",", ""))) for name, what, within in listed] == [one[:3] for one in breakages]
