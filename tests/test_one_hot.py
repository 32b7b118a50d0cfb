"""tfcourse.one_hot against PyTorch's own and brute force, round trips, and bad input."""

import numpy as np
import pytest
import torch

from tfcourse.one_hot import Vocabulary, cosine, one_hot, require_ids
from tfcourse.widgets import RowLookup

B, T, D, N = 2, 7, 3, 5  # all different, so that swapped axes show


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def some_ids(*shape, n=N):
    return torch.randint(0, n, shape, generator=generator())


# One-hot rows


@pytest.mark.parametrize("shape", [(), (T,), (B, T), (B, T, D), (0,), (B, 0)])
def test_equals_pytorchs_own(shape):
    ids = some_ids(*shape)
    ours = one_hot(ids, N)
    assert ours.shape == (*shape, N) and ours.dtype == torch.float32
    assert torch.equal(ours.long(), torch.nn.functional.one_hot(ids, N))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int8])
def test_has_the_dtype_that_is_asked_for(dtype):
    assert one_hot(some_ids(T), N, dtype).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_takes_ids_of_any_integer_dtype(dtype):
    ids = some_ids(B, T)
    assert torch.equal(one_hot(ids.to(dtype), N), one_hot(ids, N))


def test_rows_sum_to_one_and_give_their_ids_back():
    ids = some_ids(B, T)
    rows = one_hot(ids, N)
    assert (rows.sum(dim=-1) == 1).all()
    assert torch.equal(rows.argmax(dim=-1), ids)


def test_renumbering_the_words_permutes_the_columns():
    ids, order = some_ids(T), torch.randperm(N, generator=generator())
    assert torch.equal(one_hot(order[ids], N)[:, order], one_hot(ids, N))


def test_a_product_with_one_hot_rows_is_a_lookup_forward_and_back():
    ids = some_ids(B, T)
    table = torch.randn(N, D, generator=generator(), requires_grad=True)
    results = one_hot(ids, N) @ table, table[ids]
    assert torch.equal(*results)
    pushed = torch.randn(B, T, D, generator=generator(1))
    grads = [torch.autograd.grad(out, table, pushed)[0] for out in results]
    torch.testing.assert_close(*grads)


def test_ids_are_left_as_they_were():
    ids = some_ids(T)
    before = ids.clone()
    one_hot(ids, N)
    assert torch.equal(ids, before)


@pytest.mark.parametrize(
    ("ids", "error", "says"),
    [
        (torch.tensor([0, N]), ValueError, "ids must lie in 0 ... 4; got 5"),
        (torch.tensor([[0], [-1]]), ValueError, "ids must lie in 0 ... 4; got -1"),
        (torch.tensor([1.0]), TypeError, "ids must be integers; got torch.float32"),
        (torch.tensor([True]), TypeError, "ids must be integers; got torch.bool"),
        (torch.tensor([1j]), TypeError, "ids must be integers; got torch.complex64"),
        ([0, 1], TypeError, r"ids must be a tensor of integers; got \[0, 1\]"),
    ],
)
def test_bad_ids_are_named(ids, error, says):
    for function in (require_ids, one_hot):
        with pytest.raises(error, match=says):
            function(ids, N)


# The vocabulary


def test_tokens_are_numbered_in_order_of_first_appearance():
    vocabulary = Vocabulary(["to", "be", "or", "not", "to", "be"])
    assert vocabulary.tokens == ("to", "be", "or", "not")
    assert len(vocabulary) == 4
    assert "or" in vocabulary and "Or" not in vocabulary
    assert vocabulary.ids == {"to": 0, "be": 1, "or": 2, "not": 3}


def test_the_round_trip_is_exact():
    tokens = ["the", "find", "my", "files"]
    vocabulary = Vocabulary(tokens)
    drawn = [tokens[i] for i in some_ids(50, n=4)]
    ids = vocabulary.encode(drawn)
    assert ids.shape == (50,) and ids.dtype == torch.int64
    assert vocabulary.decode(ids) == vocabulary.decode(ids.tolist()) == drawn


def test_nothing_is_encoded_as_nothing():
    vocabulary = Vocabulary(["a"])
    assert vocabulary.encode([]).shape == (0,)
    assert vocabulary.encode([]).dtype == torch.int64
    assert vocabulary.decode([]) == vocabulary.decode(vocabulary.encode([])) == []


