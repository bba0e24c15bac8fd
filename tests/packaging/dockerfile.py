"""Reads a Dockerfile, as far as ours go: stages, their steps, and what a step needs to be done by hand."""
import dataclasses
import pathlib
import re
import shlex

KNOWN = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL",
         "STOPSIGNAL"}


@dataclasses.dataclass
class Step:
    """One instruction."""
    name: str
    text: str  # what follows it, but for flags
    flags: dict = dataclasses.field(default_factory=dict)  # of --name=value

    @property
    def words(self):
        return self.text.split()


@dataclasses.dataclass
class Stage:
    """What begins with FROM."""
    base: str
    name: str
    steps: list


def instructions(text):
    """Each with its line from 1: comments are left out, lines that end in \\ go on."""
    whole, begun = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not whole):
            continue
        begun = begun or number
        if line.endswith("\\"):
            whole += line[:-1]
            continue
        yield begun, whole + line
        whole, begun = "", 0
    if whole:
        raise ValueError(f"line {begun}: it has no end")


def read(path):
    """The stages of a file, in order; a ValueError says what is no instruction."""
    stages = []
    for number, text in instructions(pathlib.Path(path).read_text(encoding="utf-8")):
        name, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        if name not in KNOWN:
            raise ValueError(f"line {number}: {name} is no instruction that is known here")
        if name == "FROM":
            found = re.fullmatch(r"(\S+) AS (\S+)", rest)
            if not found:
                raise ValueError(f"line {number}: FROM IMAGE AS NAME")
            stages.append(Stage(found[1], found[2], []))
            continue
        flags = {}
        while name in ("COPY", "RUN") and (found := re.match(r"--(\w+)=(\S+) +", rest)):
            flags[found[1]] = found[2]
            rest = rest[found.end():]
        if not stages:
            raise ValueError(f"line {number}: the first instruction is FROM")
        stages[-1].steps.append(Step(name, rest, flags))
    return stages


def packages(stage):
    """What its apt-get install names."""
    found = []
    for step in stage.steps:
        for command in re.split(r"&&|;", step.text if step.name == "RUN" else ""):
            words = command.split()
            if words[:2] == ["apt-get", "install"]:
                found += [word for word in words[2:] if not word.startswith("-")]
    return found


def environment(stage):
    """What its ENV sets."""
    found = {}
    for step in stage.steps:
        if step.name == "ENV":
            found.update(word.split("=", 1) for word in shlex.split(step.text))
    return found
