"""What .editorconfig tells editors is how the files are."""
import re
import subprocess

import pytest

from pages import ROOT

editorconfig = pytest.importorskip("editorconfig")
# A line may be a little too long. Code in C is laid out by clang-format, as .ci/run sees; its comments may be longer.
LEEWAY = {True: 30, False: 10}


def files():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True,
                            text=True).stdout.split("\n")
    return [path for path in listed if path and (ROOT / path).is_file()]


def columns(line):
    """Of a line without its end, as an editor shows it."""
    return len(line.expandtabs(4))


def faults(path, data):
    """How a file's bytes are not as they should be."""
    wants = editorconfig.get_properties(str(ROOT / path))
    found = []
    if wants.get("charset") == "utf-8":
        try:
            data.decode()
        except UnicodeDecodeError:
            return ["it is not UTF-8"]
    text = data.decode("utf-8", "replace")
    lines = text.split("\n")
    if wants.get("end_of_line") == "lf" and "\r" in text:
        found.append("it holds a CR")
    if wants.get("insert_final_newline") == "true" and text and not text.endswith("\n"):
        found.append("its last line has no end")
    if wants.get("trim_trailing_whitespace") == "true":
        found += [f"{n}: blanks at the end" for n, line in enumerate(lines, 1) if line != line.rstrip(" \t")]
    wrong = {"space": r"\t", "tab": r"    "}.get(wants.get("indent_style"))
    found += [f"{n}: indented otherwise" for n, line in enumerate(lines, 1) if wrong and re.match(wrong, line)]
    most = wants.get("max_line_length", "off")
    if most.isdigit():
        most = int(most) + LEEWAY[path.endswith((".c", ".h"))]
        found += [f"{n}: {columns(line)} columns" for n, line in enumerate(lines, 1) if columns(line) > most]
    return found


def test_each_file_is_as_it_says():
    wrong = {path: found for path in files() if (found := faults(path, (ROOT / path).read_bytes()))}
    assert not wrong


@pytest.mark.parametrize("path, data", [
    ("docs/x.py", b"a\tb \n"), ("docs/x.py", b"\ta\n"), ("docs/x.py", b"a"), ("docs/x.py", b"a\r\n"), ("docs/x.py", b"\xff\n"),
    ("docs/x.py", b"x" * 141 + b"\n"), ("x.c", b"x" * 131 + b"\n"), ("x.go", b"    a\n"), ("meson.build", b"\ta\n"),
])
def test_what_is_otherwise_is_found(path, data):
    assert faults(path, data)


@pytest.mark.parametrize("path, data", [
    ("docs/x.py", b"x" * 130 + b"\n"), ("docs/x.md", b"x" * 500 + b"\n"), ("x.go", b"\ta\n"), ("x.svg", b"x \n"), ("x.py", b""),
    ("tests/fuzz/corpus/http/x", b"\xff\r\n\ta "),
])
def test_what_may_be_is_let_through(path, data):
    assert not faults(path, data)
