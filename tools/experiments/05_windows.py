"""What a reader can tell by how far its words may look, for chapter 5 (topic A14).

For readers that see everything also: the answers that remain with one line cut (A10).
"""

import torch

from tools.experiments import chapter_cells, run

CELLS = """
setup random-pairs slots phrases grammar expand lexicon encoded reader read taught
examined cut-lines severed
"""
VIEWS, SEEDS = ("all", "causal", 1, 2, 4, 8), range(4)


def rows(views=VIEWS, seeds=SEEDS):
    """One row per view (all, the past, or so many words to each side) and seed."""
    names = chapter_cells("05_attention", *CELLS.split())
    place = torch.arange(names["longest"])
    apart = (place[:, None] - place).abs()
    for view in views:
        visible = {
            "all": lambda: None,
            "causal": lambda: names["causal_mask"](len(place)),
        }.get(view, lambda view=view: apart <= view)()
        for seed in seeds:
            reader = names["taught"](seed, visible)
            row = {"view": view, "seed": seed, "right": names["examined"](reader)}
            if view == "all":
                lines = names["LINES"].items()
                cut = {line: names["severed"](reader, where) for line, where in lines}
                row["cut"] = cut
            yield row


if __name__ == "__main__":
    run("05_windows", rows, lambda: rows(VIEWS[:1], SEEDS[:1]))
