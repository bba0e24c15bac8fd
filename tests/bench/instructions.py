#!/usr/bin/python3
"""Counts the instructions of fixed scenarios (tests/bench/instructions.c) under callgrind, and compares them with those
that are kept in tests/bench/instructions.json: fails if one has grown by more than 5 %.

    tests/bench/instructions.py [--build FOLDER] [--only SCENARIO ...]
    tests/bench/instructions.py --update        # what is counted now is kept from now on
    tests/bench/instructions.py --prove         # only shows that a growth would be found; needs no valgrind

Counts do not depend on how fast or how busy a machine is, but on the compiler, the C library and the others that are
linked: where these are not the ones that the kept counts were made with, it counts, prints, and does not compare.
Without --build it makes a build of its own in build/ci/instructions.
"""
import argparse
import concurrent.futures
import copy
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEPT = ROOT / "tests/bench/instructions.json"
BUILD = ROOT / "build/ci/instructions"
SCENARIOS = ["gathered", "paced", "large", "rooms", "sockets", "posting", "joining", "signals", "catching-up"]
# Of the old count. Repeated runs are equal; another layout of the same code is within 1 %.
MAY_GROW = 0.05
# Functions with a smaller part of a scenario's instructions are not kept.
WORTH_KEEPING = 0.001

# What is executed beside our own and the C library.
LIBRARIES = ("libjansson", "libmd", "libutf8proc", "libuv", "libwslay")

# The C library's functions for texts have forms for each kind of processor; what is counted has to be the same on all.
# SSE2 is what each x86-64 has. The sizes of caches decide how large blocks are copied.
WITHOUT = ["AVX512F", "AVX512VL", "AVX512BW", "AVX512DQ", "AVX512CD", "AVX2", "AVX", "AVX_Fast_Unaligned_Load", "ERMS",
           "FSRM", "RTM", "BMI1", "BMI2", "MOVBE", "LZCNT", "POPCNT", "SSE4_2", "SSE4_1", "SSSE3"]
TUNABLES = {
    "glibc.cpu.hwcaps": ",".join("-" + name for name in WITHOUT),
    "glibc.cpu.x86_data_cache_size": "0x8000",
    "glibc.cpu.x86_shared_cache_size": "0x100000",
    "glibc.cpu.x86_non_temporal_threshold": "0xc0000",
    "glibc.malloc.arena_max": "1",
}
# A form that this did not keep away.
WRONG_FORM = re.compile(r"_(evex|avx|sse4|ssse3|erms)")


class Failed(Exception):
    """Something that is said to the user in one line."""


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(str(part) for part in command)}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


# ------------------------------------------------------------------------------------------------------ what is counted

def make_build():
    """The release build of the library, with nothing but this program."""
    meson = "/usr/bin/meson" if pathlib.Path("/usr/bin/meson").exists() else "meson"
    if not (BUILD / "build.ninja").exists():
        shutil.rmtree(BUILD, ignore_errors=True)
        run([meson, "setup", BUILD, "--buildtype=release", "-Dexamples=false", "-Dsqlite=disabled"], cwd=ROOT,
            env={**os.environ, "CC": "gcc"})
    run(["ninja", "-C", BUILD, "tests/bench/instructions"])
    return BUILD


def check_build(build):
    if not (build / "tests/bench/instructions").exists():
        raise Failed(f"there is no tests/bench/instructions in {build}; build it first, or leave --build out")
    options = {one["name"]: one["value"] for one in json.loads((build / "meson-info/intro-buildoptions.json").read_text())}
    if options["buildtype"] != "release" or options["b_sanitize"] not in ("none", []) or options["b_lto"]:
        raise Failed(f"{build} is no plain release build; leave --build out to have one made")


def compiler_of(program):
    """As it wrote into the program; clang's stands beside the gcc that made the C library's part."""
    text = program.read_bytes()
    for name, pattern in (("clang", rb"clang version ([\d.]+)"), ("gcc", rb"GCC: \([^)]*\) ([\d.]+)")):
        found = re.search(pattern, text)
        if found:
            return f"{name} {found[1].decode()}"
    return "unknown"


