"""Returns asked for and got by a decision transformer of random walks (V5)."""

from tools.experiments import chapter_cells, rounded, run

CELLS = "setup setup-notebook setup-course walks decisions-train decisions-ask"
SEEDS = range(5)


def rows(seeds=SEEDS, bests=(0, -8)):
    """One row per set of walks and start: mean returns, and shares above the best seen."""
    names = chapter_cells("16_variations", *CELLS.split())
    for best in bests:
        for seed in seeds:
            model = names["learned_walks"](seed, best)
            found = [names["returns_for"](model, asked) for asked in names["ASKED"]]
            row = {"best": best, "seed": seed}
            row["got"] = rounded(returns.mean().item() for returns in found)
            above = ((returns > best).double().mean().item() for returns in found)
            yield row | {"above": rounded(above)}


if __name__ == "__main__":
    run("16_returns", rows, lambda: rows(SEEDS[:1], (0,)))