def test_specials_come_first_and_the_unknown_is_one_of_them():
    text = ["find", "<end>", "my"]
    vocabulary = Vocabulary(text, unknown="<unk>", specials=["<start>", "<end>"])
    assert vocabulary.tokens == ("<start>", "<end>", "<unk>", "find", "my")
    named = Vocabulary(text, unknown="<unk>", specials=["<unk>", "<end>"])
    assert named.tokens == ("<unk>", "<end>", "find", "my")
    assert Vocabulary([], specials=["<end>"]).tokens == ("<end>",)


def test_a_word_outside_becomes_the_unknown():
    vocabulary = Vocabulary(["find"], unknown="<unk>")
    ids = vocabulary.encode(["find", "Paris", "<unk>"])
    assert ids.tolist() == [1, 0, 0]
    assert vocabulary.decode(ids) == ["find", "<unk>", "<unk>"]


def test_a_word_outside_is_named_with_similar_ones_and_a_remedy():
    vocabulary = Vocabulary(["files", "find", "my"])
    with pytest.raises(ValueError, match="'file' is not among .*similar: files.*unk"):
        vocabulary.encode(["find", "file"])
    with pytest.raises(ValueError, match="'xyz' is not .*the first: files, find, my"):
        vocabulary.encode(["xyz"])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"tokens": []}, ValueError, "at least one token; got none"),
        ({"tokens": "find my files"}, TypeError, r"such as text.split\(\)"),
        ({"tokens": ["a"], "specials": "<s>"}, TypeError, "list of strings"),
        ({"tokens": ["a", 3]}, TypeError, "tokens must be strings; got 3"),
    ],
)
def test_what_cannot_be_a_vocabulary_is_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        Vocabulary(**arguments)


@pytest.mark.parametrize(
    ("ids", "error", "says"),
    [
        ([0, 2], ValueError, "ids must lie in 0 ... 1; got 2"),
        (torch.tensor([-1]), ValueError, "ids must lie in 0 ... 1; got -1"),
        ([0.0], TypeError, "ids must be integers; got torch.float32"),
        ([[0]], ValueError, r"ids must be \(t,\); got shape \(1, 1\)"),
        (torch.tensor(0), ValueError, r"got shape \(\)"),
    ],
)
def test_ids_that_cannot_be_decoded_are_named(ids, error, says):
    with pytest.raises(error, match=says):
        Vocabulary(["a", "b"]).decode(ids)


def test_a_bare_string_is_no_list_of_tokens():
    with pytest.raises(TypeError, match="list of strings; got 'a b'"):
        Vocabulary(["a", "b"]).encode("a b")


# The cosine


def test_cosine_equals_pytorchs_and_broadcasts():
    a = torch.randn(B, T, D, generator=generator(), dtype=torch.float64)
    b = torch.randn(T, D, generator=generator(1), dtype=torch.float64)
    assert cosine(a, b).shape == (B, T)
    expected = torch.nn.functional.cosine_similarity(a, b.expand_as(a), dim=-1)
    torch.testing.assert_close(cosine(a, b), expected)


def test_cosine_does_not_depend_on_lengths_and_the_dot_product_does():
    a, b = torch.tensor([1.0, 3.0, -5.0]), torch.tensor([4.0, -2.0, -1.0])
    torch.testing.assert_close(cosine(a, 10 * b), cosine(a, b))
    torch.testing.assert_close(cosine(a, b), torch.tensor(3 / (35 * 21) ** 0.5))


def test_a_vector_of_zeros_has_no_cosine():
    with pytest.raises(ValueError, match="no direction"):
        cosine(torch.ones(2, D), torch.tensor([[1.0, 0, 0], [0, 0, 0]]))


# The interactive figure


def test_the_figure_shows_the_product_of_its_weights_and_its_matrix():
    figure = RowLookup(weights=[0.5, 0.0, 1.0])
    weights, matrix, product = (axes.images[0] for axes in figure.still().axes)
    np.testing.assert_allclose(weights.get_array(), [[0.5, 0.0, 1.0]])
    np.testing.assert_allclose(matrix.get_array(), figure.matrix)
    expected = np.array([[0.5, 0.0, 1.0]]) @ np.array(figure.matrix)
    np.testing.assert_allclose(product.get_array(), expected)
    assert set(figure.settings()) == {"matrix", "weights", "words"}
