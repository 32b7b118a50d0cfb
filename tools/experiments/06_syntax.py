"""How often heads point at the parent in Python's syntax tree (topic H6)."""

from tools.experiments import chapter_cells, run

CELLS = """
setup snippets snippet parents texts guesser guess cases kinds measure
heads-on-parents
"""
SEEDS, STEPS = range(5), (0, 200, 4000)


def rows(seeds=SEEDS, steps=STEPS):
    """One row per start, length of training and head."""
    names = chapter_cells("06_multi_head_attention", *CELLS.split())
    for count in steps:
        for seed in seeds:
            yield from names["heads_on_parents"](seed, count)


if __name__ == "__main__":
    run("06_syntax", rows, lambda: rows(seeds=SEEDS[:1], steps=STEPS[:2]))
