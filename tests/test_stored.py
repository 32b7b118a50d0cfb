"""Stored results and weights: what their cards promise, and what is refused."""

import json
import math

import pytest
import torch

from tfcourse.data import stored
from tfcourse.data.commands import test_examples as held_out_examples
from tfcourse.data.corpus import load_corpus
from tfcourse.data.shell import executed_accuracy
from tfcourse.data.stored import WEIGHTS, stored_results, stored_weights
from tfcourse.encoder_decoder import (
    EncoderDecoder,
    examples,
    smoothed_cross_entropy,
    translate,
    words_of,
)
from tfcourse.fitting import cross_entropy
from tfcourse.gpt import stored_gpt
from tfcourse.recurrent import LSTMCell, RecurrentModel, RNNCell
from tfcourse.training import evaluate
from tfcourse.variations import stored_mixer

MIXERS = {
    "16_linear": "linear",
    "16_time_mix": "time mix",
    "16_convolution": "convolution",
}
CELLS = {"01_rnn": RNNCell, "01_lstm": LSTMCell}


def test_every_weight_file_has_a_card_and_a_test():
    files = {path.stem for path in WEIGHTS.glob("*.safetensors")}
    cards = {path.stem for path in WEIGHTS.glob("*.json")}
    named = {*CELLS, "09_translator", "11_code", "13_draft", *MIXERS}
    assert files == cards == named


def scored_bits(model, tokenizer, corpus):
    """Bits per byte of the text of the scoreboard."""
    ids = torch.tensor(tokenizer.encode(corpus.scored))
    return evaluate(model, ids) / math.log(2) * (len(ids) - 1) / len(corpus.scored)


@pytest.mark.parametrize("name", CELLS)
def test_the_stored_net_has_the_loss_of_its_card(name):
    tensors, card = stored_weights(name)
    model = RecurrentModel(CELLS[name], 256, 192, 256)
    model.load_state_dict(tensors)
    corpus = load_corpus()
    assert card["data"]["sha256"] == corpus.sha256
    ids = torch.tensor(list(corpus.scored)).view(400, -1)
    before = torch.nn.functional.pad(ids[:, :-1], (1, 0), value=ord("\n"))
    with torch.inference_mode():
        bits = cross_entropy(model(before), ids).item() / math.log(2)
    assert bits == pytest.approx(card["bits_per_byte"], abs=0.002)
    assert bits < 3  # far below the 8 of a model that knows nothing


def test_the_stored_model_of_code_has_the_loss_of_its_card_and_the_corpus_pieces():
    model, tokenizer = stored_gpt("11_code")
    _, card = stored_weights("11_code")
    corpus = load_corpus()
    assert card["data"]["sha256"] == corpus.sha256
    assert len(tokenizer) == model.config.vocab_size
    bits = scored_bits(model, tokenizer, corpus)
    assert bits == pytest.approx(card["bits_per_byte"], abs=0.002)
    assert bits < 2  # below every Markov model of the scoreboard


def test_the_stored_draft_has_the_loss_of_its_card_and_the_models_tokenizer():
    model, tokenizer = stored_gpt("13_draft")
    _, card = stored_weights("13_draft")
    pieces = [
        (WEIGHTS / f"{n}.tokenizer").read_bytes() for n in ("11_code", "13_draft")
    ]
    assert pieces[0] == pieces[1]
    corpus = load_corpus()
    assert card["data"]["sha256"] == corpus.sha256
    bits = scored_bits(model, tokenizer, corpus)
    assert bits == pytest.approx(card["bits_per_byte"], abs=0.002)
    assert bits < 2.2  # worse than the model it guesses for, far from knowing nothing
    assert (WEIGHTS / "13_draft.safetensors").stat().st_size < 1_000_000


@pytest.mark.parametrize("name", MIXERS)
def test_a_stored_mixer_has_the_loss_of_its_card_and_of_its_row(name):
    model, tokenizer = stored_mixer(name)
    _, card = stored_weights(name)
    corpus = load_corpus()
    assert card["data"]["sha256"] == corpus.sha256 and card["mixer"] == MIXERS[name]
    rows = stored.stored_results("16_mixers")["rows"]
    own = {r["lr"]: r["bits_per_byte"] for r in rows if r["mixer"] == card["mixer"]}
    best = min(own, key=own.get)
    assert (best, own[best]) == (card["recipe"]["lr"], card["bits_per_byte"])
    bits = scored_bits(model, tokenizer, corpus)
    assert bits == pytest.approx(card["bits_per_byte"], abs=0.002)
    assert bits < 3  # it has learned
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 1_400_000


def test_the_stored_translator_has_the_loss_of_its_card_and_does_what_it_is_told():
    tensors, card = stored_weights("09_translator")
    words = [words_of(card[side]) for side in ("source_words", "target_words")]
    model = EncoderDecoder(*map(len, words), **card["shape"])
    model.load_state_dict(tensors)
    tests = held_out_examples(200, seed=2)
    inputs, targets = examples([(e.english, e.shell) for e in tests], *words)
    with torch.inference_mode():
        loss = smoothed_cross_entropy(model.eval()(inputs), targets).item()
    assert loss == pytest.approx(card["held_out_loss"], abs=0.002)
    said = translate(model, [e.english for e in tests[:50]], *words)
    assert executed_accuracy(said, [e.shell for e in tests[:50]]) > 0.9
    assert card["executed"] >= 0.95  # of 500 held-out commands, when it was stored
    size = (WEIGHTS / "09_translator.safetensors").stat().st_size
    assert size < 2_000_000


def test_altered_weights_are_refused(tmp_path, monkeypatch):
    card = (WEIGHTS / "01_rnn.json").read_text("utf-8")
    content = bytearray((WEIGHTS / "01_rnn.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "01_rnn.json").write_text(card, "utf-8")
    (tmp_path / "01_rnn.safetensors").write_bytes(content)
    monkeypatch.setattr(stored, "WEIGHTS", tmp_path)
    with pytest.raises(ValueError, match="again with `python -m tools.train_recurrent"):
        stored_weights("01_rnn")


def test_an_unknown_name_lists_what_is_stored():
    with pytest.raises(ValueError, match="no stored results named '01_recal'; .*01_re"):
        stored_results("01_recal")
    with pytest.raises(ValueError, match="no stored weights named 'nothing'"):
        stored_weights("nothing")


def test_results_say_what_they_cost_and_where_they_come_from():
    for path in stored.RESULTS.glob("*.json"):
        result = json.loads(path.read_text("utf-8"))
        assert result["rows"] and result["seconds"] > 0 and result["versions"]
