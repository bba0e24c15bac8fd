"""Writes a header that gives every function of llhttp's sources our prefix: OUTPUT HEADER SOURCE…"""

import re
import sys

output, *sources = sys.argv[1:]
names = set()
for source in sources:
    with open(source, encoding="utf-8") as file:
        names.update(re.findall(r"\b(llhttp_\w+)\s*\(", file.read()))
with open(output, "w", encoding="utf-8") as file:
    for name in sorted(names):
        file.write(f"#define {name} chi_{name}\n")
