"""The shape of a melody, from sound cut in four ways (V10)."""

from tools.experiments import chapter_cells, rounded, run

CELLS = "setup melodies spectrogram-check melody-readers melody-train"
SEEDS = range(3)


def rows(cuts=("strips", "squares", "raw samples", "notes"), seeds=SEEDS):
    """One row per cut: the shares right of three starts."""
    names = chapter_cells("16_variations", *CELLS.split())
    for cut in cuts:
        shares = [names["learned_melodies"](cut, seed) for seed in seeds]
        yield {"cut": cut, "right": rounded(shares)}


if __name__ == "__main__":
    run("16_sound", rows, lambda: rows(("strips",), SEEDS[:1]))
