"""Recall over a long distance, by sparse pattern and length (V4, V9).

Two layers of width 32 and two heads, a window of 16 tokens or what costs about as much;
400 steps of 16 texts for every pattern.
"""

from tools.experiments import chapter_cells, run

CELLS = "setup setup-course patterns mixes recall-task recall-model recall-run"
PATTERNS = (
    "strided",
    "full",
    "local",
    "local and first",
    "local and random",
    "hashing",
    "partition",
)
LENGTHS, SEEDS = (32, 128), range(3)


def rows(patterns=PATTERNS, lengths=LENGTHS, seeds=SEEDS):
    """One row per pattern, length of the text, and seed."""
    recalled = chapter_cells("16_variations", *CELLS.split())["recalled"]
    for seed in seeds:
        for name in patterns:
            for n in lengths:
                row = {"pattern": name, "n": n, "seed": seed}
                yield row | {"accuracy": round(recalled(name, n, seed), 4)}


if __name__ == "__main__":
    run("16_recall", rows, lambda: rows(PATTERNS[:1], LENGTHS[:1], SEEDS[:1]))
