"""Right and wrong answers to the exercises of chapter 4, and what must be said to them."""

import torch

from tfcourse.checks.proofs import right, wrong


@wrong("04-1", says="on the way out")
def predicts_one_row():
    """Thinks of the way in only: one row."""
    return {"prediction": "one"}


@wrong("04-1", says="the softmax divides")
def predicts_two_rows():
    """Forgets the words that were not wanted: two rows."""
    return {"prediction": "two"}


@right("04-2")
def by_zip():
    """Cuts by shifting the word against itself."""

    def pieces(word, n):
        marked = "<" + word + ">"
        cut = ["".join(p) for p in zip(*(marked[i:] for i in range(n)), strict=False)]
        return cut + [marked] if len(marked) > n else [marked]

    return pieces


def cut(text, n, step=1):
    return [text[i : i + n] for i in range(0, len(text) - n + 1, step)]


@wrong("04-2", says="put < and > around the word")
def forgets_the_brackets():
    """Cuts the word without brackets, and adds it without them."""
    return {"pieces": lambda word, n: cut(word, n) + [word]}


@wrong("04-2", says="only the whole word has them")
def brackets_the_whole_only():
    """Cuts the word without brackets."""
    return {"pieces": lambda word, n: cut(word, n) + [f"<{word}>"]}


@wrong("04-2", says="is missing.")
def leaves_out_the_whole():
    """Forgets to add the whole word."""
    return {"pieces": lambda word, n: cut(f"<{word}>", n)}


@wrong("04-2", says="L - n + 1")
def stops_one_early():
    """Is off by one: leaves out the last piece."""
    return {"pieces": lambda word, n: cut(f"<{word}>", n)[:-1] + [f"<{word}>"]}


@wrong("04-2", says="comes last")
def puts_the_whole_first():
    """Puts the whole word first."""
    return {"pieces": lambda word, n: [f"<{word}>"] + cut(f"<{word}>", n)}


@wrong("04-2", says="do not overlap")
def cuts_without_overlap():
    """Goes on by n letters instead of by one."""

    def pieces(word, n):
        marked = f"<{word}>"
        return [marked[i : i + n] for i in range(0, len(marked), n)] + [marked]

    return pieces


@wrong("04-2", says="longer than n: it is cut")
def measures_the_bare_word():
    """Asks whether the bare word, not the one in brackets, is short."""

    def pieces(word, n):
        marked = f"<{word}>"
        return [marked] if len(word) <= n else cut(marked, n) + [marked]

    return pieces


@wrong("04-2", says="occurs twice stands there twice")
def lists_each_piece_once():
    """Removes repeated pieces."""

    def pieces(word, n):
        marked = f"<{word}>"
        whole = [marked] if len(marked) > n else []
        return list(dict.fromkeys(cut(marked, n) or [marked])) + whole

    return pieces


@wrong("04-2", says="A capital letter stays")
def lowers_the_word():
    """Takes capitals for small letters."""

    def pieces(word, n):
        marked = f"<{word.lower()}>"
        return cut(marked, n) + [marked] if len(marked) > n else [marked]

    return pieces


@wrong("04-2", says="it stands once")
def repeats_a_short_word():
    """Adds the whole word even where it is the only piece."""

    def pieces(word, n):
        marked = f"<{word}>"
        return (cut(marked, n) or [marked]) + [marked]

    return pieces


def answer_by(query, scale=True, exclude=True, by_length=False):
    def analogy(vectors, a, b, c):
        unit = torch.nn.functional.normalize(vectors, dim=1)
        rows = unit if scale else vectors
        scores = (vectors if by_length else unit) @ query(rows[a], rows[b], rows[c])
        if exclude:
            scores[[a, b, c]] = -torch.inf
        return int(scores.argmax())

    return analogy


@right("04-3")
def by_cosine_similarity():
    """Takes PyTorch's cosine and sorts."""

    def analogy(vectors, a, b, c):
        unit = vectors / vectors.norm(dim=1, keepdim=True)
        query = (unit[b] - unit[a] + unit[c])[None]
        order = torch.cosine_similarity(unit, query).argsort(descending=True)
        return next(i for i in order.tolist() if i not in (a, b, c))

    return analogy


