"""The grammar of commands, the interpreter, and the judge: tfcourse.data.commands, .shell."""

import re
import shutil
import subprocess
import time
from collections import defaultdict
from itertools import combinations
from random import Random

import pytest

from tfcourse.data import commands, shell
from tfcourse.data.commands import (
    CHAPTER_3,
    FITTING,
    all_triples,
    chain,
    chapter_3_examples,
    draw,
    split_triples,
    test_examples,
    training_examples,
)
from tfcourse.data.shell import (
    CommandError,
    executed_accuracy,
    outcome,
    same_outcome,
    small_computer,
)

TRIPLES = all_triples()
SYNONYMS = [("-mtime +2", "! -mtime -3")]  # days are whole: more than 2 is at least 3


def pairs(triple):
    return set(combinations(enumerate(triple), 2))


def words(examples, side):
    return {word for example in examples for word in getattr(example, side).split()}


# The split


def test_a_fifth_of_the_triples_is_held_out_and_no_pair_of_theirs_is_new():
    kept, held = split_triples()
    assert sorted(kept + held) == sorted(TRIPLES)
    assert len(set(TRIPLES)) == len(TRIPLES)
    assert len(held) == round(0.2 * len(TRIPLES))
    known = set().union(*map(pairs, kept))
    assert all(pairs(triple) <= known for triple in held)
    assert split_triples() == (kept, held)


def test_training_never_holds_a_held_out_triple_or_a_sentence_of_chapter_3():
    _, held = split_triples()
    examples = training_examples(5000, seed=3)
    assert not {t for example in examples for t in example.triples} & set(held)
    assert not any(s in e.english for s in CHAPTER_3 for e in examples)
    assert {len(example.triples) for example in examples} == {1, 2}
    assert {t for e in examples for t in e.triples} == set(split_triples()[0])
    assert len({example.english for example in examples}) > 4500  # nearly all differ
    assert training_examples(5000, seed=3) == examples
    assert training_examples(10, seed=4) != examples[:10]


def test_the_tests_are_held_out_differ_and_have_no_new_word():
    _, held = split_triples()
    training = training_examples(5000, seed=3)
    for length in (1, 3):
        tests = test_examples(200, seed=5, length=length)
        assert len({example.english for example in tests}) == 200
        assert all(len(example.triples) == length for example in tests)
        assert {t for example in tests for t in example.triples} <= set(held)
        for side in ("english", "shell"):
            assert words(tests, side) <= words(training, side)


def test_the_sentences_of_chapter_3_have_no_new_word_and_run():
    training = training_examples(5000, seed=3)
    examples = chapter_3_examples()
    assert [example.english for example in examples] == list(CHAPTER_3)
    assert words(examples, "english") <= words(training, "english")
    for example in examples:
        assert outcome(example.shell).said


# The interpreter


@pytest.mark.parametrize("triple", TRIPLES, ids=" ".join)
def test_every_command_of_the_grammar_runs(triple):
    example = draw(triple, Random(0))
    assert outcome(example.shell) == outcome(example.shell)
    assert same_outcome(example.shell, example.shell)


@pytest.mark.parametrize("thing", FITTING)
def test_different_filters_find_different_things(thing):
    """Else the judge would take one for the other; synonyms of find are meant to agree."""
    random, found = Random(0), defaultdict(set)
    for kind in FITTING[thing]:
        for _ in range(80):
            command = draw(("find", thing, kind), random).shell
            found[outcome(command).said].add(command)
    assert () not in found  # nothing is never the answer
    for left, right in SYNONYMS:
        for same in found.values():
            same -= {c for c in same if c.replace(right, left) in same - {c}}
    assert [same for same in found.values() if len(same) > 1] == []


