"""Digits from few pictures: five models of one size, by number of examples (V1, V11)."""

import torch

from tools.experiments import chapter_cells, rounded, run

CELLS = """
setup setup-notebook setup-course digits-load digits-cnn digits-makers digits-train digits-score
"""
SIZES = (30, 100, 300, 1100)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = range(5)


def rows(sizes=SIZES, rates=RATES, seeds=SEEDS, models=5):
    """One row per model: the rate it does best with, its shares by size and seed.

    The rate is chosen on pictures that are not tested, after learning 300 of them.
    mixed: the same with 300 pictures whose pixels all change places, always alike.
    """
    names = chapter_cells("16_variations", *CELLS.split())
    learned, right = names["learned_digits"], names["right_digits"]
    order = torch.randperm(64, generator=torch.Generator().manual_seed(64))
    mixed = names["pictures"].flatten(1)[:, order].unflatten(1, (8, 8))
    for name, make in list(names["MAKERS"].items())[:models]:
        found = {
            rate: sum(
                right(learned(make, 300, rate, seed), names["tuned"]) for seed in (8, 9)
            )
            for rate in rates
        }
        rate = max(found, key=found.get)
        row = {"model": name, "rate": rate, "sizes": list(sizes), "right": []}
        for n in sizes:
            models = [learned(make, n, rate, seed) for seed in seeds]
            row["right"].append(rounded(right(m, names["tested"]) for m in models))
        models = [learned(make, 300, rate, seed, mixed) for seed in seeds]
        yield row | {"mixed": rounded(right(m, names["tested"], mixed) for m in models)}


if __name__ == "__main__":
    run("16_digits", rows, lambda: rows(SIZES[:1], RATES[:1], SEEDS[:1], 1))
