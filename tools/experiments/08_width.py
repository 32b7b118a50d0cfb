"""Bits per byte by what stands between two looks, and how wide (chapter 8, topic B10)."""

from tools.experiments import chapter_cells, run

CELLS = "setup clumps guesser kinds trial trial-run"
SMALL = ("none 2", "relu 192")
KINDS = ("none 2", "none 6", "linear 192", "relu 48", "relu 96", "relu 192")
KINDS += ("relu 384", "gelu 192", "swiglu 128")
CASES = [(kind, 40, 0) for kind in SMALL]
CASES += [(kind, 500, seed) for seed in range(3) for kind in KINDS]


def rows(cases=CASES):
    """One row per kind, length of training and start."""
    trial = chapter_cells("08_block", *CELLS.split())["trial"]
    for kind, steps, seed in cases:
        bits, parameters = trial(kind, seed, steps)
        row = {"kind": kind, "steps": steps, "seed": seed}
        yield row | {"bits": round(bits, 4), "parameters": parameters}


if __name__ == "__main__":
    run("08_width", rows, lambda: rows(cases=CASES[:1]))