def test_copying_leaves_the_original_and_moving_takes_it():
    copied = outcome("find . -type f -name 'report*' -exec cp -r -t /stick {} +")
    moved = outcome("find . -type f -name 'report*' -exec mv -t /stick {} +")
    assert copied.said == moved.said == ()
    found = outcome("find . -type f -name 'report*' -print").said
    with small_computer() as root:
        before = {line.split()[0] for line in shell._tree(root)}
    there = {f"stick/{name.rsplit('/')[-1]}" for name in found}
    here = {f"home/{name.removeprefix('./')}" for name in found}
    assert {line.split()[0] for line in copied.tree} == before | there
    assert {line.split()[0] for line in moved.tree} == (before | there) - here


def test_what_cannot_be_copied_is_said_and_the_rest_goes_on():
    both = outcome(
        "find . -type f -name 'report*' -exec cp -r -t /stick {} + ; "
        "find . -type f -name '*report*' -exec cp -r -t /stick {} +"
    )
    assert "cannot take papers/report0.txt" in both.said
    assert any("stick/my-report" in line for line in both.tree)


def test_one_run_does_not_change_the_next():
    looked = outcome.__wrapped__("find . -type f -print | wc -l")
    outcome.__wrapped__("find . -type f -exec mv -t /stick {} +")
    assert outcome.__wrapped__("find . -type f -print | wc -l") == looked


def test_the_tree_does_not_tell_when_it_was_made():
    """Else equal commands that run in different seconds would seem to differ."""
    made = time.time()
    with small_computer() as root:
        for path in root.rglob("*"):
            assert path.is_dir() or path.stat().st_mtime < made - 1


def test_commands_are_run_one_after_the_other():
    said = outcome(
        "find . -type f -exec mv -t /stick {} + ; find . -type f -print | wc -l"
    ).said
    assert said[-1] == "0"


ANSWERS = {
    "find . -type f -size +100k -print | grep -q . && echo yes || echo no": ("yes",),
    "find . -type f -size +999k -print | grep -q . && echo yes || echo no": ("no",),
    "cat /sys/class/power_supply/BAT0/capacity": ("25",),
    "cat /sys/class/power_supply/BAT0/status": ("Discharging",),
    "grep -q ^Charging /sys/class/power_supply/BAT0/status && echo yes || echo no": (
        "no",
    ),
    "grep -q empty battery.log && echo yes || echo no": ("no",),
    "grep -q finished program.log && echo yes || echo no": ("yes",),
    "[ $(cat /sys/class/power_supply/BAT0/capacity) -lt 30 ] && echo yes || echo no": (
        "yes",
    ),
    "[ $(cat /sys/class/power_supply/BAT0/capacity) -ge 30 ] && echo yes || echo no": (
        "no",
    ),
    "ps -e --no-headers -o pid,pcpu,pmem,comm | wc -l": ("33",),
    "ps -e --no-headers -o pid,pcpu,pmem,comm | awk '$2>75' | awk '{print$1}'": (
        "110",
        "121",
        "132",
    ),
}


@pytest.mark.parametrize("command", ANSWERS)
def test_what_is_said_is_what_is_there(command):
    assert outcome(command).said == ANSWERS[command]


@pytest.mark.skipif(shutil.which("find") is None, reason="no find on this machine")
@pytest.mark.parametrize(
    "tests",
    [
        "-type f",
        "-mindepth 1 -type d",
        "-type f -name '*.jpg' -name '*re*'",
        "-type f ! -name 'report*'",
        "-type f -size +20k",
        "-type f -size -20k",
        "-type f ! -size +5k",
        "-type f -exec grep -q error {} \\;",
        "-type f ! -exec grep -q error {} \\;",
    ],
)
def test_the_machines_own_find_finds_the_same(tests):
    """The command is written here, not by a model; dates are left out: its clock is now."""
    with small_computer() as root:
        done = subprocess.run(
            f"find . {tests} -print",
            shell=True,
            cwd=root / shell.HOME,
            capture_output=True,
            text=True,
            check=True,
        )
    assert sorted(done.stdout.split()) == sorted(outcome(f"find . {tests} -print").said)


# The judge


