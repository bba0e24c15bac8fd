"""docs/testing-kit.md: its example is compiled against the kit that was built, and does what it says; what it
speaks of exists."""
import json
import os
import pathlib
import re
import subprocess

from pages import ROOT

TEXT = (ROOT / "docs/testing-kit.md").read_text()
HEADER = (ROOT / "tests/kit/chathub_testing.h").read_text()
BUILD = pathlib.Path(os.environ.get("CHATHUB_BUILD", ROOT / "build/sanitize"))
FUNCTIONS = set(re.findall(r"^CHATHUB_API[^(]*?\b(chathub_testing_\w+)\(", HEADER, re.M))


def needed():
    """How the build links what the archive needs, and its sanitizers."""
    package = (BUILD / "meson-uninstalled/chathub-testing-uninstalled.pc").read_text()
    libs = re.search(r"^Libs: (.*)$", package, re.M).group(1)
    paths = {"prefix": str(BUILD), **dict(re.findall(r"^(\w+)=(.*)$", package, re.M))}
    while "${" in libs:
        libs = re.sub(r"\$\{(\w+)\}", lambda found: paths[found.group(1)], libs)
    requires = re.sub(r"[<>]=[^,]*", "", re.search(r"^Requires: (.*)$", package, re.M).group(1)).replace(",", " ")
    libs += " " + subprocess.run(["pkg-config", "--libs", *requires.split()], check=True, capture_output=True,
                                 text=True).stdout
    options = json.loads((BUILD / "meson-info/intro-buildoptions.json").read_text())
    sanitize = next(option["value"] for option in options if option["name"] == "b_sanitize")
    return [*([] if sanitize == "none" else [f"-fsanitize={sanitize}"]), *libs.split()]


def test_its_example_does_what_it_says(tmp_path):
    source = tmp_path / "test_bot.c"
    source.write_text(re.search(r"^```c\n(.*?)^```$", TEXT, re.M | re.S).group(1))
    program = tmp_path / "test_bot"
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-g", f"-I{ROOT}/libchathub/include",
                    f"-I{ROOT}/tests/kit", str(source), "-o", str(program), *needed()], check=True)
    assert subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout == "the bot answers\n"


def test_what_it_names_exists():
    named = set(re.findall(r"\b(chathub_testing_\w+)\b(?!\.h)", TEXT))
    named |= {"chathub_testing" + short for short in re.findall(r"`(_[a-z]+)`", TEXT)}
    assert len(named) > 15
    assert named <= FUNCTIONS, named - FUNCTIONS


def test_its_bounds_are_those_of_the_code():
    code = "".join(path.read_text() for path in (ROOT / "tests/kit").glob("kit*.c"))
    for define, said in (("PEERS_MAX 1024u", "1,024 peers"), ("INBOX_MAX ((size_t)1 << 20)", "1 MiB"),
                         ("BYTES_MAX (UINT64_C(64) << 20)", "64\n  MiB of entries"), ("TIMERS_MAX 1024u", "1,024 callbacks"),
                         ("STEPS_MAX 10000u", "10,000 steps")):
        assert "#define " + define in re.sub(r"(#define \w+) +", r"\1 ", code), define
        assert said in TEXT, said
