"""The stored model in few bits: nats lost and true bytes, by method (Q2, Q4, Q8, Q10)."""

from functools import partial

from tools.experiments import chapter_cells, run

CELLS = "setup stored settings seen board"
LIVE = {"group": "live", "kind": "absmax", "code_bits": 4, "per": "channel"}


def chosen():
    """Each way of this experiment: what it is called, and the model that it makes."""
    c = chapter_cells("14_quantization", *CELLS.split())
    all_by = lambda how: c["quantize_model"](c["model"], lambda name, w: how(w))
    yield c, LIVE, all_by(c["rounded_to"](4, "channel"))
    for kind in ("absmax", "affine"):
        for per in ("tensor", "channel", 64):
            for bits in (2, 3, 4, 8):
                about = {"group": "grid", "kind": kind, "code_bits": bits, "per": per}
                yield c, about, all_by(c["rounded_to"](bits, per, kind))
    for bits in (2, 3, 4):
        about = {"group": "clip", "kind": "clipped", "code_bits": bits, "per": 64}
        yield c, about, all_by(c["rounded_to"](bits, 64, "clipped"))
    fine, layers = c["rounded_to"](4, 64, "affine"), c["seen"]
    for bits in (2, 3, 4):
        rough = c["rounded_to"](bits, 64, "clipped")
        how = lambda n, w, rough=rough: rough(w) if n in layers else fine(w)
        about = {"group": "gptq", "kind": "rounded", "code_bits": bits, "per": 64}
        yield c, about, c["quantize_model"](c["model"], how)
        yield c, about | {"kind": "gptq"}, c["by_gptq"](bits, 4)
    to, keeps = c["quantize_to"], {"keep": c["keep_byte"]}
    formats = {
        "int4": c["rounded_to"](4, 64),
        "int4, scales in a byte": c["rounded_to"](4, 64, keep=c["keep_byte"]),
        "NF4": partial(to, levels=c["normal_line"](), per=64),
        "NF4, scales in a byte": partial(
            to, levels=c["normal_line"](), per=64, **keeps
        ),
        "MXFP4": partial(to, levels=c["E2M1"], per=32, keep=c["keep_power"]),
        "NVFP4": partial(to, levels=c["E2M1"], per=16, keep=c["keep_e4m3"]),
        "E4M3": partial(to, levels=c["E4M3"], per="channel"),
        "E5M2": partial(to, levels=c["E5M2"], per="channel"),
    }
    for name, how in formats.items():
        yield c, {"group": "formats", "kind": name}, all_by(how)


def rows():
    """The live case on the eight windows of the chapter, all others on 32."""
    for c, about, small in chosen():
        texts = c["eight" if about is LIVE else "unseen"]
        yield c["measured"](texts, small, **about, windows=len(texts))


def first():
    c, about, small = next(chosen())
    yield c["measured"](c["eight"], small, **about, windows=8)


if __name__ == "__main__":
    run("14_bits", rows, first)
