"""tfcourse.embedding against scikit-learn, PyTorch, loops in float64, and bad input."""

import math
import warnings
from collections import Counter

import pytest
import torch

from tests.parity import seeded
from tfcourse.embedding import (
    Embedding,
    Word2Vec,
    bag_of_words,
    cbow_windows,
    draw_noise,
    find_words,
    nearest,
    negative_sampling_loss,
    skip_gram_pairs,
    subsample,
    tf_idf,
)
from tfcourse.one_hot import Vocabulary, one_hot

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    from sklearn.feature_extraction.text import TfidfVectorizer

B, T, N, D = 2, 5, 11, 3  # all different, so that swapped axes show


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


# Counting


def test_words_are_names_without_the_underscores_at_their_ends():
    text = "self.__init__(set_xlim=3e5, _x1) # Caf\u00e9: don't!"
    expected = ["self", "init", "set_xlim", "e5", "x1", "caf\u00e9", "don", "t"]
    assert find_words(text) == expected
    assert find_words(" 12 ... __ ") == []


DOCUMENTS = [
    "the cat sat on the mat",
    "the dog sat on the log",
    "cats and dogs and logs",
    "mat mat mat",
    "",  # a document without words
]


def test_tf_idf_equals_scikit_learns():
    split = [find_words(document) for document in DOCUMENTS]
    vocabulary = Vocabulary(sorted({word for words in split for word in words}))
    counts = bag_of_words([vocabulary.encode(w) for w in split], len(vocabulary))
    theirs = TfidfVectorizer(tokenizer=find_words, token_pattern=None)
    expected = torch.tensor(theirs.fit_transform(DOCUMENTS).toarray())
    assert theirs.get_feature_names_out().tolist() == list(vocabulary.tokens)
    torch.testing.assert_close(tf_idf(counts.double()), expected, rtol=0, atol=1e-12)
    for row, words in zip(counts, split, strict=True):
        assert row.sum() == len(words)


def test_counting_does_not_change_its_input_and_takes_lists_and_tensors():
    counts = bag_of_words([torch.tensor([0, 2]), [1, 1]], 3)
    before = counts.clone()
    tf_idf(counts)
    assert counts.tolist() == before.tolist() == [[1, 0, 1], [0, 2, 0]]


# The embedding


@pytest.mark.parametrize("shape", [(), (T,), (B, T), (B, T, 4)])
def test_an_embedding_is_pytorchs_and_a_product_with_one_hot_rows(shape):
    ours, theirs = Embedding(N, D).double(), torch.nn.Embedding(N, D).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
    ids = torch.randint(0, N, shape, generator=seeded())
    assert ours(ids).shape == (*shape, D)
    assert torch.equal(ours(ids), theirs(ids))
    assert torch.equal(ours(ids), one_hot(ids, N, torch.float64) @ ours.weight)
    cotangent = normal(*shape, D)
    ours(ids).backward(cotangent)
    theirs(ids).backward(cotangent)
    assert torch.equal(ours.weight.grad, theirs.weight.grad)


def test_unembed_is_a_dot_product_with_every_row():
    embedding = Embedding(N, D).double()
    x = normal(B, T, D)
    scores = embedding.unembed(x)
    assert scores.shape == (B, T, N)
    expected = (x[:, :, None] * embedding.weight).sum(dim=-1)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)


def test_rows_begin_with_a_length_of_about_one_and_no_factor_is_hidden():
    torch.manual_seed(0)
    embedding = Embedding(1000, 256)
    lengths = embedding.weight.norm(dim=1)
    assert 0.99 < lengths.mean() < 1.01
    ids = torch.tensor([7])
    assert torch.equal(embedding(ids)[0], embedding.weight[7])
    assert list(embedding.state_dict()) == ["weight"]  # tying means one matrix


def test_nearest_goes_by_angle_and_leaves_out_what_is_excluded():
    vectors = torch.tensor([[10.0, 10], [0, 1], [3, 0.1], [-1, 0]])
    query = torch.tensor([2.0, 0])
    ids, cosines = nearest(query, vectors, 4)
    assert ids == [2, 0, 1, 3]
    assert cosines == pytest.approx([0.99944, 0.70711, 0, -1], abs=1e-5)
    assert nearest(query, vectors, 2, exclude=[2, 2])[0] == [0, 1]


# Word2vec


def test_pairs_are_those_of_two_loops():
    ids = torch.randint(0, N, (40,), generator=seeded(1))
    for window in (1, 4):
        centers, neighbours = skip_gram_pairs(ids, window, seeded(2))
        reach = torch.randint(1, window + 1, ids.shape, generator=seeded(2))
        expected = Counter(
            (ids[i].item(), ids[j].item())
            for i in range(40)
            for j in range(40)
            if i != j and abs(i - j) <= reach[i]
        )
        got = Counter(zip(centers.tolist(), neighbours.tolist(), strict=True))
        assert got == expected


def test_a_text_shorter_than_the_window_has_pairs():
    centers, _ = skip_gram_pairs(torch.tensor([3, 5]), 9, seeded())
    assert sorted(centers.tolist()) == [3, 5]


