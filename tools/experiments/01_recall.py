"""Accuracy of naming the country by lag, for the networks of chapter 1 (topic R7)."""

from tools.experiments import chapter_cells, run

CELLS = "setup recall sealed contestants"
LAGS, SEEDS, STEPS = (5, 10, 20, 40, 80), range(3), 1000


def rows(lags=LAGS, seeds=SEEDS):
    """One row per network, lag and seed."""
    names = chapter_cells("01_recurrent", *CELLS.split())
    for model, make in names["contestants"].items():
        for lag in lags:
            for seed in seeds:
                share = names["recall"](make, lag, seed, steps=STEPS)
                yield {"model": model, "lag": lag, "seed": seed, "accuracy": share}


if __name__ == "__main__":
    run("01_recall", rows, lambda: rows(lags=LAGS[:1], seeds=SEEDS[:1]))
