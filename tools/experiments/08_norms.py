"""Post-norm and pre-norm by depth, with and without warm-up (chapter 8, topic B3)."""

from itertools import product

from tools.experiments import chapter_cells, rounded, run

CELLS = "setup depth-hunts depth-follower depth-chase"


def rows(depths=(2, 8, 16), norms=(True, False), warm_ups=(0, 100), seeds=range(2)):
    """One row per depth, place of the norm, warm-up and start."""
    chase = chapter_cells("08_block", *CELLS.split())["chase"]
    for depth, pre_norm, warm_up, seed in product(depths, norms, warm_ups, seeds):
        _, loss, right = chase(depth, pre_norm, warm_up, seed)
        row = {"depth": depth, "pre_norm": pre_norm, "warm_up": warm_up, "seed": seed}
        yield row | {"loss": round(loss, 4), "right": rounded(right)}


if __name__ == "__main__":
    run("08_norms", rows, lambda: rows([2], [True], [0], [0]))
