"""The loss of the stored model with each quantized cache, against the bits held (Q6, Q7)."""

from tools.experiments import chapter_cells, run

FEW, ALL = 8, 23  # windows


def rows(windows=(FEW, ALL), every_bits=(1, 2, 3, 4), recents=(0, 32)):
    """One row per codec, bits, tokens that wait, and windows scored."""
    names = chapter_cells(
        "15_vector_quantization",
        "setup",
        "load",
        "loss",
        "true-bits-of",
        "kinds",
        "singles",
    )
    loss, cache = names["loss"], names["QuantizedCache"]

    def row(kind, bits, n, true_bits, **sizes):
        found = loss(n, cache, **sizes) if sizes else loss(n)
        told = {"kind": kind, "bits": bits, "recent": sizes.get("recent", 0)}
        told |= {"windows": n, "true_bits": round(true_bits, 3)}
        return told | {"loss": round(found, 4)}

    for n in windows:
        yield row("plain", 16, n, 16)
    for recent in recents:
        cases = [
            (kind, b, pair)
            for b in every_bits
            for kind, pair in names["kinds"](b).items()
        ]
        cases += [(kind, 0, pair) for kind, pair in names["singles"]().items()]
        for kind, bits, (keys, values) in cases:
            sizes = {"keys": keys, "values": values, "recent": recent}
            held = names["true_bits"](512, **sizes)
            for n in windows:
                if n == ALL or bits == 2:  # the chapter repeats the few
                    yield row(kind, bits, n, held, **sizes)


if __name__ == "__main__":
    run("15_caches", rows, lambda: rows([FEW], [2], [0]))
