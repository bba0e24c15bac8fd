"""Whatever a page points to in this tree is there: files, folders, and headings within pages."""
import re

import pytest

from pages import ROOT, anchors, pages, prose

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def broken(page, text):
    """The links of a page that lead nowhere."""
    wrong = []
    for link in LINK.findall(prose(text)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or ROOT not in (target, *target.parents):
            wrong.append(f"{link}: there is no such file")
        elif heading and heading not in anchors(text if target == page else target.read_text()):
            wrong.append(f"{link}: there is no such heading")
    return wrong


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_broken(page):
    assert not broken(page, page.read_text())


def test_a_broken_link_is_found():
    page = ROOT / "README.md"
    text = "# One\n## One\n[a](docs/none.md) [b](#two) [c](#one-1) [d](docs/chatd.md#no) [e](libchathub) [f](../x) `[g](no)`"
    assert [line.split(":")[0] for line in broken(page, text)] == ["docs/none.md", "#two", "docs/chatd.md#no", "../x"]
