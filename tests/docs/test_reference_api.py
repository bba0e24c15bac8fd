"""Everything public of the library is in the API reference, with its text, and every function in chathub(3)."""

import os
import re
import xml.etree.ElementTree as xml

import pytest

from pages import ROOT
from reference import INCLUDE, man, needs, plain, run, section

HEADERS = [*sorted(INCLUDE.glob("*.h")), ROOT / "tests" / "kit" / "chathub_testing.h"]
PUBLIC = {path.name: re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S) for path in HEADERS}


def public_functions():
    return {name for text in PUBLIC.values() for name in re.findall(r"^CHATHUB_API[^;(]*?\b(chathub_\w+)\s*\(", text, re.M)}


def public_constants():
    """Enumerators, with those that the table of errors makes."""
    named_so = {name for text in PUBLIC.values() for name in re.findall(r"^ +(CHATHUB_\w+)(?: = -?\d+)?,? *$", text, re.M)}
    return named_so | {f"CHATHUB_{name}" for name in re.findall(r"X\((E\w+), -\d+,", PUBLIC["chathub.h"])}


def undocumented(folder):
    """(what Doxygen knows, what of it has no text)."""
    known, bare = {}, []
    for path in folder.glob("*.xml"):
        for item in xml.parse(path).getroot().iter():
            if item.tag not in ("memberdef", "enumvalue", "compounddef") or item.get("kind") in ("file", "dir", "page", "group"):
                continue
            name = (item.findtext("name") or item.findtext("compoundname")).removeprefix("struct ")
            said = "".join("".join(item.find(part).itertext()) for part in ("briefdescription", "detaileddescription"))
            known[name] = said
            if not said.strip():
                bare.append(name)
    return known, bare


def doxygen(folder, *more):
    """Makes the reference as docs/api.md says, with further lines for the Doxyfile."""
    config = (ROOT / "docs" / "api" / "Doxyfile").read_text(encoding="utf-8") + "\n".join(more) + "\n"
    return run("doxygen", "-", cwd=ROOT, env={**os.environ, "API_OUTPUT": str(folder)}, input=config)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    done = doxygen(folder)
    assert done.returncode == 0, done.stderr
    return folder


@needs("doxygen")
def test_the_api_reference_has_every_function_and_constant_with_its_text(reference):
    known, bare = undocumented(reference / "xml")
    assert len(public_functions()) > 60 and len(public_constants()) > 80
    assert public_functions() | public_constants() <= set(known)
    assert bare == []
    assert {"chathub_event", "sender_id", "chathub_stop_cb", "CHATHUB_NUL"} <= set(known)


@needs("doxygen")
def test_the_api_reference_says_what_the_headers_say(reference):
    known, _ = undocumented(reference / "xml")
    said = " ".join(known["chathub_free"].split())
    assert said.startswith("Ends whatever still runs, without a word to clients, and frees everything.") \
        and "NULL is allowed." in said
    assert "the name is in use; choose another" in known["CHATHUB_ENAMETAKEN"]
    assert "tcp://HOST:PORT lines" in " ".join(known["chathub_listen"].split())
    page = next((reference / "html").glob("*queue__of__events.html")).read_text(encoding="utf-8")
    assert 'chathub_answer()</a>' in page and "It is bounded by the option event-queue" in page


HEADER = """/* chathub.h: a header. */
/* ---------------------------------- things */

/* What it has. */
struct chathub_thing {
    int position; /* of an entry */
};
/* What it may be. */
enum chathub_kind {
    CHATHUB_ONE = 1 /* alone */
};
/* Ends it. */
CHATHUB_API int chathub_end(struct chathub_thing *thing);

#ifdef __cplusplus
}
#endif
"""


@needs("doxygen")
@pytest.mark.parametrize("said", ["What it has.", "of an entry", "What it may be.", "alone", "Ends it."])
def test_what_says_nothing_is_found(tmp_path, said):
    """By Doxygen itself, or, as it knows nothing of enumerators, by looking at what it made."""
    (tmp_path / "chathub.h").write_text(HEADER)
    assert doxygen(tmp_path / "good", f"INPUT = {tmp_path}/chathub.h").returncode == 0
    assert undocumented(tmp_path / "good" / "xml")[1] == []
    (tmp_path / "chathub.h").write_text(HEADER.replace(f"/* {said} */", ""))
    done = doxygen(tmp_path / "bad", f"INPUT = {tmp_path}/chathub.h")
    if said == "alone":
        assert set(undocumented(tmp_path / "bad" / "xml")[1]) == {"CHATHUB_ONE"}
    else:
        assert done.returncode != 0 and "is not documented" in done.stderr


def test_chathub_3_names_every_function_and_no_other():
    text = plain(man("chathub.3"))
    functions = section(text, "FUNCTIONS", "#")
    assert set(re.findall(r"\bchathub_\w+(?=\(\))", functions)) == public_functions()
    assert set(re.findall(r"\bchathub_\w+(?=\(\))", text)) <= public_functions()
    assert set(re.findall(r"\bCHATHUB_[A-Z_]+\b", section(text, "EXAMPLE", "#"))) <= public_constants() | {"CHATHUB_NUL"}
