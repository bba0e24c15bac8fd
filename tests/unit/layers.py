"""Reads every #include and fails on an arrow that the design does not have. First proves on trees of its own that it
would: `layers.py ROOT`."""

import pathlib
import re
import sys
import tempfile

# Who may include whom within libchathub/. Everyone may include chathub.h; siblings do not know each other.
BELOW = {
    "util": {"util"},
    "core": {"core", "util"},
    "delivery": {"delivery", "core", "util"},
    "log": {"log", "core", "util"},
    "dialect": {"dialect", "core", "util"},
    "auth": {"auth", "core", "util"},
    "net": {"net", "delivery", "log", "dialect", "auth", "core", "util"},
    "client": {"client", "util"},
    "top": {"top", "net", "delivery", "log", "dialect", "auth", "core", "util"},
    "include": set(),
}

# What hosts may include.
PUBLIC = ("chathub.h", "chathub_client.h")

# Headers of the C standard that do no I/O: all that core may have.
PURE = {
    "assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h",
    "stddef.h", "stdint.h", "stdlib.h", "string.h",
}

# Headers of other projects, and the only places that may have them.
FOREIGN = {
    "uthash.h": ("util/map.c",),
    "uv.h": ("net/", "client/", "chathub.c", "boundary.h"),
    "wslay/wslay.h": ("net/", "client/socket.c"),
    "llhttp.h": ("net/", "client/upgrade.c"),
    "jansson.h": ("dialect/", "auth/", "client/", "log/jetstream/wire_json.c"),
    "nats.h": ("log/jetstream/link.c",),
    "nats/nats.h": ("log/jetstream/link.c",),
    "sqlite3.h": ("log/sqlite/",),
    "utf8proc.h": ("auth/",),
    "sha1.h": ("util/websocket.c",),
    "sha2.h": ("net/", "chathub.c"),
}