@wrong("04-3", says="the step goes from a to b")
def turns_the_step():
    """Takes a - b + c."""
    return {"analogy": answer_by(lambda a, b, c: a - b + c)}


@wrong("04-3", says="none of the three may be")
def allows_the_question():
    """Does not leave out the words of the question."""
    return {"analogy": answer_by(lambda a, b, c: b - a + c, exclude=False)}


@wrong("04-3", says="a has to be subtracted")
def adds_all():
    """Adds all three vectors."""
    return {"analogy": answer_by(lambda a, b, c: a + b + c)}


@wrong("04-3", says="neighbours of c alone")
def asks_with_c_alone():
    """Forgets the step from a to b."""
    return {"analogy": answer_by(lambda a, b, c: c)}


@wrong("04-3", says="That is b + c")
def keeps_a():
    """Does not subtract a."""
    return {"analogy": answer_by(lambda a, b, c: b + c)}


@wrong("04-3", says="That is c, a word of the question")
def excludes_only_two():
    """Leaves out a and b, and lets c be the answer."""

    def analogy(vectors, a, b, c):
        unit = torch.nn.functional.normalize(vectors, dim=1)
        cosines = unit @ (unit[b] - unit[a] + unit[c])
        cosines[[a, b]] = -torch.inf
        return int(cosines.argmax())

    return analogy


@wrong("04-3", says="scale them first")
def scales_too_late():
    """Scales the rows after the sum was made."""
    return {"analogy": answer_by(lambda a, b, c: b - a + c, scale=False)}


@wrong("04-3", says="the long ones win")
def takes_dot_products():
    """Never scales the rows."""
    sums = lambda a, b, c: b - a + c
    return {"analogy": answer_by(sums, scale=False, by_length=True)}


@wrong("04-3", says="The id of a word is asked")
def returns_the_vector():
    """Returns the vector instead of the id."""

    def analogy(vectors, a, b, c):
        return vectors[answer_by(lambda a, b, c: b - a + c)(vectors, a, b, c)]

    return analogy


@right("04-4")
def by_loops():
    """Adds up row by row."""

    def slopes(v, rows):
        d_v, d_rows = torch.zeros_like(v), torch.zeros_like(rows)
        for j, row in enumerate(rows):
            error = 1 / (1 + torch.exp(-(row * v).sum())) - float(j == 0)
            d_v += error * row
            d_rows[j] = error * v
        return [d_v, d_rows]

    return slopes


def with_error(error):
    def slopes(v, rows):
        e = error(torch.sigmoid(rows @ v), rows @ v)
        return e @ rows, torch.outer(e, v)

    return slopes


def first(p):
    return torch.eye(len(p))[0]


@wrong("04-4", says="treated as noise")
def treats_all_as_noise():
    """Forgets the 1 of the real neighbour."""
    return {"slopes": with_error(lambda p, s: p)}


@wrong("04-4", says="against the slope")
def returns_the_step():
    """Returns the step instead of the slope."""
    return {"slopes": with_error(lambda p, s: first(p) - p)}


@wrong("04-4", says="pulled instead of pushed")
def pulls_the_noise():
    """Has the sign of the noise turned."""
    return {"slopes": with_error(lambda p, s: torch.where(first(p) > 0, p - 1, -p))}


@wrong("04-4", says="The sigmoid is missing")
def forgets_the_sigmoid():
    """Takes the score for the probability."""
    return {"slopes": with_error(lambda p, s: s - first(p))}


@wrong("04-4", says="v stands in every score")
def pulls_v_by_one_row():
    """Lets only the real neighbour move v."""

    def slopes(v, rows):
        error = torch.sigmoid(rows @ v) - first(rows)
        return error[0] * rows[0], torch.outer(error, v)

    return slopes