def made_with(build):
    """All that counts depend on beside the sources."""
    program = build / "tests/bench/instructions"
    paths = re.findall(r"=> (/\S+)", run(["ldd", program]))
    names = sorted(os.path.basename(os.path.realpath(path)) for path in paths)
    return {"architecture": platform.machine(), "compiler": compiler_of(program),
            "libc": " ".join(platform.libc_ver()), "libraries": [name for name in names if name.startswith(LIBRARIES)]}


# ------------------------------------------------------------------------------------------------------------- counting

def environment():
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "LD_BIND_NOW": "1",
            "GLIBC_TUNABLES": ":".join(f"{name}={value}" for name, value in TUNABLES.items())}


def functions_of(profile):
    """Each function's own instructions, most first, by callgrind_annotate."""
    text = run(["callgrind_annotate", "--threshold=100", "--show-percs=no", "--auto=no", profile])
    own = {}
    for number, name, where in re.findall(r"^ *([\d,]+)  (\S.*?)(?: \[([^\]]*)\])?$", text, re.MULTILINE):
        if name.endswith("PROGRAM TOTALS"):
            continue
        name = re.sub(r"^.*?:(?=[^:]+$)", "", name)  # the file
        name = re.sub(r"('\d+|\.(part|isra|constprop|cold)(\.\d+)?)+$", "", name)  # the compiler's copies, recursions
        if name.startswith("0x"):  # not an exported one
            name = f"{os.path.basename(where)}+{int(name, 16):#x}"
        own[name] = own.get(name, 0) + int(number.replace(",", ""))
    return dict(sorted(own.items(), key=lambda item: -item[1]))


def same_addresses():
    """What keeps the kernel from choosing addresses at random; they change a count by far less than 1 %."""
    command = ["setarch", "-R"]
    allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if allowed else []


def count(build, scenario, folder):
    profile = pathlib.Path(folder) / f"{scenario}.callgrind"
    told = run([*same_addresses(), "valgrind", "--tool=callgrind", "--quiet", "--instr-atstart=no",
                f"--callgrind-out-file={profile}", build / "tests/bench/instructions", scenario], env=environment())
    figures = json.loads(told)
    profile = profile.with_name(profile.name + ".1")  # the scenario's own; what follows it is not wanted
    total = re.search(r"^(?:totals|summary): (\d+)", profile.read_text() if profile.exists() else "", re.MULTILINE)
    if not total or not int(total[1]):
        raise Failed(f"{scenario}: callgrind counted nothing; was the program built with valgrind/callgrind.h?")
    functions = functions_of(profile)
    wrong = [name for name in functions if WRONG_FORM.search(name)]
    if wrong and platform.machine() == "x86_64":
        raise Failed(f"{scenario}: {', '.join(wrong)}: a form of the C library that other machines do not take; "
                     "see WITHOUT in instructions.py")
    return {"unit": figures["unit"], "units": figures["units"], "instructions": int(total[1]), "functions": functions}


def count_all(build, scenarios):
    for tool in ("valgrind", "callgrind_annotate", "setarch"):
        if not shutil.which(tool):
            raise Failed(f"{tool} is missing; install it with: apt-get install valgrind util-linux")
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = pool.map(lambda scenario: count(build, scenario, folder), scenarios)
        return dict(zip(scenarios, counted))


# ------------------------------------------------------------------------------------------------------------ comparing

def grown(old, new):
    """The five functions that grew most, as lines. One that was not worth keeping may have had nearly as much."""
    least = round(old["instructions"] * WORTH_KEEPING)
    kept = old["functions"]
    more = {name: own - kept.get(name, least) for name, own in new["functions"].items()}
    most = sorted(more.items(), key=lambda item: -item[1])[:5]
    return [f"    {count:>+13,}  {name}  ({f'{kept[name]:,}' if name in kept else f'less than {least:,}'} before)"
            for name, count in most if count > 0]


