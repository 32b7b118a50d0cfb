"""What every notebook of the course leans on; no chapter teaches it."""

try:
    import IPython  # noqa: F401
    import matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the notebooks need {error.name}, which is not installed here: "
        'pip install "tfcourse[book]"',
        name=error.name,
    ) from error

from tfcourse.notebook import figures
from tfcourse.notebook.arithmetic import same_arithmetic
from tfcourse.notebook.device import best_device
from tfcourse.notebook.entered import entered
from tfcourse.notebook.glue import glue
from tfcourse.notebook.scoreboard import scoreboard_row
from tfcourse.notebook.seeding import generator
from tfcourse.notebook.show import show

__all__ = [
    "best_device",
    "entered",
    "figures",
    "generator",
    "glue",
    "same_arithmetic",
    "scoreboard_row",
    "show",
]
