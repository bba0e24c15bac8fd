"""Every option is in docs/configuration.md and in the manual pages, with the default, bounds and text that `chatd --help`
tells; and the manual pages are sound."""

import os
import re
import sys

import pytest

from pages import ROOT
from reference import CHATD, INCLUDE, man, MAN, needs, PAGES, plain, run, section, source, entries

sys.path.insert(0, str(ROOT / "docs"))
import options as generator

# -------------------------------------------------------------------------------------------------------- options

@pytest.fixture(scope="module")
def help_all():
    done = run(CHATD, "--help", "all")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def options(help_all):
    return generator.read_help(help_all)


def table_of_options():
    """The names in the tables of library and chatd themselves."""
    tables = source("libchathub/options.c", "examples/chatd/settings.c")
    return re.findall(r'^ *(?:ROW\(|OWN\(\w+, |\{?\.name = )"([a-z-]+)"', tables, re.M)


def test_the_help_has_every_option_of_the_tables(options):
    names = [option.name for option in options]
    assert len(names) > 80 and sorted(names) == sorted(table_of_options())


def test_the_help_is_understood(options):
    by_name = {option.name: option for option in options}
    size, switch, line = by_name["max-message"], by_name["create-rooms"], by_name["backup"]
    assert (size.kind, size.default, size.bounds, size.live) == ("SIZE", "64k", "512 to 64m", True)
    assert (switch.kind, switch.default, switch.bounds, switch.live) == ("", "yes", "", True)
    assert (line.group, line.default, line.variable) == (generator.LINE_ONLY, "", "")
    assert by_name["notsent"].help.endswith("(TCP_NOTSENT_LOWAT).") and not by_name["notsent"].live
    assert by_name["listen"].default == "ws://localhost:8080/ws tcp://localhost:7000"


def test_bounds_in_the_help_are_those_that_are_kept(options):
    checked = 0
    for option in options:
        if not option.bounds or option.kind == "TEXT":
            continue
        done = run(CHATD, "--check-config", f"--{option.name}=nonsense")
        assert done.returncode == 2 and f"from {option.bounds}" in done.stderr.strip(), done.stderr
        checked += 1
    assert checked > 60


@pytest.mark.parametrize("path", ["configuration.md", "man/chatd.1.scd", "man/chatd.yaml.5.scd"])
def test_a_page_of_options_is_what_the_help_says_now(options, path):
    """If not: docs/options.py CHATD --renew."""
    assert (ROOT / "docs" / path).read_text(encoding="utf-8") == generator.pages(options)[ROOT / "docs" / path]


def test_an_option_that_is_new_or_different_is_noticed(options):
    path = ROOT / "docs" / "configuration.md"
    page = path.read_text(encoding="utf-8")
    assert generator.pages(options[1:])[path] != page
    assert generator.pages([options[0]._replace(default="7"), *options[1:]])[path] != page


def test_the_manual_pages_have_every_option_with_its_text_and_default(options):
    flags, keys = entries(man("chatd.1")), entries(man("chatd.yaml.5"))
    for option in options:
        value = f" {option.kind}" if option.kind else ""
        flag = flags[f"--{option.name}{value}"]
        assert flag.startswith(option.help.split(". ")[0].replace("…", "...").rstrip(".")), option.name
        if option.group == generator.LINE_ONLY:
            assert not any(head.split(" ")[0] == option.name for head in keys)
            continue
        key = next(text for head, text in keys.items() if head.split(" (")[0] == option.name)
        head = next(head for head in keys if head.split(" (")[0] == option.name)
        assert key.startswith(option.help.replace("…", "..."))
        assert option.bounds in head and head.endswith("live)") == option.live
        if option.default:
            assert key.rstrip().endswith(f"Default: {option.default}.")
        if option.default and (option.kind or option.default == "yes"):
            assert flag.rstrip().endswith(f"Default: {option.default}.")


def test_the_help_of_common_options_says_what_the_pages_say(options):
    shown = re.findall(r"^  --([a-z-]+)(?: [A-Z]+)? +(.+)$", run(CHATD, "--help").stdout, re.M)
    assert len(shown) > 10
    helps = {option.name: option.help for option in options}
    for name, text in shown:
        assert helps[name].startswith(text.removesuffix(" …"))


def test_configuration_md_names_flag_variable_and_bounds(options):
    rows = re.findall(r"^\| `--([a-z-]+)` \|(.*)\|$", (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"), re.M)
    assert [name for name, _ in rows] != [] and {name for name, _ in rows} == {option.name for option in options}
    cells = dict(rows)
    for option in options:
        assert option.bounds in cells[option.name] and option.default in cells[option.name] or option.group == generator.LINE_ONLY
        assert option.variable.replace("_", "\\_") in cells[option.name] or f"`{option.variable}`" in cells[option.name]


# --------------------------------------------------------------------------------------------------- manual pages

SCDOC_WRITES_SO = re.compile(r"WARNING: skipping paragraph macro: PP (?:empty|after S[HS])$")


@needs("scdoc", "mandoc", "man")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_manual_page_has_no_warnings(page, tmp_path):
    made = tmp_path / page.stem
    done = run("scdoc", input=page.read_text(encoding="utf-8"))
    assert done.returncode == 0 and not done.stderr, done.stderr
    made.write_text(done.stdout, encoding="utf-8")
    lint = run("mandoc", "-Tlint", "-Wwarning", made).stdout
    assert [line for line in lint.splitlines() if not SCDOC_WRITES_SO.search(line)] == []
    for width in "60", "78", "150":
        shown = run("man", "--warnings", "-P", "cat", "-l", made,
                    env={**os.environ, "MANWIDTH": width, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""})
        assert shown.returncode == 0 and shown.stderr == "" and "NAME" in shown.stdout


def test_there_are_four_manual_pages_that_name_each_other():
    assert [page.stem for page in PAGES] == ["chatd.1", "chatd.yaml.5", "chathub-protocol.7", "chathub.3"]
    names = {page.stem.rsplit(".", 1)[0] + f"({page.stem[-1]})" for page in PAGES}
    for page in PAGES:
        also = plain(section(page.read_text(encoding="utf-8"), "SEE ALSO", "#"))
        assert {name for name in names if name in also} >= names - {plain(page.read_text(encoding="utf-8").split("\n")[0])} \
            - {"chathub(3)"}


@needs("cc")
def test_the_example_in_chathub_3_is_compiled(tmp_path):
    program = tmp_path / "example.c"
    program.write_text(re.search(r"^```\n(#include.*?)^```$", section(man("chathub.3"), "EXAMPLE", "#"), re.M | re.S)[1]
                       .replace("\\\\", "\\"))
    done = run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{INCLUDE}", program)
    assert done.returncode == 0, done.stderr


def test_the_file_in_chatd_yaml_5_is_valid(tmp_path):
    config = tmp_path / "chatd.yaml"
    config.write_text(re.search(r"^```\n(listen:.*?)^```$", man("chatd.yaml.5"), re.M | re.S)[1])
    done = run(CHATD, "--config", config, "--check-config", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
