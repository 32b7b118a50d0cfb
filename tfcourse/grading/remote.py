"""The grader's end of the pipe: a notebook in another process, and its hard ends."""

from torch import Tensor

from tfcourse.checks import Finding, Mistake
from tfcourse.grading.inside.wire import Patience, WireError
from tfcourse.grading.inside.zygote import NO_WORKER
from tfcourse.grading.sandbox import Limits, NoSandbox
from tfcourse.grading.submission import Step

STATUSES = ("wrong", "unwritten", "missing", "error")
ENDS = {
    "memory": "It used more memory than an answer may",
    "processes": "It started more processes than an answer may",
}
OVER = "The time for this notebook was used up before the check came to it."


class Session:
    """A submission's cells in a worker; a fresh worker where the last one ended.

    What a cell or a call does to its worker costs the exercise that it belongs to: the
    next worker runs the cells before it again, without those that ended one.
    """

    def __init__(self, place, limits: Limits, fresh: int = 8):
        self._place, self._limits, self._fresh = place, limits, fresh
        self._left = limits.submission
        self._ran: list[Step] = []
        self._worker = None
        self.notes: list[str] = []  # what the cells raised, and what befell a worker
        self.deaths = 0

    def run(self, step: Step) -> None:
        """Run a cell; what it raises is noted, and the next may run all the same.

        A cell after which the worker does not answer as it should will not be run again.
        """
        try:
            kind, told = self._asked(("run", (step.name, step.source)), step.name)
            self._asked(("echo", (step.name,)), step.name)
        except Finding as found:
            self._note(f"{step.name}: {found.says}")
        else:
            self._ran.append(step)
            if kind == "raised" and told.split(":")[0] != "NotImplementedError":
                self._note(f"{step.name}: {told}")

    def _note(self, text: str) -> None:
        if text not in self.notes:  # cells are run again after a worker's end
            self.notes.append(text)

    def ask(self, method: str, *args) -> object:
        """What the learner's side answers; a Finding where it cannot."""
        kind, told = self._asked(("ask", (method, args)), f"`{args[0]}`")
        if kind == "value":
            return told
        if kind == "found":
            raise Finding(*told)
        raise Finding("error", f"The answer could not be used ({told}).")

    def _asked(self, request: tuple, what: str) -> tuple[str, object]:
        seconds = self._limits.cell if request[0] == "run" else self._limits.call
        if self._left <= 0:
            self.close()
            raise Finding("error", OVER)
        try:
            self._work()
            return self._heard(request, min(seconds, self._left))
        except TimeoutError:
            self.close()
            raise Finding("error", f"{what} took longer than {seconds:g} s.") from None
        except (EOFError, OSError) as error:
            ended = self.close()
            if ended.startswith(NO_WORKER):
                raise NoSandbox(ended) from None
            why = ENDS.get(ended, "It ended the Python process")
            raise Finding("error", f"{why} ({type(error).__name__}).") from None
        except WireError as error:
            self.close()
            raise Finding("error", f"What came back was {error}.") from None

    def _heard(self, request: tuple, seconds: float) -> tuple[str, object]:
        patience = Patience(seconds)
        try:
            return _checked(self._worker.ask(request, patience))
        finally:
            self._left -= seconds - patience.left

    def _work(self) -> None:
        """See to it that there is a worker, with all that had run in it."""
        if self._worker is not None:
            return
        if not self._fresh:
            raise Finding("error", "Too many times, it ended the Python process.")
        self._fresh -= 1
        self._worker = self._place.worker()
        again, self._ran = self._ran, []
        for step in again:
            self.run(step)

    def close(self) -> str:
        """End the worker; why it had ended, where it had."""
        worker, self._worker = self._worker, None
        self.deaths += worker is not None
        return worker.close() if worker else ""


def _checked(answer: object) -> tuple[str, object]:
    """An answer of the right form; a worker in hostile hands may send any."""
    match answer:
        case ("value", value):
            return "value", value
        case ("found", (str(status), str(says), str(seen))) if status in STATUSES:
            return "found", (status, says, seen)
        case ("raised", str(told)):
            return "raised", told
    raise WireError("no answer to what was asked")


class Remote:
    """What an Answer asks, asked of a Session: the same methods as a Notebook's."""

    def __init__(self, session: Session):
        self._session, self._names = session, {}

    def value(self, name):
        return self._session.ask("value", name)

    def call(self, name, args, kwargs):
        return self._session.ask("call", name, args, kwargs)

    def left(self, name, args):
        left = self._session.ask("left", name, args)
        if not isinstance(left, tuple) or len(left) != len(args):
            raise Mistake(f"`{name}` left other arguments behind than it was given.")
        return left

    def make(self, name, args, kwargs):
        key = self._session.ask("make", name, args, kwargs)
        if type(key) is not int:
            raise Mistake(f"`{name}` could not be made.")
        return key

    def call_made(self, key, args, kwargs):
        return self._session.ask("call_made", key, args, kwargs)

    def state(self, key):
        return _tensors(self._session.ask("state", key))

    def load(self, key, tensors):
        self._session.ask("load", key, tensors)

    def gradients(self, key, args, kwargs):
        return _tensors(self._session.ask("gradients", key, args, kwargs))


def _tensors(value: object) -> dict[str, Tensor]:
    if isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor)
        for name, tensor in value.items()
    ):
        return value
    raise Mistake("Expected are the module's tensors by name.")
