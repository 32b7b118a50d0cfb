"""One held-out text, one unit: how the models of the course compare."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from IPython.display import display

from tfcourse.notebook.chapters import CHAPTERS, Chapter
from tfcourse.notebook.glue import plain

KEY = "tfcourse-scoreboard"  # in the metadata of the output that shows a row


@dataclass(frozen=True)
class Row:
    """What one model scores; ValueError where a figure cannot be one.

    >>> print(Row("bigram", 4.2, 65_536, 1e6))
    bigram: 4.200 bits per byte, 65,536 bytes of model, 1,000,000 bytes of text per second
    """

    model: str
    bits_per_byte: float
    model_bytes: int
    bytes_per_second: float

    def __post_init__(self):
        if not isinstance(self.model, str) or not self.model.strip():
            raise ValueError(f"a scoreboard row names its model; got {self.model!r}")
        for name in ("bits_per_byte", "model_bytes", "bytes_per_second"):
            value = getattr(self, name)
            kind = int if name == "model_bytes" else int | float
            if not isinstance(value, kind) or not 0 < value < math.inf:
                raise ValueError(
                    f"{name} must be a {'whole' if kind is int else 'finite'} number "
                    f"above 0; got {name}={value!r} for {self.model!r}"
                )

    def __str__(self):
        return (
            f"{self.model}: {self.bits_per_byte:.3f} bits per byte, "
            f"{self.model_bytes:,} bytes of model, "
            f"{self.bytes_per_second:,.0f} bytes of text per second"
        )


def scoreboard_row(
    model: str, bits_per_byte: float, model_bytes: int, bytes_per_second: float
) -> None:
    """Put a model on the scoreboard: the row is an output of this cell, nothing else.

    `bits_per_byte` is measured on the `scored` bytes of the corpus; `model_bytes` is
    what the model takes to store; `bytes_per_second` is the speed of scoring, in bytes
    of text. The scoreboard's page reads the row from the notebook as committed.
    """
    row = Row(
        model,
        plain(bits_per_byte, "bits_per_byte"),
        plain(model_bytes, "model_bytes"),
        plain(bytes_per_second, "bytes_per_second"),
    )
    display({"text/plain": str(row)}, raw=True, metadata={KEY: asdict(row)})


def read_rows(root: Path | str) -> list[tuple[Chapter, Row]]:
    """The rows in the written chapters below `root`, in the order of the course.

    ValueError names the notebook and the cell (counted from 0) of a row that is wrong,
    or whose model already has one.
    """
    rows = {}
    for chapter in CHAPTERS:
        path = Path(root) / "chapters" / f"{chapter.stem}.ipynb"
        if not path.exists():
            continue
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, found in _found(cells):
            try:
                row = Row(**found)
                if row.model in rows:
                    raise ValueError(f"{row.model!r} is on the scoreboard already")
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{path.name}, cell {number}: {error}; correct the call of "
                    "scoreboard_row and execute the chapter again"
                ) from error
            rows[row.model] = (chapter, row)
    return list(rows.values())


def _found(cells: list[dict]):
    """Each row's cell number and figures, as they stand in the outputs."""
    for number, cell in enumerate(cells):
        for output in cell.get("outputs", []):
            if KEY in output.get("metadata", {}):
                yield number, output["metadata"][KEY]
