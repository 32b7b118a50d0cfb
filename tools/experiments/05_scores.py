"""Accuracy of looking up by score and width of the keys, for chapter 5 (topic A17)."""

from tools.experiments import chapter_cells, run

CELLS = "setup random-pairs"
CELLS += " dictionaries lookup lookup-scores lookup-run"
KINDS, WIDTHS, SEEDS = ("scaled", "dot", "additive"), (4, 16, 64, 256, 1024), range(5)


def rows(kinds=KINDS, widths=WIDTHS, seeds=SEEDS):
    """One row per kind of score, width and seed."""
    names = chapter_cells("05_attention", *CELLS.split())
    for kind in kinds:
        for d_k in widths:
            for seed in seeds:
                share = names["looked_up"](kind, d_k, seed)
                yield {"kind": kind, "d_k": d_k, "seed": seed, "accuracy": share}


if __name__ == "__main__":
    run("05_scores", rows, lambda: rows(KINDS[:1], WIDTHS[:1], SEEDS[:1]))
