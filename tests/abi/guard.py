"""Fails where the public headers would break programs that were built with earlier ones: `guard.py [--renew]`.

What is compared (by abidiff, of Debian's abigail-tools) is libchathub.abi beside this file with the headers as they are:
with a library of stubs that is made from them (table.py), which has each function with its types, each struct and each
enum. So it is the same on every 64-bit machine, with every compiler and whatever features are built. That the real
library defines just these functions with just these types is seen to by the compiler and by tests/unit/symbols.py.

Compatible, and let through: new functions, structs and enums, new constants of enums, and new fields behind the last one
of a struct that begins with its size. Everything else is told and fails. Who breaks it on purpose raises the soname (in
libchathub/meson.build), and writes the baseline anew by `guard.py --renew`. That is also the way to have what is new and
compatible guarded from then on: with each release.

First proves, on changed copies of the headers, that it would fail, and that it lets pass what it should."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import table

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "libchathub.abi"
MAP = HERE.parents[1] / "libchathub" / "chathub.map"
NOTE = "<!-- The face that programs were built with; written by guard.py with the option renew, which see. -->"
# Hosts have the memory for it, and do not tell how much: it cannot grow.
FIXED = {"chathub_option"}


class Incompatible(Exception):
    """What abidiff says."""


def run(*command, text=None, cwd=None):
    return subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, check=False,
                          cwd=cwd)


def given(name, type_):
    """A function of its own that is given it, so that it is part of the face."""
    return [f"void {name}({type_} *it);", f"void {name}({type_} *it) {{ (void)it; }}"]


def numbers(name, values):
    """An enum of them: a change of its constants is told, and new ones are none."""
    return [f"enum {name} {{ {', '.join(values)} }};", *given(f"{name}_given", f"enum {name}")]


def fields(struct, names):
    """Each by itself, since abidiff is told to be silent about structs that grow."""
    lines = numbers(f"{struct}_offsets", [f"{struct}_{name} = offsetof(struct {struct}, {name})" for name in names])
    for name in names:
        lines += given(f"{struct}_given_{name}", f"__typeof__(((struct {struct} *)0)->{name})")
    return lines


def stubs(headers, declared):
    """C that defines each function, and uses all else."""
    lines = ["#include <stddef.h>"] + [f'#include "{pathlib.Path(header).name}"' for header in headers]
    for name, function in declared["functions"].items():
        arguments = ", ".join(f"{type_} a{i}" for i, type_ in enumerate(function["arguments"])) or "void"
        value = "" if function["result"] == "void" else " 0"
        lines.append(f"{function['result']} {name}({arguments}) {{ return{value}; }}")
    for name in declared["enums"]:
        lines += given(f"{name}_given", f"enum {name}")
    for name, struct in declared["structs"].items():
        names = [field["name"] for field in struct["fields"] if not field["name"].startswith("reserved")]
        lines += given(f"{name}_given", f"struct {name}") + fields(name, names)
    lines += numbers("chathub_constants", [f"is_{name} = {name}" for name, value in declared["constants"].items()
                                           if isinstance(value, int)])
    return "\n".join(lines) + "\n"


def face_of(folder, work):
    """A library with nothing but the face that the headers in `folder` declare."""
    headers = table.headers_of(folder)
    library = work / "face.so"
    done = run("gcc", "-x", "c", "-std=c11", "-w", "-g", "-gdwarf-4", "-O0", "-shared", "-fPIC", "-I", folder,
               "-Wl,-soname,libchathub.so.0", f"-Wl,--version-script={MAP}", "-", "-o", library,
               text=stubs(headers, table.of(headers)), cwd=work)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return library


def write_baseline(library, out):
    done = run("abidw", "--no-architecture", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs",
               "--no-elf-needed", "--no-parameter-names", "--drop-undefined-syms", "--type-id-style", "hash",
               "--out-file", out, library)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


def growing(declared):
    """Structs that may have more fields at their end: those that say how long they are."""
    return sorted(name for name, struct in declared["structs"].items()
                  if struct["fields"][0]["name"] == "size" and name not in FIXED)


def suppressions(names):
    """abidiff has one for fields at the end alone, too, but it hides what else has changed in the struct."""
    return f"[suppress_type]\n  type_kind = struct\n  name_regexp = ^({'|'.join(names)})$\n"


def compare(baseline, folder, work):
    """Raises Incompatible."""
    library = face_of(folder, work)
    allowed = work / "allowed.abignore"
    allowed.write_text(suppressions(growing(table.of(table.headers_of(folder)))), encoding="utf-8")
    done = run("abidiff", "--no-architecture", "--no-added-syms", "--no-show-locs", "--suppressions", allowed, baseline,
               library)
    if done.returncode & 3:
        raise RuntimeError(f"abidiff failed:\n{done.stdout}{done.stderr}")
    if done.returncode:
        raise Incompatible(done.stdout)


def check(folder=table.HEADERS, baseline=BASELINE):
    """What is incompatible; nothing if all is well."""
    with tempfile.TemporaryDirectory() as work:
        try:
            compare(baseline, folder, pathlib.Path(work))
        except Incompatible as difference:
            return str(difference)
    return ""


def renew():
    with tempfile.TemporaryDirectory() as work:
        write_baseline(face_of(table.HEADERS, pathlib.Path(work)), BASELINE)
    first, rest = BASELINE.read_text(encoding="utf-8").split("\n", 1)
    BASELINE.write_text(f"{first}\n{NOTE}\n{rest}", encoding="utf-8")  # abidiff knows the file by its first line
    print(f"{BASELINE} is what the headers declare now")


LAST = "    size_t content_len;  /* bytes of content */\n};"  # of chathub_question
GROWN = LAST.replace("};", "    uint64_t more; /* and more */\n};")
LEAVE = "CHATHUB_API int chathub_leave(struct chathub *hub, uint64_t client, const char *room);\n"

# What is replaced in chathub.h by what, and what has to be told then; nothing: it is compatible.
PROOFS = [
    (LEAVE, "", "chathub_leave"),
    (LEAVE, LEAVE.replace("uint64_t", "uint32_t"), "chathub_leave"),
    (LEAVE, LEAVE.replace("int chathub", "void chathub"), "chathub_leave"),
    (LEAVE, LEAVE + LEAVE.replace("leave", "go"), ""),
    ("(*chathub_stop_cb)(void *arg)", "(*chathub_stop_cb)(int why, void *arg)", "chathub_stop"),
    (LAST, GROWN, ""),
    (LAST, "};", "content_len"),
    ("    int32_t code;", "    uint32_t code;", "chathub_event_given_code"),
    ("    uint64_t observers;", "    uint64_t listeners;", "chathub_stats_observers"),
    ("    uint64_t prev;", "    uint64_t more, prev;", "chathub_event_prev"),
    ("    uint8_t reserved[6];", "    uint8_t reserved[6], more[8];", "chathub_option"),
    ("    size_t len;        /* of value */", "    size_t len, more;  /* of value */", "chathub_field"),
    ("CHATHUB_LATER = 2 ", "CHATHUB_LATER = 3 ", "CHATHUB_LATER"),
    ("CHATHUB_LATER = 2 ", "CHATHUB_LATE = 2 ", "CHATHUB_LATER"),
    ("CHATHUB_LATER = 2 ", "CHATHUB_LATER = 2, CHATHUB_NEVER = 3 ", ""),
    ("X(EPERM, -13,", "X(EPERM, -99,", "CHATHUB_EPERM"),
    ("#define CHATHUB_ON  2u", "#define CHATHUB_ON  4u", "CHATHUB_ON"),
]


def prove():
    """Against the headers themselves, so that it holds whatever they have beyond the baseline."""
    wrong = []
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        write_baseline(face_of(table.HEADERS, work), work / "now.abi")
        changed = work / "changed"
        shutil.copytree(table.HEADERS, changed)
        text = (changed / "chathub.h").read_text(encoding="utf-8")
        for old, new, told in PROOFS:
            if text.count(old) != 1:
                wrong.append(f"proof: chathub.h has {old.strip()!r} {text.count(old)} times")
                continue
            (changed / "chathub.h").write_text(text.replace(old, new), encoding="utf-8")
            report = check(changed, work / "now.abi")
            if bool(report) != bool(told) or told not in report:
                wrong.append(f"proof: {old.strip()!r} became {new.strip()!r}, which should "
                             f"{'be told' if told else 'pass'}; told was: {report or 'nothing'}")
    return wrong


def main():
    if sys.maxsize < 2**32:
        print("the baseline is of machines with 64 bits; this has less")
        return 0
    if sys.argv[1:] == ["--renew"]:
        renew()
        return 0
    wrong = prove()
    report = check()
    if report:
        print(f"Programs that were built with earlier headers would break:\n\n{report}\n"
              "Undo it; or, if it has to be, raise the soname and renew the baseline: tests/abi/guard.py --renew")
    if wrong:
        print("\n".join(wrong))
    if wrong or report:
        return 1
    print("programs that were built with earlier headers go on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