def compare_one(name, old, new):
    """Lines about one scenario, and whether it may stay so."""
    if not old:
        return [f"{name}: no count is kept; say --update"], False
    if (old["unit"], old["units"]) != (new["unit"], new["units"]):
        return [f"{name}: it is another scenario than the one that is kept ({new['units']} instead of {old['units']} "
                f"{old['unit']}); say --update"], False
    before, now = old["instructions"], new["instructions"]
    change = now / before - 1
    text = f"{name}: {before:,} instructions before, {now:,} now: {change * 100:+.2f} %"
    if change > MAY_GROW:
        return [f"{text}; at most {MAY_GROW * 100:+.0f} %. What grew most, in its own instructions:",
                *grown(old, new)], False
    if change < -MAY_GROW:
        return [f"note: {text}; keep that by --update"], True
    return [text], True


def compare(kept, made, counted):
    """Lines, and whether all is well."""
    if kept["made_with"] != made:
        return [f"note: instructions are NOT COMPARED: the kept ones were counted with {kept['made_with']}, "
                f"these with {made}"], True
    lines, good = [], True
    for name, new in counted.items():
        more, well = compare_one(name, kept["scenarios"].get(name), new)
        lines += more
        good &= well
    return lines, good


def prove(kept):
    """That a growth would be found, and nothing else."""
    def doctored(factor):
        changed = copy.deepcopy(kept["scenarios"])
        for one in changed.values():
            one["instructions"] = round(one["instructions"] * factor)
            one["functions"] = {name: round(count * factor) for name, count in one["functions"].items()}
        return changed

    made, other = kept["made_with"], {**kept["made_with"], "compiler": "another 1.0"}
    proofs = [(1.06, made, False, "at most +5 %"), (1.04, made, True, "+4.00 %"), (0.94, made, True, "--update"),
              (1.06, other, True, "NOT COMPARED")]
    for factor, how, well, word in proofs:
        lines, good = compare(kept, how, doctored(factor))
        if good != well or word not in "\n".join(lines):
            raise Failed(f"proof: counts of {factor} times the kept ones are {'well' if good else 'refused'}: {lines}")
    lines, _ = compare(kept, made, doctored(1.06))
    for name, one in kept["scenarios"].items():
        most = max(one["functions"], key=one["functions"].get)
        if not any(most in line for line in lines if line.startswith(" ")):
            raise Failed(f"proof: {name} grew, and {most} is not told")
    missing = copy.deepcopy(kept)
    missing["scenarios"].popitem()
    if compare(missing, made, kept["scenarios"])[1]:
        raise Failed("proof: a scenario that is not kept is well")


# ----------------------------------------------------------------------------------------------------------------- main

def read_kept():
    try:
        return json.loads(KEPT.read_text())
    except (OSError, ValueError) as error:
        raise Failed(f"{KEPT} cannot be read ({error}); make it anew by --update") from error


def write_kept(made, counted):
    kept = {"made_with": made, "scenarios": copy.deepcopy(counted)}
    for one in kept["scenarios"].values():
        least = one["instructions"] * WORTH_KEEPING
        one["functions"] = {name: count for name, count in one["functions"].items() if count >= least}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")


def print_counts(counted):
    for name, one in counted.items():
        print(f"{name:12} {one['instructions']:>13,} instructions, {one['instructions'] / one['units']:>10,.1f} "
              f"per {one['unit']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, help="a release build that is there, to be counted as it is")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=SCENARIOS, help="not all scenarios")
    parser.add_argument("--update", action="store_true", help="keep what is counted now")
    parser.add_argument("--prove", action="store_true", help="only show that a growth would be found")
    args = parser.parse_args()
    if args.update and args.only != SCENARIOS:
        parser.error("--update keeps all scenarios")
    try:
        if not args.update:
            prove(read_kept())
        if args.prove:
            return 0
        build = args.build.resolve() if args.build else make_build()
        check_build(build)
        made, counted = made_with(build), count_all(build, args.only)
        print_counts(counted)
        if args.update:
            write_kept(made, counted)
            return 0
        lines, good = compare(read_kept(), made, counted)
    except Failed as failed:
        print(f"instructions.py: {failed}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
