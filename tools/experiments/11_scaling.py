"""Loss on unseen text by width and by steps: four widths of one model (G5)."""

from tools.experiments import chapter_cells, rounded, run

CELLS = "setup text naive scaled"
WIDTHS = (32, 64, 128, 256)
POINTS = (100, 400, 1600, 4000)  # steps of 512 tokens


def rows(widths=WIDTHS, points=POINTS):
    """One row per width: the parameters in its blocks, its nats a token by steps."""
    scaled = chapter_cells("11_gpt", *CELLS.split())["scaled"]
    for width in widths:
        size, found = scaled(width, points)
        row = {"width": width, "parameters": size, "steps": list(points)}
        yield row | {"nats": rounded(found)}


if __name__ == "__main__":
    run("11_scaling", rows, lambda: rows(WIDTHS[:1], POINTS[:1]))