@wrong("04-4", says="not a mean")
def divides_by_the_rows():
    """Takes the mean over the rows."""
    return {"slopes": with_error(lambda p, s: (p - first(p)) / len(p))}


@wrong("04-4", says="in the other order")
def swaps_the_two():
    """Returns the slope of the rows first."""

    def slopes(v, rows):
        return with_error(lambda p, s: p - first(p))(v, rows)[::-1]

    return slopes


def agreeing():
    seed = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 40, dtype=torch.float64, generator=seed)
    u, s, vh = torch.linalg.svd(scores)
    best = scores.argmax(dim=1)
    return [
        int(((u[:, :d] @ torch.diag(s[:d]) @ vh[:d]).argmax(dim=1) == best).sum())
        for d in range(41)
    ]


@right("04-5")
def by_counting():
    """Counts the rows that agree at each d."""
    return {"d": agreeing().index(40)}


@wrong("04-5", says="That is the rank")
def reports_the_rank():
    """Reports the rank of the table."""
    return {"d": 40}


@wrong("04-5", says="Off by one")
def counts_from_zero():
    """Is off by one: counts from zero."""
    return {"d": agreeing().index(40) - 1}


@wrong("04-5", says="all are asked")
def is_content_with_most():
    """Stops when more than half of the rows agree."""
    return {"d": next(d for d, n in enumerate(agreeing()) if n > 20)}


@wrong("04-5", says="go on")
def takes_the_chapters_number():
    """Stops where the first rows agree."""
    return {"d": next(d for d, n in enumerate(agreeing()) if n > 5)}


def means(x, before, after, itself=True, count=None):
    out = []
    for i in range(x.shape[1]):
        span = range(max(0, i - before), min(x.shape[1], i + after + 1))
        near = [x[:, j] for j in span if itself or i != j]
        out.append(sum(near) / (count or len(near)))
    return torch.stack(out, dim=1)


@right("04-6")
def in_a_loop():
    """Slices each window."""

    def window_means(x, window):
        spans = [
            x[:, max(0, i - window) : i + window + 1].mean(dim=1)
            for i in range(x.shape[1])
        ]
        return torch.stack(spans, dim=1)

    return window_means


@wrong("04-6", says="stack along dim=1")
def stacks_along_the_batch():
    """Stacks the positions in front of the batch."""

    def window_means(x, window):
        t = x.shape[1]
        near = [x[:, max(0, i - window) : i + window + 1] for i in range(t)]
        return torch.stack([part.mean(dim=1) for part in near])

    return window_means


@wrong("04-6", says="fewer positions exist")
def pads_with_zeros():
    """Divides by the full window at the ends too."""
    return {"window_means": lambda x, w: means(x, w, w, count=2 * w + 1)}


@wrong("04-6", says="Only positions before")
def looks_back_only():
    """Looks only to the left."""
    return {"window_means": lambda x, w: means(x, w, 0)}


@wrong("04-6", says="Only positions after")
def looks_ahead_only():
    """Looks only to the right."""
    return {"window_means": lambda x, w: means(x, 0, w)}


@wrong("04-6", says="itself is missing")
def leaves_itself_out():
    """Leaves the position itself out of its mean."""
    return {"window_means": lambda x, w: means(x, w, w, itself=False)}


@wrong("04-6", says="One too few behind")
def ends_the_slice_early():
    """Ends the slice at i + window."""
    return {"window_means": lambda x, w: means(x, w, w - 1)}


@wrong("04-6", says="That is the sum")
def forgets_to_divide():
    """Adds up and does not divide."""
    return {"window_means": lambda x, w: means(x, w, w, count=1)}


@wrong("04-6", says="over the whole sequence")
def averages_everything():
    """Takes the mean of the whole sequence everywhere."""
    return {
        "window_means": lambda x, w: x.mean(dim=1, keepdim=True).expand_as(x),
    }


@wrong("04-6", says="sequences of the batch are mixed")
def mixes_the_batch():
    """Takes a mean over the batch as well."""
    return {"window_means": lambda x, w: means(x, w, w).mean(0).expand_as(x)}
