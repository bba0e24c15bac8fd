"""Reads the public headers and fails on what they do not explain, or no test calls: `face.py ROOT`. Demanded are

- a comment directly before each function, callback type and enum, and before or beside each field of a struct;
- a test in tests/ that calls each function.

What the built libraries show to the linker is looked at by symbols.py. First proves that it would fail."""

import pathlib
import re
import sys

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
BANNER = re.compile(r"/\* -{20,}[^-]*\*/")
FUNCTION = re.compile(r"^CHATHUB_API[^;(]*?\b(chathub_\w+)\s*\(", re.MULTILINE)
CALLBACK = re.compile(r"^typedef\b[^;(]*\(\*(chathub_\w+)\)", re.MULTILINE)
ENUM = re.compile(r"^enum (chathub_\w+) \{", re.MULTILINE)
STRUCT = re.compile(r"^struct (chathub_\w+) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^ +\w[^;]*?(?:\(\*(\w+)\)[^;]*|(\w+)(?:\[\w*\])?);", re.MULTILINE)
TESTS = ("tests/**/*.[ch]", "tests/**/*.py")


def line_of(text, at):
    return text.count("\n", 0, at)


class Header:
    """The text of a header, and on which lines comments begin and end."""

    def __init__(self, text):
        self.text, self.ends, self.begins = text, set(), set()
        for match in COMMENT.finditer(text):
            if not BANNER.fullmatch(match.group()):
                self.begins.add(line_of(text, match.start()))
                alone = not text[text.rfind("\n", 0, match.start()) + 1:match.start()].strip()
                if alone:
                    self.ends.add(line_of(text, match.end()))
        # As long as the text, so that lines and places are the same; without what comments say.
        self.code = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)

    def functions(self):
        return [(match.group(1), line_of(self.code, match.start())) for match in FUNCTION.finditer(self.code)]

    def unexplained(self):
        """(line from 1, what) of each declaration without a comment."""
        found = []
        for kind, pattern in (("function", FUNCTION), ("callback", CALLBACK), ("enum", ENUM)):
            for match in pattern.finditer(self.code):
                line = line_of(self.code, match.start())
                if line - 1 not in self.ends:
                    found.append((line + 1, f"the {kind} {match.group(1)} has no comment before it"))
        for struct in STRUCT.finditer(self.code):
            for field in FIELD.finditer(struct.group(2)):
                name = field.group(1) or field.group(2)
                if name == "reserved":
                    continue
                line = line_of(self.code, struct.start(2) + field.end())
                if line not in self.begins and line_of(self.code, struct.start(2) + field.start()) - 1 not in self.ends:
                    found.append((line + 1, f"{struct.group(1)}.{name} does not say what it holds"))
        return sorted(found)


def calls(name, text):
    return re.search(rf"\b{name}\(", text) is not None


def faults(root):
    tests = "\n".join(path.read_text(encoding="utf-8") for pattern in TESTS for path in sorted(root.glob(pattern))
                      if path != pathlib.Path(__file__).resolve())
    found, count = [], 0
    for path in sorted((root / "libchathub/include").glob("*.h")) + [root / "tests/kit/chathub_testing.h"]:
        header = Header(path.read_text(encoding="utf-8"))
        name = path.relative_to(root)
        found += [f"{name}:{line}: {what}" for line, what in header.unexplained()]
        for function, line in header.functions():
            count += 1
            if not calls(function, tests):
                found.append(f"{name}:{line + 1}: no test calls {function}")
    assert count > 20, "the headers were not understood"
    return found


GOOD = """/* Ends it. */
CHATHUB_API int chathub_end(struct chathub *hub,
                            int now);

/* Called then. */
typedef void (*chathub_end_cb)(void *arg);
/* What it may be. */
enum chathub_kind { CHATHUB_A };
struct chathub_thing {
    uint32_t size; /* of it; not
                      counted twice */
    /* Both of them. */
    uint64_t min, max;
    char name[8]; /* its name */
    /* Ends it. */
    int (*end)(void *arg,
               int now);
};
"""

# What is taken out of GOOD, and what has to be found then.
PROOFS = [
    ("", []),
    ("/* Ends it. */\n", ["chathub_end has no comment"]),
    ("/* Called then. */\n", ["chathub_end_cb has no comment"]),
    ("/* What it may be. */\n", ["chathub_kind has no comment"]),
    (" /* of it; not\n                      counted twice */", ["chathub_thing.size"]),
    ("    /* Both of them. */\n", ["chathub_thing.max"]),
    (" /* its name */", ["chathub_thing.name"]),
    ("    /* Ends it. */\n", ["chathub_thing.end"]),
    ("Ends it.", []),
]


def prove():
    for out, wanted in PROOFS:
        found = [what for _, what in Header(GOOD.replace(out, "", 1)).unexplained()]
        assert len(found) == len(wanted) and all(map(str.__contains__, found, wanted)), (out, found)
    apart = Header("/* A comment. */\n\nCHATHUB_API int chathub_a(void);\n")
    banner = Header("/* ------------------------------ things */\nCHATHUB_API int chathub_a(void);\n")
    assert len(apart.unexplained()) == len(banner.unexplained()) == 1
    assert calls("chathub_log", "chathub_log(hub);") and not calls("chathub_log", "chathub_log_check(hub);")
    assert not calls("chathub_log", "my_chathub_log(hub);") and not calls("chathub_log", "chathub_log, too")


def main():
    prove()
    found = faults(pathlib.Path(sys.argv[1]).resolve())
    print("\n".join(found) or "everything public is explained and tested")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
