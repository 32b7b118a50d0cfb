"""Five mixers in short trainings, by learning rate and seed (V3, V13)."""

from tools.experiments import chapter_cells, rounded, run

CELLS = "setup setup-notebook setup-course text shifted-softmax short-runs"
MIXERS = ("softmax", "softmax, shifted", "linear", "time mix", "convolution")
RATES, USUAL, SEEDS = (1e-3, 2e-3, 5e-3), 2e-3, range(3)


def rows(smallest_only=False):
    """One row per mixer, rate and number of steps: the nats a token of each seed."""
    short_run = chapter_cells("16_variations", *CELLS.split())["short_run"]

    def row(mixer, lr, steps, seeds):
        nats = rounded([short_run(mixer, lr, seed, steps) for seed in seeds])
        return {"mixer": mixer, "lr": lr, "steps": steps, "nats": nats}

    yield row("linear", USUAL, 40, [0])
    for mixer in () if smallest_only else MIXERS:
        for lr in RATES:
            yield row(mixer, lr, 200, SEEDS if lr == USUAL else SEEDS[:1])


if __name__ == "__main__":
    run("16_rates", rows, lambda: rows(smallest_only=True))
