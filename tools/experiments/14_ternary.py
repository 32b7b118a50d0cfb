"""Ternary weights trained straight through, beside a control of equal steps (Q8)."""

from tools.experiments import chapter_cells, run

CELLS = "setup stored ternary-steps"
STEPS = (0, 25, 100)


def rows(steps=STEPS):
    """What so many steps make of the plain and of the ternary model; first the live case."""
    c = chapter_cells("14_quantization", *CELLS.split())
    yield c["after_steps"](2, c["eight"])
    for number in steps:
        yield c["after_steps"](number, c["unseen"])


if __name__ == "__main__":
    run("14_ternary", rows, lambda: rows(()))
