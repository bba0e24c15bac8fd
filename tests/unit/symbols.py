"""Looks at what the built libraries show to the linker: `symbols.py HEADER… LIBRARY…`."""

import re
import subprocess
import sys


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def defined(library, *options):
    """Global symbols that it defines; the compiler's own (with two underscores) left out."""
    names = set()
    for line in output("nm", "--defined-only", "--extern-only", *options, library).splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] in "TDBRVWCi" and not fields[2].startswith("__"):
            names.add(fields[2].split("@")[0])
    return names


def static_faults(library):
    strange = sorted(name for name in defined(library) if not name.startswith(("chathub_", "chi_")))
    return [f"{library}: {name} has no prefix of ours" for name in strange]


def shared_faults(library, public):
    found = []
    shown = defined(library, "--dynamic") - {"CHATHUB_0"}
    found += [f"{library}: {name} is shown, but in no public header" for name in sorted(shown - public)]
    found += [f"{library}: {name} is in a public header, but not shown" for name in sorted(public - shown)]
    dynamic = output("readelf", "--wide", "--dynamic", "--program-headers", library)
    for want, why in (("[libchathub.so.0]", "soname"), ("GNU_RELRO", "read-only relocations"),
                      ("BIND_NOW", "immediate binding")):
        if want not in dynamic:
            found.append(f"{library}: no {why} ({want})")
    if "TEXTREL" in dynamic or re.search(r"GNU_STACK.*RWE", dynamic):
        found.append(f"{library}: writable code")
    return found


def main():
    headers = [name for name in sys.argv[1:] if name.endswith(".h")]
    libraries = [name for name in sys.argv[1:] if not name.endswith(".h")]
    public = set()
    for header in headers:
        with open(header, encoding="utf-8") as file:
            names = re.findall(r"^CHATHUB_API[^(]*?\b(chathub_\w+)\(", file.read(), re.MULTILINE)
        assert len(names) > 10, f"{header} was not understood"
        public |= set(names)
    found = []
    for library in libraries:
        found += static_faults(library) if library.endswith(".a") else shared_faults(library, public)
    print("\n".join(found) or "only our own names are shown")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
