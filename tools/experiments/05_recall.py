"""Accuracy of recall by lag and by number of pairs, for chapter 5 (topic A8).

The lags, starts and steps are those of 01_recall, whose rows stand beside these.
"""

from functools import partial

from tools.experiments import chapter_cells, run

CELLS = """
setup random-pairs dictionaries recall-imports direct-line contest country phone
"""
LAGS, COUNTS, SEEDS = (5, 10, 20, 40, 80), (1, 2, 4, 8, 16), range(3)


def rows(lags=LAGS, counts=COUNTS, seeds=SEEDS):
    """One row per task, model, lag or number of pairs, and seed."""
    names = chapter_cells("05_attention", *CELLS.split())
    contest, direct = names["contest"], names["direct"]
    for lag in lags:
        draw = partial(names["country"], lag=lag)
        for seed in seeds:
            share = contest(direct(10, 4), draw, seed)
            row = {"task": "country", "model": "attention", "lag": lag}
            yield row | {"seed": seed, "accuracy": share}
    makers = {"attention": direct(5 * 16, 4), "LSTM, open": names["open_lstm"]}
    for model, make in makers.items():
        for count in counts:
            draw = partial(names["dictionary_text"], count=count)
            for seed in seeds:
                row = {"task": "pairs", "model": model, "pairs": count, "seed": seed}
                yield row | {"accuracy": contest(make, draw, seed)}


if __name__ == "__main__":
    run("05_recall", rows, lambda: rows(LAGS[:1], (), SEEDS[:1]))
