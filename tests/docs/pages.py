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
