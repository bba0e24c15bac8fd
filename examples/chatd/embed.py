#!/usr/bin/python3
"""Writes the files of the built-in page as C arrays: embed.py OUT.c FILE…"""

import os
import sys


def array(number, path):
    with open(path, "rb") as file:
        content = file.read()
    rows = [", ".join(f"0x{byte:02x}" for byte in content[i:i + 16]) for i in range(0, len(content), 16)]
    return f"static const unsigned char file_{number}[] = {{\n    " + ",\n    ".join(rows) + ",\n};\n"


def main(out, paths):
    parts = ['#include "www.h"\n']
    parts += [array(number, path) for number, path in enumerate(paths)]
    parts.append("const struct chatd_page_file chatd_page[] = {")
    parts += [f'    {{"/{os.path.basename(path)}", file_{number}, sizeof(file_{number})}},'
              for number, path in enumerate(paths)]
    parts.append("};")
    parts.append("const size_t chatd_page_count = sizeof(chatd_page) / sizeof(chatd_page[0]);\n")
    with open(out, "w", encoding="ascii") as file:
        file.write("\n".join(parts))


main(sys.argv[1], sys.argv[2:])