# Outside the library these may look inside; all else lives by chathub.h.
INSIDERS = ("tests/unit/", "tests/conformance/", "tests/simulation/", "tests/fuzz/", "tests/bench/log_",
             "tests/bench/instructions", "tests/bench/scale", "tests/kit/kit")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def includes(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def layer_of(name):
    return name.split("/")[0] if "/" in name else "top"


def library_faults(name, mark, header):
    """What is wrong with `header` included by libchathub/`name`."""
    layer = layer_of(name)
    if header == "chathub.h" or (header == "chathub_client.h" and layer == "client"):
        return None
    if mark == '"':
        if header in ("options.h", "boundary.h"):
            return None if layer == "top" else "only the boundary knows it"
        if "/" not in header:
            return "write the path from libchathub/"
        return None if layer_of(header) in BELOW[layer] else f"{layer} does not know {layer_of(header)}"
    if header in FOREIGN:
        allowed = any(name == place or (place.endswith("/") and name.startswith(place)) for place in FOREIGN[header])
        return None if allowed else "this header belongs to " + ", ".join(FOREIGN[header])
    if layer == "include" and header not in ("stddef.h", "stdint.h"):
        return "the public header needs no other"
    if layer == "core" and header not in PURE | {"stdio.h"}:
        return "core has no I/O and no third-party header"
    return None


def input_output(text):
    """What core uses of stdio.h beyond formatting into memory."""
    return sorted(set(re.findall(r"\b(FILE|stdout|stderr|stdin|v?f?printf|f?put[cs]|f?get[cs]|fopen|fwrite|fread)\b", text)))


def faults(root):
    found = []
    library = root / "libchathub"
    inside = {path.relative_to(library).as_posix() for path in library.rglob("*.h")}
    for path in sorted(library.rglob("*.[ch]")):
        name = path.relative_to(library).as_posix()
        for mark, header in includes(path):
            fault = library_faults(name, mark, header)
            if fault:
                found.append(f"libchathub/{name}: {header}: {fault}")
            if layer_of(name) == "core" and header == "stdio.h":
                for word in input_output(path.read_text(encoding="utf-8")):
                    found.append(f"libchathub/{name}: {word}: core has no I/O")
    for folder in ("examples", "bindings", "tests"):
        for path in sorted((root / folder).rglob("*.[ch]")):
            name = path.relative_to(root).as_posix()
            if name.startswith(INSIDERS):
                continue
            for mark, header in includes(path):
                own = mark == '"' and (path.parent / header).exists()
                if header not in PUBLIC and header in inside and not own:
                    found.append(f"{name}: {header}: only " + " and ".join(PUBLIC) + " are for hosts")
    return found


# file, its include, and whether that is allowed.
PROOFS = [
    ("libchathub/util/buf.c", '"core/hub.h"', False),
    ("libchathub/util/buf.c", '"util/buf.h"', True),
    ("libchathub/util/buf.c", "<uthash.h>", False),
    ("libchathub/util/map.c", "<uthash.h>", True),
    ("libchathub/core/hub.c", '"delivery/delivery.h"', False),
    ("libchathub/core/hub.c", '"util/buf.h"', True),
    ("libchathub/core/hub.c", '"chathub.h"', True),
    ("libchathub/core/hub.c", "<uv.h>", False),
    ("libchathub/core/hub.c", "<stdio.h>\nint n = snprintf(at, size, text);", True),
    ("libchathub/core/hub.c", "<stdio.h>\nint n = printf(text);", False),
    ("libchathub/core/hub.c", "<stdio.h>\nFILE *file;", False),
    ("libchathub/core/hub.c", "<unistd.h>", False),
    ("libchathub/core/hub.c", "<jansson.h>", False),
    ("libchathub/delivery/pump.c", '"log/log.h"', False),
    ("libchathub/delivery/pump.c", '"core/ports.h"', True),
    ("libchathub/delivery/pump.c", '"net/net.h"', False),
    ("libchathub/log/memory.c", '"delivery/delivery.h"', False),
    ("libchathub/dialect/native.c", '"auth/fold.h"', False),
    ("libchathub/dialect/native.c", "<jansson.h>", True),
    ("libchathub/auth/fold.c", '"dialect/dialect.h"', False),
    ("libchathub/net/conn.c", '"dialect/dialect.h"', True),
    ("libchathub/net/conn.c", "<uv.h>", True),
    ("libchathub/net/conn.c", "<jansson.h>", False),
    ("libchathub/net/conn.c", '"options.h"', False),
    ("libchathub/net/conn.c", '"conn.h"', False),
    ("libchathub/chathub.c", '"options.h"', True),
    ("libchathub/chathub.c", "<uv.h>", True),
    ("libchathub/options.c", "<uv.h>", False),
    ("libchathub/client/wire.c", "<uv.h>", True),
    ("libchathub/client/wire.c", '"util/buf.h"', True),
    ("libchathub/client/wire.c", '"core/hub.h"', False),
    ("libchathub/client/wire.c", "<wslay/wslay.h>", False),
    ("libchathub/net/conn.c", '"chathub_client.h"', False),
    ("examples/chat/main.c", "<chathub_client.h>", True),
    ("libchathub/include/chathub.h", "<uv.h>", False),
    ("libchathub/include/chathub.h", "<stdint.h>", True),
    ("examples/chatd/main.c", '"util/buf.h"', False),
    ("examples/chatd/main.c", '"chathub.h"', True),
    ("examples/chatd/main.c", "<chathub.h>", True),
    ("tests/bench/load.c", '"core/hub.h"', False),
    ("tests/unit/test_core.c", '"core/hub.h"', True),
    ("tests/simulation/sim.c", '"core/hub.h"', True),
    ("tests/kit/kit_log.c", '"core/hub.h"', True),
    ("tests/kit/test_kit.c", '"core/hub.h"', False),
]


def prove():
    """Names the proofs that did not come out."""
    wrong = []
    for name, header, allowed in PROOFS:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for known in ("core/hub.h", "util/buf.h"):
                (root / "libchathub" / known).parent.mkdir(parents=True, exist_ok=True)
                (root / "libchathub" / known).write_text("\n", encoding="utf-8")
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"#include {header}\n", encoding="utf-8")
            if (not faults(root)) != allowed:
                wrong.append(f"proof: {name} with {header} should be {'allowed' if allowed else 'refused'}")
    return wrong


def main():
    found = prove() or faults(pathlib.Path(sys.argv[1]))
    print("\n".join(found) or "every arrow is one of the design's")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
