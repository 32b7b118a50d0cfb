"""Label smoothing: plain loss and accuracy on held-out commands (chapter 9, topic S3)."""

from tools.experiments import chapter_cells, run

CELLS = "setup looking sizes live live-measure"
AMOUNTS, STEPS, SEEDS = (0.1, 0.0, 0.3), (400, 1200), range(3)


def rows(amounts=AMOUNTS, steps=STEPS, seeds=SEEDS):
    """One row per amount of smoothing, length of training and start."""
    cells = chapter_cells("09_encoder_decoder", *CELLS.split())
    for smoothing in amounts:
        for count in steps:
            for seed in seeds:
                model, _ = cells["trained"](smoothing, seed, count)
                row = {"smoothing": smoothing, "steps": count, "seed": seed}
                yield row | cells["measured_on_unseen"](model)


if __name__ == "__main__":
    run("09_smoothing", rows, lambda: rows(AMOUNTS[:1], STEPS[:1], [0]))
