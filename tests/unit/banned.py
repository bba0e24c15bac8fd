"""Fails where C code calls a function that the house does not use. First proves that it would: `banned.py ROOT`."""

import pathlib
import re
import sys

BANNED = ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "atoi", "atol", "atoll", "strtok", "alloca", "stpcpy")
CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
# Comments and texts, which may say what they like; newlines stay, so that line numbers hold.
SILENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def calls(text):
    """(line, name) of each banned call."""
    code = SILENT.sub(lambda match: "\n" * match.group().count("\n"), text)
    return [(code.count("\n", 0, match.start()) + 1, match.group(1)) for match in CALL.finditer(code)]


def prove():
    for name in BANNED:
        assert calls(f"int a;\n{name} (x);") == [(2, name)], name
    assert calls("snprintf(a); my_strcpy(b); ops->gets(c);") == []
    assert calls('/* strcpy(\n */ "atoi(" // gets(\n') == []


def main():
    prove()
    root = pathlib.Path(sys.argv[1])
    found = []
    for folder in ("libchathub", "examples", "bindings", "tests"):
        for path in sorted((root / folder).rglob("*.[ch]")):
            for line, name in calls(path.read_text(encoding="utf-8")):
                found.append(f"{path.relative_to(root)}:{line}: {name}")
    print("\n".join(found) or "no banned function is called")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
