"""English commands and what they are in the shell: a grammar written for this course.

A command is made of an action (find, show, copy, move, count, check), an object (files,
photos, directories, logs, processes, the battery, a program) and a filter (size, date,
name, content, their negations, …). A fifth of these triples is held out: each of their
pairs occurs in training, the three together never do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from random import Random

Triple = tuple[str, str, str]

SIZES = (2, 5, 10, 20, 50, 100)  # kB
DAYS = (2, 3, 7, 14, 30)
NAMES = ("report", "budget", "invoice", "holiday", "draft", "notes", "letter", "recipe")
WORDS = ("error", "warning", "timeout", "denied", "invoice")
PROGRAMS = ("firefox", "python", "editor", "player", "backup")
SHARES = (5, 10, 25, 50, 75)  # per cent, of a processor or of memory
LEVELS = (10, 20, 30, 50, 80)  # per cent, of the battery
PLACES = ("archive", "backup", "desktop", "stick")

OBJECTS = {  # how each is called, and how the shell names it
    "files": (("files", "documents"), "find . -type f"),
    "photos": (("photos", "pictures", "images"), "find . -type f -name '*.jpg'"),
    "directories": (("directories", "folders"), "find . -mindepth 1 -type d"),
    "logs": (("logs", "log files"), "find . -type f -name '*.log'"),
    "processes": (
        ("processes", "running programs"),
        "ps -e --no-headers -o pid,pcpu,pmem,comm",
    ),
}
STORED = ("files", "photos", "directories", "logs")

# A filter: its values, ways to say it, and the shell's. {} is the value.
FILTERS = {
    "any": ((), ("",), ""),
    "larger": (
        SIZES,
        ("larger than {} kb", "bigger than {} kb", "over {} kb"),
        "-size +{}k",
    ),
    "not larger": (
        SIZES,
        ("not larger than {} kb", "not bigger than {} kb", "not over {} kb"),
        "! -size +{}k",
    ),
    "smaller": (SIZES, ("smaller than {} kb", "under {} kb"), "-size -{}k"),
    "older": (DAYS, ("older than {} days", "more than {} days old"), "-mtime +{}"),
    "newer": (
        DAYS,
        ("changed in the last {} days", "newer than {} days"),
        "-mtime -{}",
    ),
    "not newer": (
        DAYS,
        ("not changed in the last {} days", "not newer than {} days"),
        "! -mtime -{}",
    ),
    "named": (NAMES, ("named {}", "called {}", "with the name {}"), "-name '{}*'"),
    "not named": (
        NAMES,
        ("not named {}", "not called {}", "without the name {}"),
        "! -name '{}*'",
    ),
    "with": (
        NAMES,
        ("with {} in the name", "whose names contain {}"),
        "-name '*{}*'",
    ),
    "mentions": (
        WORDS,
        ("that mention {}", "with the word {}", "that contain {}"),
        "-exec grep -q {} {{}} \\;",
    ),
    "not mentions": (
        WORDS,
        ("that do not mention {}", "without the word {}"),
        "! -exec grep -q {} {{}} \\;",
    ),
    "running": (PROGRAMS, ("named {}", "called {}"), "| awk '$4==\"{}\"'"),
    "not running": (PROGRAMS, ("not named {}", "not called {}"), "| awk '$4!=\"{}\"'"),
    "busy": (
        SHARES,
        ("using more than {} percent of the processor", "over {} percent cpu"),
        "| awk '$2>{}'",
    ),
    "not busy": (
        SHARES,
        ("not using more than {} percent of the processor", "not over {} percent cpu"),
        "| awk '$2<={}'",
    ),
    "big": (
        SHARES,
        ("using more than {} percent of the memory", "over {} percent memory"),
        "| awk '$3>{}'",
    ),
    "not big": (
        SHARES,
        ("not using more than {} percent of the memory", "not over {} percent memory"),
        "| awk '$3<={}'",
    ),
}
BY_TIME = ("any", "older", "newer", "not newer", "named", "not named", "with")
BY_SIZE = ("larger", "not larger", "smaller")
BY_CONTENT = ("mentions", "not mentions")
BY_LOAD = ("any", "running", "not running", "busy", "not busy", "big", "not big")
FITTING = {
    "files": (*BY_TIME, *BY_SIZE, *BY_CONTENT),
    "photos": (*BY_TIME, *BY_SIZE),
    "directories": BY_TIME,
    "logs": (*BY_TIME, *BY_SIZE, *BY_CONTENT),
    "processes": BY_LOAD,
}

ANSWER = "&& echo yes || echo no"
ACTIONS = {  # ways to say it around {}, and what comes after the shell's list
    "find": (("find {}", "look for {}", "search for {}", "locate {}"), "-print"),
    "show": (("show me {}", "list {}", "display {}", "let me see {}"), "-ls"),
    "copy": (
        ("copy {} to the {}", "duplicate {} in the {}"),
        "-exec cp -r -t /{} {{}} +",
    ),
    "move": (("move {} to the {}", "put {} into the {}"), "-exec mv -t /{} {{}} +"),
    "count": (
        ("count {}", "tell me the number of {}", "give me a count of {}"),
        "-print | wc -l",
    ),
    "check": (
        (
            "check whether there are {}",
            "see if there are {}",
            "find out whether i have {}",
        ),
        f"-print | grep -q . {ANSWER}",
    ),
}
PROCESS_ACTIONS = {
    "find": "| awk '{print$1}'",
    "show": "",
    "count": "| wc -l",
    "check": f"| grep -q . {ANSWER}",
}
ANY_OF = ("any ", "", "some ")  # "check whether there are any files"
ALL_OF = ("my ", "the ", "all ", "all my ", "all the ", "")

BATTERY = "/sys/class/power_supply/BAT0"
FIXED = {  # triples with sentences of their own; {} is a value
    ("show", "battery", "level"): (
        (),
        ("show me the battery level", "how full is the battery", "display the charge of the battery"),
        f"cat {BATTERY}/capacity",
    ),
    ("show", "battery", "status"): (
        (),
        ("show me the battery status", "what is the battery doing", "display the state of the battery"),
        f"cat {BATTERY}/status",
    ),
    ("check", "battery", "below"): (
        LEVELS,
        ("check whether the battery is below {} percent", "is the battery under {} percent"),
        f"[ $(cat {BATTERY}/capacity) -lt {{}} ] {ANSWER}",
    ),
    ("check", "battery", "not below"): (
        LEVELS,
        ("check whether the battery is not below {} percent", "is the battery not under {} percent"),
        f"[ $(cat {BATTERY}/capacity) -ge {{}} ] {ANSWER}",
    ),
    ("check", "battery", "charging"): (
        (),
        ("check whether the battery is charging", "is the battery charging"),
        f"grep -q ^Charging {BATTERY}/status {ANSWER}",
    ),
    ("check", "battery", "ran down"): (
        (),
        (
            "check whether the battery ran down",
            "check the battery log and find out whether it ran down",
            "did the battery run down",
        ),
        f"grep -q empty battery.log {ANSWER}",
    ),
    ("check", "program", "ran"): (
        (),
        (
            "check whether the program ran",
            "check the program log and find out whether it ran",
            "did the program run",
        ),
        f"grep -q finished program.log {ANSWER}",
    ),
}  # fmt: skip

BEFORE = ("", "please ", "can you ", "could you please ", "i want you to ", "now ")
AFTER = ("", "", " please", " for me", " now")
CHAPTER_3 = (  # the sentences of chapter 3: in the test set, never in training
    "show me my directories please",
    "show me my files please",
    "show me my photos please",
    "check whether the battery ran down please",
    "check whether the program ran please",
    "check the battery log and find out whether it ran down please",
    "check the program log and find out whether it ran please",
)
HELD_OUT = 0.2


@dataclass(frozen=True)
class Example:
    """An English command, the same in the shell, and the triples that it is made of."""

    english: str
    shell: str
    triples: tuple[Triple, ...]


@cache
def all_triples() -> tuple[Triple, ...]:
    """Every (action, object, filter) that makes sense, in a fixed order."""
    regular = [
        (action, thing, kind)
        for thing, kinds in FITTING.items()
        for action in (PROCESS_ACTIONS if thing == "processes" else ACTIONS)
        for kind in kinds
    ]
    return (*regular, *FIXED)


@cache
def split_triples() -> tuple[tuple[Triple, ...], tuple[Triple, ...]]:
    """The triples of training, and the held-out fifth: no pair of theirs is new.

    Drawn once, with a fixed seed, so that (action, object), (action, filter) and (object,
    filter) of each held-out triple occur in training.
    """
    kept = all_triples()
    held, order = [], list(kept)
    wanted = round(HELD_OUT * len(kept))
    Random(0).shuffle(order)
    for triple in order:
        others = [other for other in kept if other != triple]
        known = {pair for other in others for pair in _pairs(other)}
        if len(held) < wanted and known.issuperset(_pairs(triple)):
            held.append(triple)
            kept = others
    return tuple(kept), tuple(held)


def _pairs(triple: Triple) -> Iterator[tuple]:
    return combinations(enumerate(triple), 2)


def draw(triple: Triple, random: Random) -> Example:
    """One way to say a triple, with values drawn; ValueError for one that is none."""
    if triple in FIXED:
        values, ways, shell = FIXED[triple]
        value = random.choice(values) if values else ""
        said = random.choice(ways).format(value)
        return _politely(said, shell.format(value), triple, random)
    if triple not in all_triples():
        raise ValueError(f"no command is made of {triple}: see all_triples()")
    action, thing, kind = triple
    names, listed = OBJECTS[thing]
    values, ways, test = FILTERS[kind]
    value = random.choice(values) if values else ""
    asked = ANY_OF if action == "check" else ALL_OF
    what = " ".join([random.choice(asked) + random.choice(names), random.choice(ways)])
    frames, ending = ACTIONS[action]
    if thing == "processes":
        ending = PROCESS_ACTIONS[action]
    place = random.choice(PLACES)
    said = random.choice(frames).format(what.format(value).strip(), place)
    parts = [
        listed,
        test.format(value),
        ending.format(place) if "/{}" in ending else ending,
    ]
    return _politely(said, " ".join(part for part in parts if part), triple, random)


def _politely(said: str, shell: str, triple: Triple, random: Random) -> Example:
    """The sentence with some words around it that change nothing."""
    asked = said.split()[0] in ("is", "did", "what", "how")
    before = "" if asked else random.choice(BEFORE)
    return Example(before + said + random.choice(AFTER), shell, (triple,))


def chain(examples: Sequence[Example]) -> Example:
    """Several commands in one sentence, joined by "and", one after the other."""
    return Example(
        " and ".join(example.english for example in examples),
        " ; ".join(example.shell for example in examples),
        tuple(triple for example in examples for triple in example.triples),
    )


def training_examples(count: int, seed: int) -> list[Example]:
    """Commands of the training triples: three in four single, the others two by "and"."""
    random, (kept, _) = Random(seed), split_triples()
    examples = []
    while len(examples) < count:
        length = 1 if random.random() < 0.75 else 2
        example = chain([draw(random.choice(kept), random) for _ in range(length)])
        if not any(sentence in example.english for sentence in CHAPTER_3):
            examples.append(example)
    return examples


def test_examples(count: int, seed: int, length: int = 1) -> list[Example]:
    """Different commands of held-out triples; with length above 1, that many by "and".

    ValueError where there are not that many different ones.
    """
    random, (_, held) = Random(seed), split_triples()
    found: dict[str, Example] = {}
    for _ in range(50 * count):
        example = chain([draw(random.choice(held), random) for _ in range(length)])
        found.setdefault(example.english, example)
        if len(found) == count:
            return list(found.values())
    raise ValueError(
        f"only {len(found)} different commands were found; got count={count}"
    )


test_examples.__test__ = False  # pytest: its name begins like a test's


def chapter_3_examples() -> list[Example]:
    """The sentences of chapter 3 as commands."""
    meant = [("show", thing, "any") for thing in ("directories", "files", "photos")]
    meant += [("check", "battery", "ran down"), ("check", "program", "ran")] * 2
    random = Random(0)
    return [
        Example(sentence, draw(triple, random).shell, (triple,))
        for sentence, triple in zip(CHAPTER_3, meant, strict=True)
    ]
