#!/usr/bin/python3
"""The pages that list chatd's options, made from what `chatd --help all` tells: `options.py CHATD [--renew]`.

They are docs/configuration.md as a whole, and in docs/man/ the parts of chatd.1.scd and chatd.yaml.5.scd between
two marks. Without --renew it says which of them are not as they would be made now."""

import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

DOCS = pathlib.Path(__file__).resolve().parent
BEGIN, END = "; The following is made by docs/options.py.", "; Until here."
LINE_ONLY = "Command line only"
TAKES = {"": "yes or no", "N": "number", "SIZE": "size", "TIME": "time", "URL": "URLs", "TEXT": "text"}
# What a person says instead of the word in the help.
VALUES = {"log-sync": "full, normal", "log-format": "logfmt, json", "log-level": "debug, info, warning, error",
          "config": "file", "log-file": "file", "www": "folder", "backup": "file", "user": "name"}
# Groups of the help in the order and under the headings of the pages.
GROUPS = ["Hub", "chatd", "Security", "Clients and rooms", "Lengths", "History", "Log", "Presence", "Memory", "Network",
          LINE_ONLY]
ABOUT = {
    "Hub": "Where it listens, and what is there.",
    "chatd": "What the server adds to the hub.",
    "Security": "Who may come, and how much is borne.",
    "Clients and rooms": "How many there may be, and how long they stay.",
    "Lengths": "Of what one client sends.",
    "History": "How much of the past is sent.",
    "Log": "How entries are kept, and for how long.",
    "Presence": "How often members are told of each other.",
    "Memory": "What may wait, and how much of it.",
    "Network": "Times and amounts of each connection.",
    LINE_ONLY: "These are flags alone, and most of them have chatd do one thing and end.",
}


class Option(NamedTuple):
    name: str
    group: str
    kind: str  # as after its flag: "", "N", "SIZE", "TIME", "URL", "TEXT"
    help: str
    default: str  # "" if none
    bounds: str  # "1 to 64", "up to 64 bytes" or ""
    live: bool

    @property
    def variable(self):
        """Also for those of the command line: "" but for config."""
        if self.group == LINE_ONLY and self.name != "config":
            return ""
        return "CHATD_" + self.name.replace("-", "_").upper()

    @property
    def flag(self):
        return f"--{self.name}"

    @property
    def takes(self):
        return VALUES.get(self.name, TAKES[self.kind])

    @property
    def brief(self):
        """The first sentence."""
        return re.split(r"(?<=[.])\s", self.help, maxsplit=1)[0]


TAIL = re.compile(r"(.*?)(?: Default: (.+?))?(?: \((?:(\S+ to \S+|up to \d+ bytes)(?:; )?)?(live)?\))?", re.DOTALL)


def read_help(text):
    """The options in the order of `chatd --help all`."""
    options, group, pending = [], "", None

    def finish():
        if pending:
            name, kind, words = pending
            said, default, bounds, live = TAIL.fullmatch(" ".join(words)).groups()
            options.append(Option(name, group, kind, said, default or "", bounds or "", bool(live)))

    for line in text.split("\n\n", 1)[1].splitlines():
        head = re.fullmatch(r"  --([a-z-]+)(?: (N|SIZE|TIME|URL|TEXT))? +(\S.*)", line)
        if head:
            finish()
            pending = head[1], head[2] or "", [head[3]]
        elif line.startswith(" " * 24):
            pending[2].append(line.strip())
        else:
            finish()
            pending, group = None, line or group
    finish()
    return options


def ask(chatd):
    # Of the machine that the pages are for: with SQLite, and without variables of whoever makes them.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("CHATD_")}
    return read_help(subprocess.run([chatd, "--help", "all"], check=True, capture_output=True, text=True, env=plain).stdout)


def by_group(options):
    strange = {option.group for option in options} - set(GROUPS)
    assert not strange, f"docs/options.py knows no group {strange}"
    return [(group, [option for option in options if option.group == group]) for group in GROUPS]


# ------------------------------------------------------------------------------------------------ configuration.md

INTRO = """# Configuration

Every option of chatd, for whoever runs it. Made by [options.py](options.py) from the table that chatd itself reads, so
that it is what `chatd --help all` says; `chatd --help NAME` explains one. The programs that embed the hub set all but those
under [chatd](#chatd) and [Command line only](#command-line-only), by the same names (`chathub_set`).

An option is a flag, a variable and a key of the YAML file that `--config` names. The key is the flag without its dashes:

```sh
chatd --join-history 20             # in the file: join-history: 20
CHATD_JOIN_HISTORY=20 chatd
```

Flags win over variables, variables over the file, the file over the defaults. What values are:

| takes | is |
|---|---|
| yes or no | a switch: `--insecure`, `--no-insecure` or `--insecure=yes`; in the file `insecure: yes` |
| number | a whole number |
| size | bytes, or with `k`, `m`, `g` (1024 each): `512`, `64k` |
| time | a number with `ms`, `s`, `m`, `h` or `d`: `250ms`, `10s`; 0 needs none |
| URLs | several: the flag again for each, the variable with blanks between them, the key with a list |
| text | UTF-8 without control characters |

`live` are those that change while chatd runs: change the file, and `kill -HUP` has chatd read it again. All others are
read at the start; of a change `needs_restart` tells in the log lines.
"""


