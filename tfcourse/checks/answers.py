"""Between a check and an answer: only plain values cross, and only as copies.

`Notebook` is the learner's side; `Answer` is what a check holds. All that passes from
one to the other are the arguments and results of Notebook's eight methods (None, bool,
numbers, strings, tensors, and lists, tuples and dicts of these) and a Finding, so that
a proxy of a Notebook in another process can stand in for it.
"""

import linecache
import traceback
from functools import partial

import torch
from torch import Tensor, nn

from tfcourse.checks.compare import Finding, Mistake, describe, in_one_line

DEEPEST = 20  # lists within lists; a list that holds itself has no end


def plain(value: object, depth: int = 0) -> object:
    """A copy that shares no memory; TypeError for what may not cross."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):  # NumPy's float64 is a float too
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if depth < DEEPEST:
        if isinstance(value, dict):
            return {plain(k, depth + 1): plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list):
            return [plain(v, depth + 1) for v in value]
        if isinstance(value, tuple):
            return tuple(plain(v, depth + 1) for v in value)
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else _full_name(kind)
    raise TypeError(name)


def _full_name(kind: type) -> str:
    return f"{kind.__module__.split('.')[0]}.{kind.__name__}"


class Notebook:
    """The learner's side: looks names up in a namespace, calls, and explains errors."""

    def __init__(self, names: dict):
        self._names = names
        self._made: list[tuple[str, object]] = []

    def value(self, name: str) -> object:
        """What `name` holds."""
        return self._crossing(name, "holds", self._look_up(name))

    def call(self, name: str, args: tuple, kwargs: dict) -> object:
        """What the function `name` returns."""
        returned = self._attempt(name, self._look_up(name), args, kwargs)
        return self._crossing(name, "returned", returned)

    def left(self, name: str, args: tuple) -> tuple:
        """The arguments, as the function `name` leaves them when it is called."""
        function, mine = self._look_up(name), plain(args)
        self._attempt(name, lambda: function(*mine), (), {})
        return self._crossing(name, "left behind", mine)

    def make(self, name: str, args: tuple, kwargs: dict) -> int:
        """Make an object of class `name`; the number it is known by from here on."""
        made = self._attempt(name, self._look_up(name), args, kwargs)
        self._made.append((name, made))
        return len(self._made) - 1

    def call_made(self, key: int, args: tuple, kwargs: dict) -> object:
        """What the object returns when called."""
        name, made = self._made[key]
        return self._crossing(name, "returned", self._attempt(name, made, args, kwargs))

    def state(self, key: int) -> dict[str, Tensor]:
        """The module's parameters and buffers by name."""
        return plain(dict(self._module(key).state_dict()))

    def load(self, key: int, tensors: dict[str, Tensor]) -> None:
        """Give the module these parameters and buffers."""
        name, module = self._made[key][0], self._module(key)
        mine = module.state_dict()
        if mine.keys() != tensors.keys():
            raise Mistake(
                f"`{name}` should hold tensors named {', '.join(tensors)}; "
                f"yours are named {', '.join(mine) or '(none)'}."
            )
        for own, tensor in tensors.items():
            if mine[own].shape != tensor.shape:
                raise Mistake(
                    f"`{own}` of `{name}` should have shape {tuple(tensor.shape)}; "
                    f"yours has {tuple(mine[own].shape)}."
                )
        module.load_state_dict(tensors)

    def gradients(self, key: int, args: tuple, kwargs: dict) -> dict[str, Tensor]:
        """The module's gradients, as the function `gradients` below defines them."""
        name, module = self._made[key][0], self._module(key)
        return self._attempt(name, partial(gradients, module), args, kwargs)

    def _look_up(self, name: str) -> object:
        if name not in self._names:
            run = f"`{name}` is not defined: run its cell, then check again."
            raise Finding("missing", run)
        found = self._names[name]
        if found is None:
            raise Finding(
                "unwritten", f"`{name}` is still None: put your answer there."
            )
        return found

    def _module(self, key: int) -> nn.Module:
        name, made = self._made[key]
        if not isinstance(made, nn.Module):
            raise Mistake(f"`{name}` should be a subclass of `torch.nn.Module`.")
        return made

    def _attempt(self, name: str, function, args: tuple, kwargs: dict) -> object:
        if not callable(function):
            raise Mistake(f"`{name}` should be something to call: a function or class.")
        args, kwargs = plain(args), plain(kwargs)
        try:
            return function(*args, **kwargs)
        except (Exception, SystemExit) as error:  # noqa: BLE001
            raise self._explained(name, error) from None

    def _explained(self, name: str, error: BaseException) -> Finding:
        if isinstance(error, NotImplementedError) and not error.args:
            return Finding(
                "unwritten",
                f"`{name}` is waiting for your code: replace the line "
                "`raise NotImplementedError`, run the cell, and check again.",
            )
        frames = traceback.walk_tb(error.__traceback__)
        theirs = [(f, line) for f, line in frames if f.f_globals is self._names]
        place = ""
        if theirs:
            frame, line = theirs[-1]
            text = linecache.getline(frame.f_code.co_filename, line).strip()
            place = f" at line {line} of your cell" + (f", `{text}`" if text else "")
        seen = f"`{name}` raised an exception{place}."
        return Finding("error", in_one_line(error), seen)

    def _crossing(self, name: str, verb: str, value: object) -> object:
        try:
            return plain(value)
        except TypeError as error:
            tip = " (`torch.as_tensor` makes one)" if "numpy" in str(error) else ""
            raise Mistake(
                f"Expected are tensors{tip}, numbers, strings, True or False, "
                "or lists, tuples or dicts of these.",
                seen=f"`{name}` {verb} something of type `{error}`.",
            ) from None


