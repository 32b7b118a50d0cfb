"""Longer texts than trained on, by kind of position (chapter 7, topic P6)."""

from tools.experiments import chapter_cells, rounded, run

CELLS = "setup tasks answerer kinds-of-position trial trial-kind longer"
SEEDS, FACTORS, REFITS = range(3), (2, 4), (0, 100)
WAYS = "as it is", "interpolated", "new base"


def rows(tasks=None, kinds=None, seeds=SEEDS, refits=REFITS):
    """One row per task, kind of position, start and length; more for rotary ones."""
    names = chapter_cells("07_position", *CELLS.split())
    trial, longer = names["trial"], names["longer"]
    for task in tasks or names["TASKS"]:
        for kind in kinds or names["KINDS"]:
            for seed in seeds:
                model, found = trial(task, kind, seed)
                row = {"task": task, "kind": kind, "seed": seed}
                for length, shares in found.items():
                    told = {"length": length, "how": "as it is", "refit": 0}
                    yield row | told | {"shares": rounded(shares)}
                if kind == "rotary":
                    for told, shares in remedies(longer, model, task, refits):
                        yield row | told | {"shares": rounded(shares)}


def remedies(longer, model, task, refits):
    """The rotary model on longer texts, in all ways but the one that needs nothing."""
    for factor in FACTORS:
        for how in WAYS:
            for refit in refits:
                if refit or how != "as it is":
                    told = {"length": 32 * factor, "how": how, "refit": refit}
                    yield told, longer(model, task, factor, how, refit)


def smallest():
    """Without a refit: what the chapter runs live."""
    return rows(("three back",), ("rotary",), SEEDS[:1], REFITS[:1])


if __name__ == "__main__":
    run("07_lengths", rows, smallest)
