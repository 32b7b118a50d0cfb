"""Questions that look at pictures, from several starts (chapter 9, topic S10)."""

from tools.experiments import chapter_cells, run

CELLS = """
setup exposure-imports images-stamps images-things images-scenes images-finder
images-map images-train images-shares
"""
SEEDS = range(6)


def rows(seeds=SEEDS):
    """One row per start: shares of right answers and of right largest weights."""
    names = chapter_cells("09_encoder_decoder", *CELLS.split())
    for seed in seeds:
        yield {"seed": seed} | names["shares_of"](names["trained_finder"](seed))


if __name__ == "__main__":
    run("09_images", rows, lambda: rows(SEEDS[:1]))
