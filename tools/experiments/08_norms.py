"""Post-norm and pre-norm by depth, with and without warm-up (chapter 8, topic B3)."""

from tools.experiments import chapter_cells, run
from tools.experiments.block_cells import WOVEN

CELLS = [*WOVEN, "setup", "depth-hunts", "depth-follower", "depth-chase"]


def rows(depths=(2, 8, 16), norms=(True, False), warm_ups=(0, 100), seeds=range(2)):
    """One row per depth, place of the norm, warm-up and start."""
    chase = chapter_cells("08_block", *CELLS)["chase"]
    for depth in depths:
        for pre_norm in norms:
            for warm_up in warm_ups:
                for seed in seeds:
                    _, loss, right = chase(depth, pre_norm, warm_up, seed)
                    row = {"depth": depth, "pre_norm": pre_norm, "warm_up": warm_up}
                    right = [round(share, 4) for share in right]
                    yield row | {"seed": seed, "loss": round(loss, 4), "right": right}


if __name__ == "__main__":
    run("08_norms", rows, lambda: rows([2], [True], [0], [0]))