def test_windows_hold_what_stands_around_the_center():
    centers, around = cbow_windows(torch.arange(7), 2)
    assert centers.tolist() == [2, 3, 4]
    assert around.tolist() == [[0, 1, 3, 4], [1, 2, 4, 5], [2, 3, 5, 6]]


def test_common_words_are_thinned_to_the_promised_share():
    counts = torch.tensor([90_000.0, 9_990.0, 10.0])
    ids = torch.repeat_interleave(torch.arange(3), counts.long())
    for seed in range(3):
        kept = torch.bincount(subsample(ids, counts, 1e-3, seeded(seed)), minlength=3)
        for word in range(2):
            stays = math.sqrt(1e-3 * 1e5 / counts[word])
            expected = stays * counts[word]
            deviation = math.sqrt(expected * (1 - stays))
            assert abs(kept[word] - expected) < 4 * deviation
        assert kept[2] == 10  # rare words all stay


def test_noise_follows_the_counts_to_the_power_of_three_quarters():
    counts = torch.tensor([1.0, 16.0, 0.0, 81.0])
    drawn = draw_noise(counts, (2000, 18), seeded())
    assert drawn.shape == (2000, 18)
    share = torch.bincount(drawn.flatten(), minlength=4) / drawn.numel()
    expected = torch.tensor([1.0, 8.0, 0.0, 27.0]) / 36
    torch.testing.assert_close(share, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("seen_words", [1, 4])  # skip-gram, CBOW
def test_loss_and_gradient_are_those_of_loops_in_float64(seen_words):
    model, k = Word2Vec(N, D).double(), 2
    seen = torch.randint(0, N, (B, seen_words), generator=seeded(3))
    candidates = torch.randint(0, N, (B, 1 + k), generator=seeded(4))
    candidates[0] = 5  # a word may be its own noise
    inside, outside = model.inside.weight.tolist(), model.outside.weight.tolist()
    d_inside = [[0.0] * D for _ in range(N)]
    d_outside = [[0.0] * D for _ in range(N)]
    total = 0.0
    for words, row in zip(seen.tolist(), candidates.tolist(), strict=True):
        v = [sum(inside[w][a] for w in words) / len(words) for a in range(D)]
        for j, other in enumerate(row):
            score = sum(v[a] * outside[other][a] for a in range(D))
            p = 1 / (1 + math.exp(-score))
            total -= math.log(p if j == 0 else 1 - p)
            error = (p - (j == 0)) / B
            for a in range(D):
                d_outside[other][a] += error * v[a]
                for w in words:
                    d_inside[w][a] += error * outside[other][a] / len(words)
    scores = model((seen, candidates))
    assert scores.shape == (B, 1 + k)
    loss = negative_sampling_loss(scores)
    loss.backward()
    assert loss.item() == pytest.approx(total / B, abs=1e-12)
    for embedding, expected in ((model.inside, d_inside), (model.outside, d_outside)):
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(embedding.weight.grad, expected, rtol=0, atol=1e-12)


def test_the_loss_stays_finite_where_a_logarithm_would_not():
    scores = torch.tensor([[-200.0, 200.0]])
    assert negative_sampling_loss(scores).item() == pytest.approx(400)


# Bad input


def test_an_empty_corpus_is_named():
    with pytest.raises(ValueError, match="corpus is empty: give bag_of_words a docu"):
        bag_of_words([], 3)
    with pytest.raises(ValueError, match=r"got \(0, 3\): is the corpus empty\?"):
        tf_idf(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="two words or more.*got 0 words, window=2"):
        skip_gram_pairs(torch.tensor([], dtype=torch.long), 2, seeded())
    with pytest.raises(ValueError, match="2 \\* window < words; got window=2, 4 words"):
        cbow_windows(torch.arange(4), 2)
    with pytest.raises(ValueError, match="window=0"):
        skip_gram_pairs(torch.arange(4), 0, seeded())


def test_a_word_outside_the_vocabulary_is_named_with_what_to_do():
    says = "document 1 has a word outside .* 0 to 2; got 3: enlarge the vocabulary"
    with pytest.raises(ValueError, match=says):
        bag_of_words([[0], [1, 3]], 3)
    with pytest.raises(ValueError, match="got -1"):
        bag_of_words([[-1]], 3)
    for bad in (N, -1):
        with pytest.raises(
            ValueError, match=f"from 0 to {N - 1}; got .*{bad}.*another"
        ):
            Embedding(N, D)(torch.tensor([[0, bad]]))


def test_ids_that_are_no_integers_and_tables_without_rows_are_refused():
    for ids in (torch.tensor([0.0]), torch.tensor([True])):
        with pytest.raises(TypeError, match="ids must be integers; got torch"):
            Embedding(N, D)(ids)
    for shape in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match=f"vocab_size={shape[0]}, d_model="):
            Embedding(*shape)
    with pytest.raises(ValueError, match="from 1 to the 1 rows .*; got count=2"):
        nearest(torch.ones(2), torch.eye(2), 2, exclude=[0])
