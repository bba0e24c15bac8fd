"""Adds up results and prints `N passed, N failed`: summary.py FILE…, each meson's testlog.json or a JUnit file.

A file that is missing or says nothing counts as a failure. Exits 1 if anything failed."""

import json
import re
import sys
import xml.etree.ElementTree

CHECKS = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.MULTILINE)
# A test program that counts for itself ends with the same line as this one.
COUNTED = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


def of_program(record):
    """(passed, failed, skipped) of one program that meson ran: what it counted itself, or else itself."""
    good = record["result"] in ("OK", "EXPECTEDFAIL")
    if record["result"] == "SKIP":
        return 0, 0, 1
    passed = failed = 0
    for checks, failures, errors in CHECKS.findall(record.get("stdout", "")):
        failed += int(failures) + int(errors)
        passed += int(checks) - int(failures) - int(errors)
    for some_passed, some_failed in COUNTED.findall(record.get("stdout", "")):
        passed += int(some_passed)
        failed += int(some_failed)
    if good and not passed:
        passed = 1
    if not good and not failed:
        failed = 1
    return passed, failed, 0


def of_meson(path):
    with open(path, encoding="utf-8") as file:
        records = [json.loads(line) for line in file if line.strip()]
    for record in records:
        if record["result"] not in ("OK", "EXPECTEDFAIL", "SKIP"):
            print(f"failed: {record['name']} ({record['result']})")
    return [of_program(record) for record in records]


def of_junit(path):
    counts = []
    for suite in xml.etree.ElementTree.parse(path).getroot().iter("testsuite"):
        total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
        failed = int(suite.get("failures")) + int(suite.get("errors"))
        counts.append((max(total - skipped - failed, 0), failed, skipped))
    return counts


def main():
    passed = failed = skipped = 0
    for path in sys.argv[1:]:
        try:
            counts = of_meson(path) if path.endswith(".json") else of_junit(path)
        except (OSError, ValueError, xml.etree.ElementTree.ParseError) as error:
            print(f"{path}: no results: {error}")
            counts = []
        if not any(some_passed + some_failed for some_passed, some_failed, _ in counts):
            print(f"{path}: no test ran")
            counts.append((0, 1, 0))
        passed += sum(count[0] for count in counts)
        failed += sum(count[1] for count in counts)
        skipped += sum(count[2] for count in counts)
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
