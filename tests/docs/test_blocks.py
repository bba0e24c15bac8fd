"""Every block of code in README.md and the other pages is compiled, run, or held against what it names."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import shell
from pages import ROOT, Block, blocks, pages
from session import alone, environment

# Blocks that a test of their own reads: their page and kind, and that test.
CHECKED_BY = {
    ("docs/protocol.md", "chat"): "tests/integration/test_protocol_md.py",
    ("docs/protocol.md", "lines"): "tests/integration/test_protocol_md.py",
    ("docs/embedding.md", "cmake"): "tests/integration/test_embedding_md.py",
    ("docs/embedding.md", "meson"): "tests/integration/test_embedding_md.py",
    ("docs/operations.md", "conf"): "tests/integration/test_operations_md.py",
    ("docs/operations.md", "haproxy"): "tests/integration/test_operations_md.py",
    ("docs/contributing.md", "diff"): "tests/docs/test_recipes.py",
    ("docs/contributing.md", "c"): "tests/docs/test_recipes.py",
    ("docs/contributing.md", "python"): "tests/docs/test_recipes.py",
    ("docs/contributing.md", "meson"): "tests/docs/test_recipes.py",
}
WHAT_TO_DO = """{place}: nothing checks this block of `{kind}`.
Say what language it is in: ```c, ```python, ```sh, ```yaml (a file for chatd --config), ```json (one or more objects), ```log (lines
of chatd's log), ```text (what a tutorial's last command prints), ```lines (a tutorial's dialogue with nc), ```tree (files and
folders of this tree). Of a file in another language copy a piece of one in this tree that tests use, word by word. What a test of
its own reads is named in CHECKED_BY in tests/docs/test_blocks.py."""

TUTORIALS = [page for page in pages() if page.name.startswith("tutorial-")]
ALL = [block for page in pages() for block in blocks(page)]
WARNINGS = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror"]


def chatd(*args, folder, env=None, text=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
    return subprocess.run([shell.find_build() / "examples/chatd/chatd", *args], cwd=folder, env={**clean, **(env or {})},
                          input=text, capture_output=True, text=True, timeout=60)


# ---- one for each kind: they answer what is wrong, a line each


def check_c(block, folder):
    """It compiles without a warning; statements alone within a function that has a hub."""
    text, flags = block.text, list(WARNINGS)
    if "main(" not in text:
        flags.append("-Wno-unused-function")
        if not re.search(r"^\w.*[{;]$", text, re.M):
            text = "static void block(struct chathub *hub)\n{\n" + text + "}\n"
    if "#include" not in text:
        text = "#include <chathub.h>\n#include <stdio.h>\n#include <string.h>\n" + text
    (folder / "block.c").write_text(text)
    done = subprocess.run(["cc", *flags, f"-I{ROOT}/libchathub/include", f"-I{ROOT}/tests/kit", "-fsyntax-only", "block.c"], cwd=folder,
                          capture_output=True, text=True)
    return done.stderr.splitlines()


def as_module(block):
    """A block of Python as a whole module: with what the page has said before, and in a coroutine if it awaits."""
    text = block.text
    if not re.search(r"^(import|from) ", text, re.M):
        text = "import asyncio\nimport chathub\nserver = chathub.Server()\nbot = chathub.Bot('bot')\n" + text
    if re.search(r"^(async with|async for|await|\w+ = await)\b", text, re.M):
        text = "async def block() -> None:\n" + re.sub(r"^(?=.)", "    ", text, flags=re.M)
    return text


def check_python(block, folder):
    """It is Python, and its types are right."""
    try:
        compile(as_module(block), block.place, "exec")
    except SyntaxError as error:
        return [str(error)]
    return []


def check_sh(block, folder):
    """What it names is there, and chatd would start so."""
    made = {other.file for other in ALL if other.page == block.page}
    made |= set(re.findall(r" -o (\S+)", "".join(other.text for other in ALL if other.page == block.page)))
    found = shell.wrong(block.text, made | {"host.c", "chat.c"})
    return found or ([] if block.page in TUTORIALS else [*not_starting(block, folder), *not_compiling(block, folder)])


def not_starting(block, folder):
    """Each command of chatd, with --check-config."""
    for line in shell.lines_of(block.text):
        env = dict(re.findall(r"\b(CHATD_\w+)=(\S+)", line))
        for program, *words in shell.commands_of(line):
            if shell.program_of(program) != "chatd" or {"--help", "--version", "--print-config"} & set(words):
                continue
            words = shlex.split(re.sub(r"--config[ =]\S+", "", shlex.join(words)))
            done = chatd(*words, "--check-config", folder=folder, env=env)
            if done.returncode:
                yield f"{line}: {done.stderr.strip()}"


def not_compiling(block, folder):
    """Each command of cc: of the page's own program, or else of the one that stands for hosts."""
    commands = [line for line in shell.lines_of(block.text) if line.startswith("cc ")]
    if not commands:
        return
    env = environment(folder)
    for name in ("libchathub", "examples/bot"):
        (folder / name).symlink_to(ROOT / name)
    own = [other.text for other in ALL if other.page == block.page and other.kind == "c" and "main(" in other.text]
    for line in commands:
        source = line.split()[1]
        if "/" not in source:
            (folder / source).write_text(own[-1] if own else (ROOT / "tests/installed/host.c").read_text())
        if "libchathub.a" in line:
            continue  # tests/installed does that
        done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=120)
        if done.returncode:
            yield f"{line}: {done.stderr}"


