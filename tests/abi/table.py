"""Prints what the public headers declare, as JSON, for bindings to be compared with: `table.py [HEADER…]`.

    structs     name: {"size", "fields": [{"name", "type", "offset", "size"}, …]}, in the header's order
    opaque      names of structs that are only ever pointed to
    enums       name: {constant: value}
    callbacks   name: {"result", "arguments": [type, …], "names"}: what `typedef … (*name)(…)` points to; names is empty
    functions   name: the same
    constants   what is a plain macro: a number or a text

Types are written as in C (`uint32_t`, `const char *`, `struct chathub **`, `chathub_event_cb`). Nothing in it is kept by
hand: clang reads the headers, and a program that is made from its answer says sizes, offsets and values as this
machine has them. Without arguments: all headers of libchathub/include. Also a module: `table.of(headers)`."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HEADERS = pathlib.Path(__file__).resolve().parents[2] / "libchathub" / "include"
CLANG = os.environ.get("CLANG", "clang")
NO_VALUE = ("CHATHUB_API", "CHATHUB_H")  # and functions


def headers_of(folder=HEADERS):
    return sorted(pathlib.Path(folder).glob("*.h"))


def run(*command, text=None):
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return done.stdout


def including(headers):
    return "".join(f'#include "{pathlib.Path(header).resolve()}"\n' for header in headers)


def declarations(headers):
    """Clang's tree of all that the headers declare, by the system's headers too."""
    return json.loads(run(CLANG, "-x", "c", "-std=c11", "-fsyntax-only", "-Xclang", "-ast-dump=json", "-",
                          text=including(headers)))["inner"]


def own(node):
    return node.get("name", "").lower().startswith("chathub")


def type_of(node):
    return node["type"]["qualType"]


def children(node, kind):
    return [child for child in node.get("inner", ()) if child["kind"] == kind]


def prototype(node):
    """The function type that a typedef points to, or None."""
    while node.get("kind") in ("TypedefDecl", "PointerType", "ParenType"):
        node = (node.get("inner") or [{}])[0]
    return node if node.get("kind") == "FunctionProtoType" else None


def read_function(node):
    arguments = children(node, "ParmVarDecl")
    return {"result": type_of(node).split("(")[0].strip(), "arguments": [type_of(one) for one in arguments],
            "names": [one.get("name", "") for one in arguments]}


def read_callback(node):
    result, *arguments = prototype(node)["inner"]
    return {"result": type_of(result), "arguments": [type_of(one) for one in arguments], "names": []}


def read(nodes):
    """The table, but for what only a compiled program knows."""
    table = {"structs": {}, "opaque": [], "enums": {}, "callbacks": {}, "functions": {}, "constants": {}}
    for node in nodes:
        kind, name = node["kind"], node.get("name", "")
        if kind == "RecordDecl" and not node.get("completeDefinition") and not name.startswith("_"):
            table["opaque"].append(name)
        if not own(node):
            continue
        if kind == "RecordDecl" and node.get("completeDefinition"):
            table["structs"][name] = {"fields": [{"name": field["name"], "type": type_of(field)}
                                                 for field in children(node, "FieldDecl")]}
        elif kind == "EnumDecl":
            table["enums"][name] = {one["name"]: None for one in children(node, "EnumConstantDecl")}
        elif kind == "TypedefDecl" and prototype(node):
            table["callbacks"][name] = read_callback(node)
        elif kind == "FunctionDecl":
            table["functions"][name] = read_function(node)
    table["opaque"] = sorted(set(table["opaque"]) - set(table["structs"]))
    return table


def macros(headers):
    """Plain macros with a value."""
    defined = run(CLANG, "-x", "c", "-std=c11", "-E", "-dM", "-", text=including(headers))
    return [name for name, value in re.findall(r"^#define (CHATHUB_\w+) (.+)$", defined, re.MULTILINE)
            if name not in NO_VALUE]


def program(table, headers, names):
    """C that prints one `KEY VALUE` a line: sizes, offsets, values."""
    lines = []
    for struct, what in table["structs"].items():
        lines.append(f'printf("size {struct} %zu\\n", sizeof(struct {struct}));')
        for field in what["fields"]:
            place = f"struct {struct}, {field['name']}"
            lines.append(f'printf("field {struct}.{field["name"]} %zu %zu\\n", offsetof({place}), '
                         f'sizeof(((struct {struct} *)0)->{field["name"]}));')
    for enum, constants in table["enums"].items():
        lines += [f'printf("enum {enum}.{name} %lld\\n", (long long){name});' for name in constants]
    lines += [f"TELL({name});" for name in names]
    return (including(headers) + "#include <stdio.h>\n"
            "static void text(const char *name, const char *value) { printf(\"text %s %s\\n\", name, value); }\n"
            "static void number(const char *name, unsigned long long value) "
            "{ printf(\"number %s %llu\\n\", name, value); }\n"
            "#define TELL(it) _Generic((it), char *: text, const char *: text, default: number)(#it, it)\n"
            "int main(void)\n{\n    " + "\n    ".join(lines) + "\n    return 0;\n}\n")


def fill(table, answers):
    fields = {(struct, field["name"]): field for struct, what in table["structs"].items() for field in what["fields"]}
    for kind, name, *values in (line.split(" ") for line in answers.splitlines()):
        if kind == "size":
            table["structs"][name]["size"] = int(values[0])
        elif kind == "field":
            fields[tuple(name.split("."))].update(offset=int(values[0]), size=int(values[1]))
        elif kind == "enum":
            enum, constant = name.split(".")
            table["enums"][enum][constant] = int(values[0])
        else:
            table["constants"][name] = int(values[0]) if kind == "number" else " ".join(values)
    return table


def of(headers=None):
    """The table of these headers; of all public ones, if none are named."""
    headers = list(headers or headers_of())
    table = read(declarations(headers))
    with tempfile.TemporaryDirectory() as folder:
        binary = pathlib.Path(folder, "table")
        run(CLANG, "-x", "c", "-std=c11", "-w", "-", "-o", binary, text=program(table, headers, macros(headers)))
        return fill(table, run(binary))


if __name__ == "__main__":
    json.dump(of([pathlib.Path(name) for name in sys.argv[1:]]), sys.stdout, indent=1)
    print()
