"""The shape of a melody, from sound cut in four ways (V10)."""

from tools.experiments import chapter_cells, rounded, run

CELLS = "setup setup-notebook setup-course melodies spectrogram-check melody-readers melody-train"
CUTS = ("strips", "squares", "raw samples", "notes")
RATES = (3e-3, 1e-2)
SEEDS = range(5)


def rows(cuts=CUTS, rates=RATES, seeds=SEEDS):
    """One row per cut: the rate that is best on other melodies, the shares by start."""
    learned = chapter_cells("16_variations", *CELLS.split())["learned_melodies"]
    for cut in cuts:
        found = {
            rate: sum(learned(cut, rate, seed, other=2) for seed in (8, 9))
            for rate in rates
        }
        rate = max(found, key=found.get)
        shares = [learned(cut, rate, seed) for seed in seeds]
        yield {"cut": cut, "rate": rate, "right": rounded(shares)}


if __name__ == "__main__":
    run("16_sound", rows, lambda: rows(("strips",), RATES[:1], SEEDS[:1]))