def cell(text):
    return text.replace("|", "\\|")


def code(text):
    return f"`{text}`" if text else ""


def words_of(text):
    """Help as Markdown: what would be taken for HTML or emphasis is none."""
    return cell(re.sub(r"([<>*_])", r"\\\1", text))


def row(option):
    takes = ", ".join(filter(None, [option.takes, option.bounds]))
    when = "live" if option.live else "start"
    return (f"| `{option.flag}` | `{option.variable}` | {cell(takes)} | {code(option.default)} | {when} "
            f"| {words_of(option.help)} |")


def line_row(option):
    variable = f" Also by the variable `{option.variable}`." if option.variable else ""
    assert not variable or option.variable in option.help
    return f"| `{option.flag}` | {option.takes if option.kind else ''} | {words_of(option.help)} |"


def markdown(options):
    out = [INTRO]
    out.append("Contents: " + " · ".join(f"[{group}](#{group.lower().replace(' ', '-')})" for group in GROUPS) + "\n")
    for group, members in by_group(options):
        out.append(f"## {group}\n\n{ABOUT[group]}\n")
        if group == LINE_ONLY:
            rows = ["| flag | takes | |", "|---|---|---|"] + [line_row(option) for option in members]
        else:
            rows = ["| flag | variable | takes | default | when | |", "|---|---|---|---|---|---|"]
            rows += [row(option) for option in members]
        out.append("\n".join(rows) + "\n")
    return "\n".join(out)


# ------------------------------------------------------------------------------------------------------- man pages

def scd(text):
    """Text for scdoc; of ASCII, which every terminal has."""
    text = re.sub(r"([\\*_#\[\]])", r"\\\1", text.replace("…", "...").replace("→", "to"))
    return text


def default_of(option):
    return f"Default: {scd(option.default)}." if option.default and option.kind else (
        f"Default: {option.default}." if option.default == "yes" else "")


def flag_entry(option):
    value = f" _{option.kind}_" if option.kind else ""
    words = option.help if option.group == LINE_ONLY else option.brief
    tail = "" if option.group == LINE_ONLY else " " + default_of(option)
    return f"*{option.flag}*{value}\n\t{(scd(words) + tail).rstrip()}\n"


def flags_page(options):
    out = []
    groups = by_group(options)
    for group, members in groups[-1:] + groups[:-1]:
        out.append(f"## {group}\n")
        out += [flag_entry(option) for option in members]
    return "\n".join(out)


def key_entry(option):
    takes = ", ".join(filter(None, [option.takes, option.bounds, "live" if option.live else ""]))
    default = f" Default: {scd(option.default)}." if option.default else ""
    return f"*{option.name}* ({scd(takes)})\n\t{scd(option.help)}{default}\n"


def keys_page(options):
    out = []
    for group, members in by_group(options):
        if group != LINE_ONLY:
            out.append(f"## {group}\n")
            out += [key_entry(option) for option in members]
    return "\n".join(out)


def between(page, made):
    """The page with `made` between its marks."""
    head, rest = page.split(BEGIN + "\n", 1)
    tail = rest.split(END, 1)[1]
    return f"{head}{BEGIN}\n\n{made}\n{END}{tail}"


def pages(options):
    """path → text, for every page."""
    man = DOCS / "man"
    made = {DOCS / "configuration.md": markdown(options)}
    for name, part in (("chatd.1.scd", flags_page), ("chatd.yaml.5.scd", keys_page)):
        made[man / name] = between((man / name).read_text(encoding="utf-8"), part(options))
    return made


def main():
    if not 2 <= len(sys.argv) <= 3 or sys.argv[2:] not in ([], ["--renew"]):
        print(__doc__, file=sys.stderr)
        return 2
    old = 0
    for path, text in pages(ask(sys.argv[1])).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        old += 1
        if sys.argv[2:]:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(DOCS.parent)} {'was renewed' if sys.argv[2:] else 'is not what chatd --help all says'}")
    return 1 if old and not sys.argv[2:] else 0


if __name__ == "__main__":
    sys.exit(main())