class Answer:
    """What a check asks: `answer.name(...)` calls the function that the learner wrote.

    `last_call` and `came_back` keep the latest question and reply in words, for the
    verdict.
    """

    def __init__(self, learner: Notebook, choices: tuple[str, ...] = ()):
        self._learner, self._choices = learner, choices
        self.last_call, self.came_back = "", ""

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._call, name)

    def value(self, name: str) -> object:
        """What the learner's variable holds."""
        held = self._learner.value(name)
        self.last_call, self.came_back = "", f"`{name}` is {describe(held)}."
        return held

    def number(self, name: str) -> object:
        """What the learner's variable holds; a tensor of one element as a number."""
        held = self.value(name)
        one = isinstance(held, Tensor) and held.numel() == 1
        return held.item() if one else held

    def choice(self, name: str) -> str:
        """The learner's prediction: a variable that holds one of the choices."""
        chosen = self.value(name)
        if chosen not in self._choices:
            raise Mistake(
                f"Choose one of {', '.join(map(repr, self._choices))}.",
                seen=f"`{name}` is {describe(chosen)}.",
            )
        return chosen

    def left(self, name: str, /, *args) -> tuple:
        """The arguments, as the learner's function leaves them: has it changed any?"""
        self._asks(name, args, {})
        return self._learner.left(name, args)

    def make(self, name: str, /, *args, **kwargs) -> "Handle":
        """An object of the learner's class."""
        call = self._asks(name, args, kwargs)
        return Handle(self, self._learner, self._learner.make(name, args, kwargs), call)

    def _call(self, name: str, /, *args, **kwargs) -> object:
        self._asks(name, args, kwargs)
        return self._hears(self._learner.call(name, args, kwargs))

    def _asks(self, name: str, args: tuple, kwargs: dict) -> str:
        named = [f"{k}={describe(v)}" for k, v in kwargs.items()]
        self.last_call = f"{name}({', '.join([*map(describe, args), *named])})"
        self.came_back = ""
        return self.last_call

    def _hears(self, returned: object) -> object:
        missing = ": is a `return` missing?" if returned is None else "."
        self.came_back = f"Your code returned {describe(returned)}{missing}"
        return returned


class Handle:
    """An object of the learner's class, to call; if a module, also to look into."""

    def __init__(self, answer: Answer, learner: Notebook, key: int, made: str):
        self._answer, self._learner, self._key, self._made = answer, learner, key, made

    def __call__(self, *args, **kwargs) -> object:
        self._answer._asks(self._made, args, kwargs)
        returned = self._learner.call_made(self._key, args, kwargs)
        return self._answer._hears(returned)

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return self._named(self._learner.state(self._key))

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Replace parameters and buffers; a Mistake if names or shapes differ."""
        self._learner.load(self._key, tensors)

    def gradients(self, *args, **kwargs) -> dict[str, Tensor]:
        """Gradients by parameter name: compare with those of a reference module."""
        self._answer._asks(self._made, args, kwargs)
        return self._named(self._learner.gradients(self._key, args, kwargs))

    def _named(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        names = ", ".join(f"`{name}`" for name in tensors) or "none"
        self._answer.came_back = f"Your module's tensors by name: {names}."
        return tensors


def gradients(module: nn.Module, *args, **kwargs) -> dict[str, Tensor]:
    """Gradients of Σ output · c with respect to each parameter; zero where none flows.

    The numbers c are fixed and random: a plain sum would hide some mistakes (the
    weights of a softmax sum to one whatever its input).
    """
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    with torch.enable_grad():
        for out in _floats(module(*args, **kwargs)):
            c = torch.randn(out.shape, generator=generator, dtype=out.dtype)
            total = total + (out.cpu() * c).sum()
    parameters = dict(module.named_parameters())
    if not parameters or not total.requires_grad:
        return {name: torch.zeros(p.shape) for name, p in parameters.items()}
    flowing = torch.autograd.grad(
        total, parameters.values(), allow_unused=True, materialize_grads=True
    )
    return plain(dict(zip(parameters, flowing, strict=True)))


def _floats(value: object):
    if isinstance(value, Tensor) and value.is_floating_point():
        yield value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _floats(item)
