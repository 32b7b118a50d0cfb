"""Losses around trained models with and without skips, 2 and 8 blocks (chapter 8, B7)."""

from tools.experiments import chapter_cells, run

CELLS = "setup stream-replacing stream-model stream-trial stream-surface"


def rows(cases=((2, False), (2, True), (8, False), (8, True))):
    """One row per depth, with skips and without: the loss in training, and the map."""
    names = chapter_cells("08_block", *CELLS.split())
    for depth, skips in cases:
        model, loss = names["trained_relay"](depth, skips)
        row = {"depth": depth, "skips": skips, "loss": round(loss, 4)}
        yield row | {"map": names["surface"](model)}


if __name__ == "__main__":
    run("08_surface", rows, lambda: rows(cases=((2, False),)))
