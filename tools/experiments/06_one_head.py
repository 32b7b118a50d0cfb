"""Both answers right, by heads, width and length of training (chapter 6, topic H1)."""

from tools.experiments import chapter_cells, run

CELLS = "setup sentences reader trial"
KINDS, STEPS, SEEDS = ((1, 32), (1, 64), (2, 32)), (300, 1000, 3000), range(3)
WHO_WHOM = [0, 1]


def rows(kinds=KINDS, steps=STEPS, seeds=SEEDS):
    """One row per number of heads, width, length of training and start."""
    trial = chapter_cells("06_multi_head_attention", *CELLS.split())["trial"]
    for heads, width in kinds:
        for count in steps:
            for seed in seeds:
                _, right, _ = trial(heads, WHO_WHOM, seed, steps=count, width=width)
                row = {"heads": heads, "width": width, "steps": count, "seed": seed}
                yield row | {"right": right}


if __name__ == "__main__":
    run("06_one_head", rows, lambda: rows(kinds=KINDS[:1], steps=STEPS[:1], seeds=[0]))