def check_yaml(block, folder):
    """chatd takes it, but for a user that only the reader's machine has."""
    file = folder / "chatd.yaml"
    file.write_text(re.sub(r"^user: .*\n", "", block.text, flags=re.M))
    file.chmod(0o600)
    done = chatd("--config", file, "--check-config", folder=folder)
    return [done.stderr.strip()] if done.returncode else []


def objects(text):
    """The JSON objects that a text is made of."""
    found, decoder = [], json.JSONDecoder()
    while text.strip():
        one, end = decoder.raw_decode(text := text.strip())
        found.append(one)
        text = text[end:]
    return found


def fields(value):
    """All names of fields, but within what clients make themselves."""
    if isinstance(value, list):
        return {name for one in value for name in fields(one)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {name for key, one in value.items() if key != "data" for name in fields(one)}


def check_json(block, folder):
    """It is JSON, its fields are those that the sources write, and entries can be imported."""
    try:
        found = objects(block.text)
    except ValueError as error:
        return [str(error)]
    sources = "".join(path.read_text() for part in ("libchathub/dialect", "examples/chatd") for path in (ROOT / part).glob("*.c"))
    wrong = [f"no source writes the field {name}" for name in fields(found) if f'\\"{name}\\":' not in sources]
    entries = [one for one in found if one.get("type") == "chat" and "position" in one]
    if entries:
        log = f"sqlite:{folder}/log.db"
        done = chatd("--log", log, "--import", folder=folder, text="".join(json.dumps(one) + "\n" for one in entries))
        wrong += [done.stderr.strip()] if done.returncode else []
        there = objects(chatd("--log", log, "--export-all", folder=folder).stdout)
        wrong += ["it comes out of the log otherwise"] if [list(one) for one in there] != [list(one) for one in entries] else []
    return wrong


def check_log(block, folder):
    """They are lines of chatd's log, of events that there are."""
    sources = "".join(path.read_text() for path in ROOT.glob("*/**/*.c") if "tests" not in path.parts)
    for line in block.text.splitlines():
        found = re.fullmatch(r'time=\d{4}-\d\d-\d\dT\S+Z level=(?:debug|info|warning|error) event=(\w+)( \w+=("[^"]*"|\S*))*', line)
        if not found:
            yield f"this is no line of chatd's log: {line}"
        elif f'"{found[1]}"' not in sources:
            yield f"there is no event {found[1]}"


def check_tree(block, folder):
    """The files and folders are there."""
    path = []
    for line in block.text.splitlines():
        depth, name = len(line) - len(line.lstrip()), line.split()[0] if line.strip() else ""
        path = path[:depth // 2] + [name.rstrip("/")]
        if name and not any(ROOT.glob("/".join(path))):
            yield f"{'/'.join(path)}: there is no such file"


CHECKS = {"c": check_c, "python": check_python, "sh": check_sh, "yaml": check_yaml, "json": check_json, "log": check_log,
          "tree": check_tree}


def is_piece(block):
    """Whether it is a piece of a file of this tree, word by word, and not of so few that this would mean nothing."""
    if len(block.text.split()) < 5:
        return False
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".md", ".png") or path.parent == ROOT / "tests/docs" or not path.is_file():
            continue
        if block.text.strip() in path.read_text(errors="replace"):
            return True
    return False


def what_is_wrong(block, folder):
    """A line for each thing, or none."""
    test = CHECKED_BY.get((block.name, block.kind))
    if test:
        reads = (ROOT / test).exists() and block.page.name in (ROOT / test).read_text()
        return [] if reads else [f"{test} does not read {block.name}"]
    if block.page in TUTORIALS and block.kind in ("text", "lines"):
        return []  # test_a_tutorial_works
    if block.kind == "yaml" and re.search(r"^services:", block.text, re.M):
        return [] if is_piece(block) else [WHAT_TO_DO.format(place=block.place, kind="docker compose")]
    if block.kind in CHECKS:
        return list(CHECKS[block.kind](block, folder))
    return [] if is_piece(block) else [WHAT_TO_DO.format(place=block.place, kind=block.kind)]


# ---- the tests


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_a_block_holds(block, tmp_path):
    wrong = what_is_wrong(block, tmp_path)
    assert not wrong, "\n".join([block.place, *wrong])


@pytest.mark.parametrize("kind, text, word", [
    ("c", "#include <chathub.h>\nint main(void)\n{\n    return chathub_nothing();\n}\n", "chathub_nothing"),
    ("c", "int error = chathub_stop(hub, NULL);\n", "too few arguments"),
    ("python", "while True print()\n", "invalid syntax"),
    ("sh", "chatd --lissten ws://localhost:8080/ws\n", "--lissten"),
    ("sh", "chatd --join-history many\n", "many"),
    ("sh", "tests/nothing --all\n", "tests/nothing"),
    ("sh", "PYTHONPATH=bindings/perl python3 x.py\n", "bindings/perl"),
    ("sh", "meson setup build -Dsqlight=enabled\n", "sqlight"),
    ("sh", "echo \"hi\n", "unexpected"),
    ("sh", "echo $(nosuchprogram)\n", "nosuchprogram"),
    ("sh", "cc host.c $(pkg-config --libs chathub) -lnothing -o host\n", "lnothing"),
    ("yaml", "join-hystory: 20\n", "join-hystory"),
    ("json", '{"type":"chat",}\n', "property name"),
    ("json", '{"type":"chat","centent":"hi"}\n', "centent"),
    ("log", "time=2026-01-02T03:04:05.678Z level=info event=lissening url=x\n", "lissening"),
    ("tree", "libchathub/\n  care/\n", "libchathub/care"),
    ("none", "whatever\n", "Say what language it is in"),
    ("text", "whatever\n", "Say what language it is in"),
    ("python", "import chathub\n… = 1\n", "invalid character"),
    ("ini", "[Service]\nExecStart=/nowhere\n", "Say what language it is in"),
])
def test_a_wrong_block_is_found(kind, text, word, tmp_path):
    wrong = what_is_wrong(Block(ROOT / "docs/none.md", 1, kind, text, ""), tmp_path)
    assert word in "\n".join(wrong)


def test_the_types_of_all_python_are_right(tmp_path):
    mypy = shutil.which("mypy", path="/usr/bin") or shutil.which("mypy")
    if not mypy:
        pytest.skip("mypy is missing; install it with: apt-get install mypy")
    places = {}
    for number, block in enumerate(block for block in ALL if block.kind == "python" and (block.name, "python") not in CHECKED_BY):
        (tmp_path / f"block{number}.py").write_text(as_module(block))
        places[f"block{number}.py"] = block.place
    assert places
    done = subprocess.run([mypy, "--check-untyped-defs", "--cache-dir", os.devnull, *places], cwd=tmp_path, capture_output=True,
                          text=True, env={**os.environ, "MYPYPATH": str(ROOT / "bindings/python")})
    assert done.returncode == 0, re.sub(r"^block\d+\.py", lambda name: f"{places[name[0]]} +", done.stdout, flags=re.M) + done.stderr


def follow(page, folder):
    """Does what a page says; CHATHUB_BUILD is the build folder that the tests are for."""
    done = subprocess.run(alone([sys.executable, ROOT / "tests/docs/session.py", page, folder, "--here"]), capture_output=True,
                          text=True, env={**os.environ, "CHATHUB_BUILD": str(shell.find_build())})
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_works(page, tmp_path):
    assert follow(page, tmp_path) == ""


def program(page, kind):
    """The first program of that kind on a page."""
    return next(block.text for block in ALL if block.name == page and block.kind == kind)


UP = "```sh\nuntil nc -z localhost 8080; do sleep 0.1; done\n```\n"
TALK = "```sh\npython3 -m chathub --name Ann ws://localhost:8080/ws\n```\n"


def test_the_python_of_the_readme_answers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`server.py`\n```python\n" + program("README.md", "python") + "```\n```sh stays\npython3 server.py\n```\n"
                    + UP + TALK + "```lines\n> ping\n< [general] Ann: ping\n< …: pong, Ann\n```\n")
    (folder := tmp_path / "folder").mkdir()
    assert follow(page, folder) == ""


def test_the_client_in_c_hears_what_it_says(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`ann.c`\n```c\n" + program("docs/client.md", "c") + "```\n```sh stays\nchatd\n```\n" + UP
                    + "```sh stays\ncc ann.c $(pkg-config --cflags --libs chathub libuv) -o ann && stdbuf -oL ./ann\n```\n"
                    "```text\n[general] ann: hi\n```\n")
    (folder := tmp_path / "folder").mkdir()
    assert follow(page, folder) == ""


@pytest.mark.parametrize("wrong, word", [
    ("```sh\nchatd --version\n```\n```text\nchatd 9.9.9\n```\n", "chatd 9.9.9"),
    ("```sh\nfalse\n```\n", "exit status 1"),
    ("```c\nint main(void) { return 0; }\n```\n", "does not name its file"),
])
def test_a_tutorial_that_is_wrong_is_found(wrong, word, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(wrong)
    (folder := tmp_path / "folder").mkdir()
    assert word in follow(page, folder)
