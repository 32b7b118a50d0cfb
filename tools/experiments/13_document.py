"""A first and a second question about documents of 1 to 100 pages (K5)."""

import time

import torch

from tools.experiments import chapter_cells, run

PAGES = (1, 10, 100)
PAGE, QUESTION = 500 * 4 / 3, 12  # tokens: 500 words of 4/3 tokens; and the question


def rows(pages=PAGES):
    """One row per length: processor seconds of the first question and of the second."""
    names = chapter_cells("13_kv_cache", "setup", "setup-course", "slower")
    model, tokenizer = names["model"], names["tokenizer"]
    ids = torch.tensor([tokenizer.encode(names["unseen"][: 5000 * max(pages)])])
    for number in pages:
        n = int(number * PAGE)
        size = n + QUESTION
        caches = names["caches_for"](model, names["KVCache"], capacity=size)
        asked, seconds = names["CachedModel"](model, caches), []
        for start in (0, QUESTION):  # two questions, made of other parts of the text
            question = ids[:, n + start : n + start + QUESTION]
            begun = time.process_time()
            asked(torch.cat([ids[:, :n], question], dim=1))
            seconds.append(round(time.process_time() - begun, 4))
        held = sum(cache.k.untyped_storage().nbytes() for cache in caches)
        row = {"pages": number, "tokens": n, "megabytes": round(held / 1e6, 1)}
        yield row | {"first": seconds[0], "second": seconds[1]}


if __name__ == "__main__":
    run("13_document", rows, lambda: rows([1]))
