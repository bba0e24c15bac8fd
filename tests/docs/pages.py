"""The pages of documentation: README.md and every other Markdown file of the tree."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pages():
    """All Markdown files that git knows, or would add."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split()
    return [ROOT / path for path in sorted(listed) if (ROOT / path).exists()]


def prose(text):
    """A page without its blocks and spans of code."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.M)
    return re.sub(r"`[^`\n]+`", "", text)


def anchor(heading):
    """What a heading's link is on the usual hosts: lower case, punctuation away, spaces as hyphens."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(text):
    """All of a page's; a second heading of the same words gets -1, and so on."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    seen, found = {}, set()
    for heading in re.findall(r"^#{1,6} (.+?)\s*$", without_code, flags=re.M):
        name = anchor(heading)
        found.add(f"{name}-{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return found


class Block:
    """A block of code of a page: what follows ``` (its kind and further words), its text, and where it stands."""

    def __init__(self, page, line, info, text, before):
        self.page, self.line, self.text, self.before = page, line, text, before
        self.kind, *self.words = info.split() or [""]

    @property
    def name(self):
        return str(self.page.relative_to(ROOT) if ROOT in self.page.parents else self.page)

    @property
    def place(self):
        return f"{self.name}:{self.line}"

    @property
    def file(self):
        """The file that the text before the block tells the reader to make of it: the last `name` with such an ending."""
        named = re.findall(rf"`([\w.-]+\.{ENDINGS[self.kind]})`", self.before) if self.kind in ENDINGS else []
        return named[-1] if named else None


ENDINGS = {"c": "c", "python": "py", "yaml": "yaml", "cmake": "txt"}
FENCE = re.compile(r" {0,3}(```+|~~~+)\s*(.*?)\s*$")


def blocks(page, text=None):
    """All blocks of a page in their order. An indented one is a `tree` of files if it begins with a folder, else commands
    for a shell, `sh`."""
    lines = (page.read_text() if text is None else text).splitlines()
    found, prose, at = [], [], 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence:
            end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() == fence[1]), len(lines))
            found.append(Block(page, at + 1, fence[2] or "none", "\n".join(lines[at + 1:end]) + "\n", "\n".join(prose)))
            at, prose = end + 1, []
        elif indented(lines, at, prose):
            end = next((n for n in range(at, len(lines)) if lines[n].strip() and not indented_line(lines[n])), len(lines))
            body = "\n".join(line[4:] for line in lines[at:end]).rstrip() + "\n"
            kind = "tree" if re.match(r"[\w.-]+/\n", body) else "sh"
            found.append(Block(page, at + 1, kind, body, "\n".join(prose)))
            at, prose = end, []
        else:
            prose.append(lines[at])
            at += 1
    return found


def indented_line(line):
    return line.startswith(("    ", "\t"))


def indented(lines, at, prose):
    """Whether an indented block begins here: after an empty line, and not as a further paragraph of a list's item."""
    if not indented_line(lines[at]) or not lines[at].strip() or (at and lines[at - 1].strip()):
        return False
    above = next((line for line in reversed(prose) if line.strip()), "")
    return not re.match(r"\s*([-*+]|\d+[.)]) |\s{2,}\S", above)
