#!/usr/bin/python3
"""What Doxygen reads in place of a public header: `filter.py HEADER`.

The headers are written to be read as they are, with plain comments. Here a comment before a declaration becomes the
declaration's, one behind a field or an enumerator that one's, and a banner begins a group. What is indented stays as it
is; names of functions and constants become links."""

import itertools
import pathlib
import re
import sys
import textwrap

COMMENT = re.compile(r"/\*(.*?)\*/", re.DOTALL)
# With the comment below it, if that stands alone.
BANNER = re.compile(r"/\* -{20,} ([^\n]*?) \*/\n(?:\n/\*((?:(?!\*/).)*)\*/\n(?=\n))?", re.DOTALL)
# What the groups of a header that is not chathub.h begin with.
PARTS = {"chathub_client": "a client for hubs elsewhere: ", "chathub_testing": "for tests: "}
END = "#ifdef __cplusplus\n}\n#endif"
ERROR = re.compile(r'X\((\w+), (-\d+), "(\w+)",\s*((?:"[^"]*"\s*)+)\)')
HEADING = re.compile(r"[A-Z][A-Z ,]+")
ENUM_OF_ERRORS = re.compile(r"#define CHATHUB_X\(.*?#undef CHATHUB_X\n", re.DOTALL)


def errors(text):
    """(name, number, word, what it means) of the table of errors."""
    for name, number, word, said in ERROR.findall(text.replace("\\\n", " ")):
        yield name, number, word, "".join(re.findall(r'"([^"]*)"', said))


def expand_errors(text):
    """The enumerators that a macro makes, written out."""
    rows = [f"    CHATHUB_{name} = {number}, /* `{word}`: {said} */\n" for name, number, word, said in errors(text)]
    return ENUM_OF_ERRORS.sub(lambda _: "".join(rows), text)


def names(text):
    """What can be linked to: functions, and constants with enums."""
    code = COMMENT.sub("", text)
    functions = set(re.findall(r"^CHATHUB_API[^;(]*?\b(chathub_\w+)\(", code, re.MULTILINE))
    others = re.findall(r"\b(CHATHUB_[A-Z0-9_]+) *(?:[=,]|\n *\})|^enum (chathub_\w+) \{|#define (CHATHUB_(?:DUP|ON|NUL)) ", code,
                        re.MULTILINE)
    return functions, {name for found in others for name in found if name}


def link(match, known):
    functions, constants = known
    word = match.group()
    if word in functions and not match.string.startswith("(", match.end()):
        return word + "()"
    return f"#{word}" if word in constants else word


def prose(line, known):
    """Words of a comment; what is in backquotes stays as it is."""
    if line.startswith("@par "):
        return line
    parts = re.split(r"(`[^`]*`)", line)
    for at in range(0, len(parts), 2):
        part = re.sub(r"([\\@<>#&$%])", r"\\\1", parts[at])
        parts[at] = re.sub(r"\bchathub_\w+|\bCHATHUB_[A-Z0-9_]+", lambda match: link(match, known), part)
    return "".join(parts)


def lines_of(comment):
    """A comment's lines without the asterisks before them."""
    first, *rest = comment.strip().split("\n")
    return [first] + [re.sub(r"^\s*\*? ?", "", line, count=1) if re.match(r"\s*\*", line) else line.strip() for line in rest]


def as_doxygen(lines, known):
    """The text of a comment; what is indented by four, or more, keeps its lines."""
    out = []
    for indented, some in itertools.groupby(lines, lambda line: line.startswith("    ")):
        if indented:
            out += ["@verbatim", *textwrap.dedent("\n".join(some)).split("\n"), "@endverbatim"]
        else:
            out += [prose(line, known) for line in some]
    return out


def sections(lines):
    """The comment on top of a header: its words in capitals as headings, and what they indent brought back."""
    out, within = [], False
    for line in lines:
        if HEADING.fullmatch(line):
            within = True
            out.append(f"@par {line.capitalize()}")
        elif within and line.startswith("    "):
            line = line[4:]
            out.append("    " + line if line.startswith("  ") else line)
        else:
            within = within and not line
            out.append(line)
    return out


def head(comment, known):
    title, *rest = lines_of(comment)
    title = re.sub(r"^\S+: (.)", lambda match: match[1].upper(), title)
    made = "\n".join(as_doxygen(sections(rest), known))
    return f"/** @file\n@brief {prose(title, known)}\n{made}\n*/"


class Filter:
    def __init__(self, stem, text):
        self.stem, self.text = stem, expand_errors(text)
        self.known = names(self.text)
        self.grouped = False

    def begin_group(self, match):
        """Ends the group before it, and begins one with what is said of it."""
        ended = "/** @} */\n" if self.grouped else ""
        self.grouped = True
        title, about = match[1], self.made(match[2]) + "\n" if match[2] else ""
        title = PARTS.get(self.stem, "") + title.lower()
        title = title[0].upper() + title[1:]
        name = f"{self.stem}_{re.sub(r'[^a-z]+', '_', title.lower())}"
        return f"{ended}/** @defgroup {name} {title}\n{about}@{{ */\n"

    def made(self, comment):
        return "\n".join(as_doxygen(lines_of(comment), self.known))

    def comment(self, match):
        text, at, body = self.text, match.start(), match[1]
        if at == 0:
            return head(body, self.known)
        if body.startswith("*"):  # a group's
            return match[0]
        behind = text[text.rfind("\n", 0, at) + 1:at].strip()
        if re.fullmatch(r"struct \w+;", behind):
            return match[0]
        return f"/**{'<' if behind else ''} {self.made(body)} */"

    def run(self):
        self.text = BANNER.sub(self.begin_group, self.text)
        if self.grouped:
            self.text = self.text.replace(END, "/** @} */\n" + END)
        out = COMMENT.sub(self.comment, self.text)
        # Several fields of one comment.
        out = re.sub(r"^( +\w+) (\w+), (\w+);( +/\*\*<.*?\*/)", r"\1 \2;\4\n\1 \3;\4", out, flags=re.MULTILINE)
        out = re.sub(r"^( +\w+ reserved(?:\[\d+\])?;)$", r"\1 /**< 0; for later versions. */", out, flags=re.MULTILINE)
        return re.sub(r"^#define CHATHUB_API.*\n", "", out, flags=re.MULTILINE)


def main():
    path = pathlib.Path(sys.argv[1])
    text = path.read_text(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(Filter(path.stem, text).run() if path.suffix == ".h" else text)


if __name__ == "__main__":
    main()
