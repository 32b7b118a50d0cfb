"""Loss on unseen text by width and by steps: four widths of one model (G5)."""

from tools.experiments import chapter_cells, run

CELLS = "setup setup-course text naive scaled"
WIDTHS = (32, 64, 128, 256)
STEPS = (100, 300, 1000, 3000)  # of 512 tokens, each a run of its own


def rows(widths=WIDTHS, steps=STEPS):
    """One row per width: the parameters in its blocks, its nats a token by steps."""
    scaled = chapter_cells("11_gpt", *CELLS.split())["scaled"]
    for width in widths:
        sizes, found = zip(*(scaled(width, n) for n in steps), strict=True)
        row = {"width": width, "parameters": sizes[0], "steps": list(steps)}
        yield row | {"nats": [round(nats, 4) for nats in found]}


if __name__ == "__main__":
    run("11_scaling", rows, lambda: rows(WIDTHS[:1], STEPS[:1]))