def test_the_judge_looks_at_what_is_done_not_at_the_spelling():
    left, right = (
        f"find . -type f {test} -print" for test in ("-mtime +2", "! -mtime -3")
    )
    assert left != right and same_outcome(left, right)
    assert not same_outcome("find . -type f -mtime +3 -print", left)
    assert not same_outcome("", left)
    assert not same_outcome(
        "find . -type f -exec mv -t /stick {} +", "find . -type f -print"
    )


def test_executed_accuracy_is_the_share_that_does_the_same():
    left, right = (
        f"find . -type f {test} -print" for test in ("-mtime +2", "! -mtime -3")
    )
    assert executed_accuracy([left, "", left, right], [right, left, left, left]) == 0.75
    with pytest.raises(ValueError, match="got 1 predictions, 2 references"):
        executed_accuracy([left], [left, right])
    with pytest.raises(ValueError, match="got 0 predictions, 0 references"):
        executed_accuracy([], [])


REFUSED = {
    "": "expected find, ps, cat, [ or grep and got the end as word 1",
    "rm -rf /": "got rm as word 1",
    "find . -type f -delete": "expected a test of find and got -delete as word 5",
    "find . -type f -size 5k": "expected + or - and a number and k and got 5k",
    "find . -type f -size +5M": "got +5M",
    "find . -type f -exec cp -r -t /etc {} +": "got /etc",
    "find . -type f -exec cp -r -t /stick/../../x {} +": "got /stick/../../x",
    "cat /etc/passwd": "expected /sys/class/power_supply/BAT0/capacity or",
    "grep -q root /etc/passwd && echo yes || echo no": "BAT0/capacity or",
    "ps -e --no-headers -o pid,pcpu,pmem,comm | awk 'BEGIN{system(\"ls\")}'": "a test of",
    "find . -type f": "expected -print, -ls or -exec and got the end",
    "find . -type f -print ;": "got the end",
    "find . -type f -print ; ; find .": "got ;",
    "find . -type f -print | sh": "expected ; and got | as word 6",
    "[ $(cat /sys/class/power_supply/BAT0/capacity) -lt $(ls) ] "
    "&& echo yes || echo no": "expected a number and got $(ls)",
}


@pytest.mark.parametrize("command", REFUSED)
def test_what_the_grammar_cannot_write_is_refused(command):
    with pytest.raises(CommandError) as error:
        outcome(command)
    assert REFUSED[command] in str(error.value)
    assert not same_outcome(command, "find . -type f -print")


@pytest.mark.parametrize(
    ("command", "got"),
    [
        ("cat /etc/passwd", "got /etc/passwd as word 2"),
        ("find . -type f -size 5k -print", "got 5k as word 6"),
        (
            "[ $(cat /sys/class/power_supply/BAT0/capacity) -eq 5 ]",
            "got -eq as word 4",
        ),
    ],
)
def test_the_word_that_is_refused_is_the_one_that_is_named(command, got):
    with pytest.raises(CommandError, match=re.escape(got)):
        outcome(command)


def test_bad_requests_are_named():
    with pytest.raises(ValueError, match="no command is made of .*'eat'"):
        draw(("eat", "files", "any"), Random(0))
    with pytest.raises(CommandError):
        same_outcome("find . -type f", "nonsense")


def test_too_many_tests_are_refused(monkeypatch):
    held = [("show", "battery", "status")]  # 3 ways to say it, and words around them
    monkeypatch.setattr(commands, "split_triples", lambda: ([], held))
    with pytest.raises(
        ValueError, match="different commands were found; got count=200"
    ):
        test_examples(200, seed=0)


def test_a_chain_is_its_parts():
    parts = [draw(TRIPLES[0], Random(0)), draw(TRIPLES[-1], Random(1))]
    whole = chain(parts)
    assert whole.english == f"{parts[0].english} and {parts[1].english}"
    assert whole.shell == f"{parts[0].shell} ; {parts[1].shell}"
    assert whole.triples == (TRIPLES[0], TRIPLES[-1])
