"""tfcourse.checks: what is registered, what crosses, and what a learner is told."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from nbformat import v4
from torch import nn

from tfcourse.checks import (
    Draw,
    Mistake,
    Notebook,
    check,
    close,
    describe,
    differs,
    exercise,
    find,
    gradients,
    registry,
)
from tfcourse.checks.answers import plain
from tfcourse.checks.proofs import run_notebook
from tfcourse.notebook.chapters import Chapter

ASKED = {"title": "Double it", "minutes": 5, "difficulty": 1, "points": 2}
CHAPTER = Chapter(77, "Planted", "Part", ("planted",), "Z")


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """An empty registry, and a chapter 77 to plant exercises in."""
    monkeypatch.setattr(registry, "REGISTRY", {})
    monkeypatch.setattr(registry, "by_number", lambda number: CHAPTER)
    name = "tfcourse.checks.planted"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))


def judged(function, names, **more):
    """The verdict of a check on a notebook that defines these names."""
    exercise("77-1", **ASKED | more)(function)
    return find("77-1").judge(Notebook(names))


def doubles(answer, draw):
    x = torch.tensor([1.0, -2.0])
    close(answer.double(x), x + x, says="Is it twice the input?")


# what is registered


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"id": "1-2"}, r"id must be like \"01-2\""),
        ({"id": "01-02"}, "id must be"),
        ({"title": " "}, "title must be a few words"),
        ({"kind": "essay"}, "kind must be one of code, prediction, measurement"),
        ({"difficulty": 6}, "difficulty must be 1 to 5; got difficulty=6"),
        ({"minutes": 0}, "minutes must be a whole number above 0"),
        ({"points": 1.5}, "points must be a whole number above 0; got points=1.5"),
        ({"choices": "ab"}, "choices must be empty but for a prediction"),
        ({"kind": "prediction"}, "choices must be two or more"),
        ({"kind": "prediction", "choices": "aa"}, "all different"),
    ],
)
def test_a_malformed_exercise_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        exercise(**{"id": "77-1"} | ASKED | wrong)(doubles)


def test_an_id_is_registered_once_but_may_be_reloaded():
    exercise("77-1", **ASKED)(doubles)
    exercise("77-1", **ASKED)(doubles)
    with pytest.raises(ValueError, match=r"twice: .*test_checks.py:\d+ and .*:\d+"):
        exercise("77-1", **ASKED)(lambda answer, draw: None)


def test_an_unknown_id_is_told_the_known_ones():
    exercise("77-1", **ASKED)(doubles)
    assert 'no exercise "77-2". Chapter 77 has 77-1.' in repr(check("77-2"))
    assert "named like" in repr(check("seven"))
    assert "named like" in repr(check(7))


def test_a_chapter_is_imported_when_its_exercise_is_asked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, "tfcourse.checks.planted")
    assert "Chapter 77 has no exercises yet" in repr(check("77-1"))


# what a learner is told


def test_right_with_the_reply_of_the_check():
    def reply(answer, draw):
        doubles(answer, draw)
        return "Addition is enough."

    verdict = judged(reply, {"double": lambda x: x * 2})
    assert repr(verdict) == "✓ 77-1 Double it · Right. Addition is enough."


def test_a_wrong_answer_is_told_what_was_seen_and_with_which_input():
    verdict = judged(doubles, {"double": lambda x: x**2})
    assert verdict.status == "wrong"
    assert repr(verdict) == (
        "✗ 77-1 Double it · Not yet. Got 1, expected 2 at [0] (2 of 2 numbers differ). "
        "Is it twice the input?\nSeen with: double(tensor([1, -2]))"
    )


def test_a_check_may_name_the_input_itself():
    def named(answer, draw):
        raise Mistake("No.", given={"x": torch.zeros(3, 5), "limit": 0.5})

    verdict = judged(named, {})
    assert verdict.given == "x = a tensor of shape (3, 5), limit = 0.5"


def test_a_missing_definition():
    verdict = judged(doubles, {})
    assert verdict.status == "missing"
    assert "`double` is not defined: run its cell" in repr(verdict)
    assert verdict.given == ""


def stub(x):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize("untouched", [stub, None])
def test_an_untouched_stub(untouched):
    verdict = judged(doubles, {"double": untouched})
    assert verdict.status == "unwritten"
    assert "Nothing is written yet. `double`" in repr(verdict)
    assert verdict.given == ""


def test_not_implemented_with_a_message_is_an_error_of_torch():
    verdict = judged(doubles, {"double": nn.Module()})
    assert verdict.status == "error"
    assert 'missing the required "forward"' in verdict.text


def test_an_exception_is_told_with_the_line_that_raised_it(tmp_path):
    cell = "def helper(x):\n    return x[5]\n\ndef double(x):\n    return helper(x)\n"
    names = run_notebook(write_notebook(tmp_path / "mine.ipynb", cell))
    verdict = judged(doubles, names)
    assert verdict.status == "error"
    assert repr(verdict) == (
        "✗ 77-1 Double it · Stopped. `double` raised an exception at line 2 of your "
        "cell, `return x[5]`. IndexError: index 5 is out of bounds for dimension 0 "
        "with size 2\nSeen with: double(tensor([1, -2]))"
    )
    assert "Traceback" not in verdict._repr_html_()


def write_notebook(path, *cells):
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    path.write_text(v4.writes(notebook), encoding="utf-8")
    return path


def test_exceptions_that_are_hard_to_tell_are_told_all_the_same():
    class Odd(Exception):
        def __str__(self):
            raise ValueError

    def odd(x):
        raise Odd

    assert judged(doubles, {"double": odd}).says == "Odd"

    def long(x):
        raise ValueError("words\n" * 500)

    verdict = find("77-1").judge(Notebook({"double": long}))
    assert len(verdict.text) < 300 and "\n" not in verdict.text
    verdict = find("77-1").judge(Notebook({"double": lambda x: sys.exit()}))
    assert verdict.says == "SystemExit"
    verdict = find("77-1").judge(Notebook({"double": 3}))
    assert "`double` should be something to call" in verdict.says


def test_an_interrupt_passes():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(doubles, {"double": interrupted})


def test_none_where_something_is_needed():
    verdict = judged(doubles, {"double": lambda x: None})
    assert "returned None: is a `return` missing?" in verdict.text

    def unpacks(answer, draw):
        _first, _second = answer.double(1)

    verdict = judged_again(unpacks, {"double": lambda x: None})
    assert verdict.status == "wrong"
    assert "returned None: is a `return` missing?" in verdict.text


def judged_again(function, names):
    registry.REGISTRY.clear()
    return judged(function, names)


def test_a_reply_that_the_check_cannot_use_is_shown_without_our_traceback():
    verdict = judged(lambda answer, draw: answer.double(1).shape, {"double": float})
    assert (verdict.status, verdict.given) == ("wrong", "double(1)")
    assert "Your code returned 1. The check could not go on" in verdict.text
    assert isinstance(verdict.cause, AttributeError)
    verdict = judged_again(lambda answer, draw: answer.value("n") + 1, {"n": "4"})
    assert "`n` is '4'. The check could not go on" in verdict.text
    verdict = judged_again(lambda answer, draw: 1 / 0, {})
    assert verdict.status == "error" and "The check itself failed" in verdict.text


def test_another_type_is_named_with_what_is_expected():
    verdict = judged(doubles, {"double": lambda x: np.ones(2)})
    assert verdict.text.startswith("`double` returned something of type `numpy.ndarray")
    assert "`torch.as_tensor` makes one" in verdict.text
    verdict = judged_again(doubles, {"double": lambda x: [{1, 2}]})
    assert "`set`" in verdict.text


def test_a_prediction_is_one_of_the_choices():
    more = {"kind": "prediction", "choices": ("a", "b")}

    def predicted(answer, draw):
        if answer.choice("guess") != "a":
            raise Mistake("The other one.")

    assert judged(predicted, {"guess": "a"}, **more).status == "right"
    told = {}
    for guess in ("b", "c", None, 3, torch.ones(2)):
        verdict = find("77-1").judge(Notebook({"guess": guess}))
        told[str(guess)] = verdict.status, verdict.text
    assert told["b"] == ("wrong", "The other one.")
    assert told["c"] == ("wrong", "`guess` is 'c'. Choose one of 'a', 'b'.")
    assert told["None"][0] == "unwritten"
    assert told["3"][1].startswith("`guess` is 3.")
    assert told["tensor([1., 1.])"][1].startswith("`guess` is tensor([1, 1]).")


def test_check_reads_the_notebook_that_calls_it():
    exercise("77-1", **ASKED)(doubles)
    names = {"check": check, "double": lambda x: 2 * x}
    exec("verdict = check('77-1')", names)  # noqa: S102
    assert names["verdict"].status == "right"


def test_the_html_is_escaped_and_follows_the_theme():
    def tagged(answer, draw):
        raise Mistake("Not `a<b`, <script>.", given="x<y")

    shown = judged(tagged, {})._repr_html_()
    assert "<code>a&lt;b</code>, &lt;script&gt;" in shown
    assert "<code>x&lt;y</code>" in shown
    for part in ("color", "background", "border-left"):
        assert f"{part}: " in shown
    assert "var(--pst-color-text-base, var(--jp-content-font-color1, #222))" in shown


# what crosses


def test_only_copies_cross():
    held = torch.zeros(2)

    def spoil(x, items):
        x.zero_()
        items.append(1)
        held.add_(1)
        return held

    def spoiled(answer, draw):
        x, items = torch.ones(2), [0]
        first = answer.spoil(x, items)
        second = answer.spoil(x, items)
        assert x.tolist() == [1, 1] and items == [0]
        assert first.tolist() == [1, 1] and second.tolist() == [2, 2]
        first.zero_()

    assert judged(spoiled, {"spoil": spoil}).status == "right"
    assert held.tolist() == [2, 2]


def test_what_a_function_leaves_of_its_arguments():
    def spoil(items, x):
        items["new"] = x.neg()
        x.zero_()

    def spoiled(answer, draw):
        items, x = {}, torch.ones(2)
        left = answer.left("spoil", items, x)
        assert items == {} and x.tolist() == [1, 1]
        close(left, ({"new": -x}, torch.zeros(2)))
        raise Mistake("Changed.")

    verdict = judged(spoiled, {"spoil": spoil})
    assert "Changed." in verdict.text
    assert verdict.given == "spoil({}, tensor([1, 1]))"
    verdict = find("77-1").judge(Notebook({"spoil": lambda items: items}))
    assert verdict.status == "error" and "TypeError" in verdict.text
    verdict = find("77-1").judge(
        Notebook({"spoil": lambda items, x: items.update(x=len)})
    )
    assert "`spoil` left behind something of type" in verdict.text


def test_plain_values_keep_their_kind():
    inner = nn.Parameter(torch.ones(2))
    value = {"a": (1, 2.5, None), 3: [True, "x", inner], "n": np.float64(0.5)}
    copy = plain(value)
    assert copy == {"a": (1, 2.5, None), 3: [True, "x", copy[3][2]], "n": 0.5}
    assert type(copy[3][2]) is torch.Tensor and not copy[3][2].requires_grad
    assert type(copy["n"]) is float
    endless = []
    endless.append(endless)
    for odd in (object(), {1}, np.ones(1), len, endless):
        with pytest.raises(TypeError):
            plain(odd)


def test_a_handle_calls_loads_and_gives_gradients():
    class Mine(nn.Linear):
        pass

    def same(answer, draw):
        reference, x = nn.Linear(3, 2), draw.normal(4, 3)
        mine = answer.make("Mine", 3, out_features=2)
        mine.load(reference.state_dict())
        close(mine.state(), dict(reference.state_dict()), rtol=0, atol=0)
        close(mine(x), reference(x))
        close(mine.gradients(x), gradients(reference, x))

    assert judged(same, {"Mine": Mine}).status == "right"

    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x).detach()

    verdict = find("77-1").judge(Notebook({"Mine": Detached}))
    assert verdict.status == "wrong" and "at ['weight']" in verdict.text
    assert verdict.given.startswith("Mine(3, out_features=2)(tensor([[")

    verdict = find("77-1").judge(Notebook({"Mine": lambda *_, **__: nn.Linear(2, 2)}))
    assert "should have shape (2, 3); yours has (2, 2)" in verdict.text
    verdict = find("77-1").judge(Notebook({"Mine": lambda *_, **__: nn.ReLU()}))
    assert "named weight, bias; yours are named (none)" in verdict.text
    verdict = find("77-1").judge(Notebook({"Mine": lambda *_, **__: abs}))
    assert "subclass of `torch.nn.Module`" in verdict.text


def test_gradients_are_zero_where_none_flows_and_see_a_softmax():
    class Unused(nn.Linear):
        def forward(self, x):
            return {"out": (x @ self.weight.T).softmax(-1)}, torch.ones(2).long()

    found = gradients(Unused(3, 2), torch.ones(1, 3))
    assert found["bias"].tolist() == [0, 0]
    assert found["weight"].abs().max() > 1e-3


# comparisons


@pytest.mark.parametrize(
    ("got", "want", "told"),
    [
        (None, 3, "returned None: is a `return` missing?"),
        ("a", 3, "Got 'a', expected 3."),
        (2.0, 3, "Got 2, expected 3."),
        (True, 1, "Got True, expected 1."),
        (float("nan"), 1.0, "Got nan, expected 1."),
        (50_001, 50_000, "Got 50001, expected 50000."),
        ([1, 2], [1], "Got 2 items, expected 1 item."),
        ([1, 2], (1, 3), "Got 2, expected 3 at [1]."),
        ({"a": 1}, {"b": 1}, "Got the keys 'a', expected 'b'."),
        ({"a": [0]}, {"a": [1]}, "Got 0, expected 1 at ['a'][0]."),
        (torch.ones(2), torch.ones(3), "Got shape (2,), expected (3,)."),
        ([1.0], torch.ones(1), "Got [1], expected tensor([1])."),
        (torch.ones(1), torch.ones(1).bool(), "Got float32 values, expected bool"),
        (torch.tensor([0, 2]), torch.tensor([0, 1]), "Got 2, expected 1 at [1] (1 of"),
        (torch.tensor(2.0), 3.0, "Got 2, expected 3."),
        (torch.tensor([50_001]), torch.tensor([50_000]), "Got 50001, expected 50000"),
        (1.0002, 1.0, "Got 1.0002, expected 1."),
    ],
)
def test_close_tells_the_first_difference(got, want, told):
    with pytest.raises(Mistake) as mistake:
        close(got, want, says="Hint.")
    assert told in mistake.value.seen
    assert mistake.value.says == "Hint."


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (None, None),
        (3, 3.0),
        (1.00001, 1.0),
        ("a", "a"),
        ([1, (2.0, "x")], (1, [2.0, "x"])),
        (torch.tensor(3.0), 3),
        (3.0, torch.tensor(3.0)),
        (torch.tensor([3.0], dtype=torch.double), torch.tensor([3])),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")])),
        (torch.zeros(0), torch.zeros(0)),
    ],
)
def test_close_accepts_what_is_close(got, want):
    close(got, want)


def test_tolerances_hold_in_double_precision():
    third = torch.tensor(1 / 3, dtype=torch.double)
    close(third, 1 / 3, rtol=1e-12, atol=0)
    with pytest.raises(Mistake):
        close(third + 1e-9, 1 / 3, rtol=1e-12, atol=0)


def test_differs_names_a_known_mistake():
    differs(torch.ones(2), torch.zeros(2), says="zeros")
    differs(None, torch.zeros(2), says="zeros")
    with pytest.raises(Mistake, match="zeros"):
        differs(torch.zeros(2), torch.zeros(2), says="zeros")
    known = {"Once is not twice.": 1, "Four times?": 4}
    close(2, 2, mistakes=known | {"For this input, it would be the same.": 2})
    with pytest.raises(Mistake, match="Four times"):
        close(4, 2, says="Something else.", mistakes=known)
    with pytest.raises(Mistake, match=r"Got 3, expected 2\. Something else"):
        close(3, 2, says="Something else.", mistakes=known)


def test_values_in_words():
    assert describe(torch.arange(3)) == "tensor([0, 1, 2])"
    assert describe({"a": [1.23456, "x"]}) == "{'a': [1.235, 'x']}"
    assert describe(list(range(9))) == "[0, 1, 2, 3, 4, 5, …]"
    assert describe(torch.zeros(4, 4).long()) == "a tensor of int64 of shape (4, 4)"
    assert len(describe("long " * 50)) < 70


# inputs


def test_draws_repeat_for_a_seed():
    def drawn(seed):
        draw = Draw(seed)
        return [
            draw.normal(2, dtype=torch.double),
            draw.uniform(3, 4, 5),
            draw.integer(2, 9),
            draw.choice("abc"),
            draw.integer(0, 3, 4),
            draw.normal(),
        ]

    close(drawn(1), drawn(1), rtol=0, atol=0)
    with pytest.raises(Mistake):
        close(drawn(1), drawn(2))
    normal, uniform, integer, choice, integers, one = drawn(1)
    assert normal.dtype == torch.double and uniform.dtype == torch.float32
    assert 3 <= uniform.min() and uniform.max() <= 4 and 2 <= integer < 9
    assert choice in "abc" and integers.shape == (4,) and isinstance(one, float)


def test_a_check_draws_the_same_again_and_leaves_the_notebooks_chance_alone():
    def noise(answer, draw):
        raise Mistake(f"{answer.noise()} {draw.normal()}")

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = judged(noise, {"noise": lambda: torch.rand(())})
    assert torch.rand(1) == expected
    assert find("77-1").judge(Notebook({"noise": lambda: torch.rand(())})) == first
    other = find("77-1").judge(Notebook({"noise": lambda: torch.rand(())}), seed=1)
    assert other != first
