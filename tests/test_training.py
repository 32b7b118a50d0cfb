"""tfcourse.training: what must be equal is equal, and what is damaged is refused."""

import math
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.parity import close, refused, seeded
from tests.train_in_processes import CONFIG, IDS, RECIPE, new_model
from tfcourse import training
from tfcourse.gpt import GPT, initialize_gpt
from tfcourse.training import (
    Recipe,
    add_gradients,
    evaluate,
    flops_per_token,
    load_checkpoint,
    make_optimizer,
    peak_flops,
    recompute_activations,
    scored_windows,
    share_of_rank,
    train,
    train_step,
    warmup_cosine,
    windows,
)
from tools.notebooks import ROOT

CPU = torch.device("cpu")


def gradients_of(model):
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def batch(n=8, seed=3):
    return windows(IDS, n, CONFIG.context_length, seed)


# Batches and rates


def test_windows_hold_the_text_and_the_text_one_later():
    inputs, targets = windows(torch.arange(50), 6, 7, seed=0)
    assert inputs.shape == targets.shape == (6, 7)
    assert (inputs.diff(dim=1) == 1).all() and torch.equal(targets, inputs + 1)
    assert torch.equal(windows(torch.arange(50), 6, 7, seed=0)[0], inputs)
    assert not torch.equal(windows(torch.arange(50), 6, 7, seed=1)[0], inputs)
    last = windows(torch.arange(9), 500, 7, seed=0)[1].max()
    assert last == 8  # the end of the text is drawn too
    refused(lambda: windows(torch.arange(7), 1, 7, seed=0), "got 7 tokens")


def test_the_rate_rises_evenly_and_falls_along_half_a_cosine():
    recipe = Recipe(steps=110, batch=1, lr=1.0, warm_up=10, floor=0.2)
    shares = [warmup_cosine(step, recipe) for step in range(111)]
    assert shares[:11] == pytest.approx([*(i / 10 for i in range(1, 11)), 1.0])
    assert shares[60] == pytest.approx(0.6) and shares[110] == pytest.approx(0.2)
    assert sorted(shares[10:], reverse=True) == shares[10:]


def test_only_matrices_are_decayed_and_each_weight_stands_in_one_group():
    model = new_model()
    matrices, vectors = make_optimizer(model, RECIPE).param_groups
    assert matrices["weight_decay"] == 0.1 and vectors["weight_decay"] == 0.0
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    grouped = [id(p) for g in (matrices, vectors) for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


# Gradients


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_gradients_of_parts_add_up_to_those_of_the_whole_batch(parts):
    whole, cut = new_model(), new_model()
    loss = add_gradients(whole, *batch(), 1, False)
    assert add_gradients(cut, *batch(), parts, False) == pytest.approx(loss, abs=1e-10)
    close(gradients_of(cut), gradients_of(whole))
    logits = whole(batch()[0])
    assert F.cross_entropy(logits.mT, batch()[1]).item() == pytest.approx(
        loss, abs=1e-6
    )


def test_gradients_do_not_change_where_activations_are_computed_again():
    plain, again = new_model(), recompute_activations(new_model())
    calls = []
    again.stack.blocks[0].attention.register_forward_hook(lambda *_: calls.append(1))
    loss = add_gradients(plain, *batch(), 1, False)
    assert add_gradients(again, *batch(), 1, False) == loss
    assert len(calls) == 2
    for name, gradient in gradients_of(plain).items():
        assert torch.equal(gradients_of(again)[name], gradient), name
    assert again.state_dict().keys() == plain.state_dict().keys()


def test_in_bfloat16_weights_and_loss_stay_in_float32():
    model = new_model().float()
    seen = []
    linear = model.stack.blocks[0].feed_forward.module.expand
    linear.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    rough = add_gradients(model, *batch(), 1, True)
    assert seen == [torch.bfloat16]
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    exact = add_gradients(model, *batch(), 1, False)
    assert rough == pytest.approx(exact, rel=0.01) and rough != exact


# Steps


def test_training_learns_and_reports_each_step():
    reports = []
    recipe = replace(RECIPE, steps=60)
    history = train(new_model(), IDS, recipe, report=reports.append)
    assert history == reports and [h.step for h in history] == list(range(60))
    assert history[-1].loss < history[0].loss - 0.3
    assert history[0].lr == recipe.lr / 2 and history[-1].lr > recipe.lr * recipe.floor
    assert all(h.tokens_per_second > 0 and h.gradient_norm > 0 for h in history)


def test_a_step_is_adamw_on_the_clipped_gradient():
    model, other = new_model(), new_model()
    recipe = replace(RECIPE, max_norm=0.01, warm_up=0)
    progress = train_step(model, IDS, recipe, make_optimizer(model, recipe), 0)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p for p in other.parameters() if p.ndim > 1],
                "weight_decay": 0.1,
            },
            {
                "params": [p for p in other.parameters() if p.ndim < 2],
                "weight_decay": 0,
            },
        ],
        lr=recipe.lr,
        betas=(0.9, 0.95),
    )
    add_gradients(
        other, *windows(IDS, recipe.batch, CONFIG.context_length, 0), 1, False
    )
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in other.parameters()))
    for parameter in other.parameters():
        parameter.grad *= recipe.max_norm / norm
    optimizer.step()
    assert progress.gradient_norm == pytest.approx(norm)
    close(dict(model.state_dict()), dict(other.state_dict()), atol=1e-6)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_an_interrupted_run_goes_on_bit_for_bit(dropout, tmp_path):
    config = replace(CONFIG, dropout=dropout)
    recipe = replace(RECIPE, steps=9)

    def model():
        return initialize_gpt(GPT(config), seeded(1))

    straight = model()
    expected = train(straight, IDS, recipe)
    path = tmp_path / "run.pt"

    def interrupt(progress):
        if progress.step == 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(model(), IDS, recipe, path=path, save_every=4, report=interrupt)
    torch.rand(5)  # what happens in between does not matter
    resumed = model()
    history = train(resumed, IDS, recipe, path=path)
    assert [h.step for h in history] == [4, 5, 6, 7, 8]
    assert [h.loss for h in history] == [h.loss for h in expected[4:]]
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, straight.state_dict()[name]), name
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    assert train(resumed, IDS, recipe, path=path) == []  # nothing is left to do


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run.pt"
    train(new_model(), IDS, RECIPE, path=path)
    return path


def test_a_damaged_checkpoint_is_refused_and_kept(run):
    whole = run.read_bytes()
    run.write_bytes(whole[: len(whole) // 2])
    refused(lambda: train(new_model(), IDS, RECIPE, path=run), "cut short or damaged")
    assert run.read_bytes() == whole[: len(whole) // 2]


def test_a_checkpoint_of_another_run_is_refused(run):
    refused(
        lambda: load_checkpoint(run, replace(CONFIG, n_layers=3), RECIPE),
        "another config: there n_layers=2, here n_layers=3",
    )
    refused(
        lambda: load_checkpoint(run, CONFIG, replace(RECIPE, lr=0.5)),
        "another recipe: there lr=0.01, here lr=0.5",
    )
    longer = load_checkpoint(run, CONFIG, replace(RECIPE, steps=99))
    assert longer["step"] == 6 and longer["recipe"] == asdict(RECIPE)
    run.write_bytes(b"")
    torch.save({"weights": 1}, run)
    refused(lambda: load_checkpoint(run, CONFIG, RECIPE), "is no checkpoint of a run")


def test_a_save_that_fails_keeps_the_last_good_one(run, monkeypatch):
    before = run.read_bytes()

    def full(content, path):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError):
        train(new_model(), IDS, replace(RECIPE, steps=8), path=run, save_every=1)
    assert run.read_bytes() == before


def test_a_loss_that_is_no_number_stops_the_run():
    model = new_model()
    with torch.no_grad():
        model.stack.norm.gain.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match="at step 0: try a smaller lr"):
        train(model, IDS, RECIPE)


# Several processes


@pytest.mark.parametrize("how", ["whole", "parts"])
def test_two_processes_train_the_same_model_as_one(how, tmp_path):
    path = tmp_path / "run.pt"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [
        "--nproc-per-node",
        "2",
        "-m",
        "tests.train_in_processes",
        how,
        str(path),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    alone = new_model()
    history = train(alone, IDS, RECIPE)
    theirs = torch.load(path)
    close(theirs["model"], dict(alone.state_dict()))
    for ours, (loss, norm) in zip(history, torch.load(f"{path}.history"), strict=True):
        assert (ours.loss, ours.gradient_norm) == pytest.approx((loss, norm), abs=1e-6)
    resumed = new_model()  # and what they saved, one can go on from
    assert len(train(resumed, IDS, replace(RECIPE, steps=8), path=path)) == 2


def test_processes_that_cannot_share_a_batch_are_refused(monkeypatch):
    monkeypatch.setattr(training.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(training.dist, "get_world_size", lambda: 3)
    monkeypatch.setattr(training.dist, "get_rank", lambda: 1)
    assert share_of_rank(torch.arange(6)).tolist() == [2, 3]
    refused(lambda: share_of_rank(torch.arange(8)), "by the 3 processes; got 8")


def test_distributing_needs_processes():
    refused(lambda: training.distribute(new_model(), sharded=True), "torchrun")


# What it costs, and what it gives


@pytest.mark.parametrize(
    "changes", [{}, {"n_kv_heads": 1, "activation": "swiglu", "bias": False}]
)
def test_operations_are_those_that_pytorch_counts(changes):
    config = replace(CONFIG, d_ff=50, **changes)
    model = GPT(config)
    ids = IDS[: config.context_length][None]
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(ids)[0], ids[0]).backward()
    counted = counter.get_total_flops() / config.context_length
    assert flops_per_token(config) == counted


def test_this_machine_multiplies_matrices():
    assert 1e8 < peak_flops(CPU, torch.float32, size=256) < 1e16


@pytest.mark.parametrize("n", [2, 9, 16, 17, 18, 33, 100])
def test_every_token_but_the_first_is_scored_once(n):
    inputs, targets = scored_windows(torch.arange(n), 16)
    assert sorted(targets[targets >= 0].tolist()) == list(range(1, n))
    assert torch.equal((inputs + 1)[targets >= 0], targets[targets >= 0])
    behind = torch.arange(inputs.shape[1]).expand_as(inputs)[targets >= 0]
    assert behind[(targets[targets >= 0] > 16)].ge(7).all()


def test_evaluating_is_the_mean_surprise_and_leaves_the_mode():
    model = new_model().train()
    short = IDS[:12]
    expected = F.cross_entropy(model(short[None, :-1])[0], short[1:]).item()
    assert evaluate(model, short) == pytest.approx(expected, abs=1e-6)
    assert evaluate(model, IDS, batch=3) == pytest.approx(
        evaluate(model, IDS), abs=1e-6
    )
    assert model.training
    refused(lambda: evaluate(model, IDS[:1]), "got 1")


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"steps": 0}, "steps must be a whole number above 0; got 0"),
        ({"batch": 1.5}, "batch must be a whole number"),
        ({"micro_batches": 3}, "got batch=8, micro_batches=3"),
        ({"lr": 0.0}, "lr must be above 0; got 0.0"),
        ({"lr": float("nan")}, "lr must be above 0; got nan"),
        ({"max_norm": -1.0}, "max_norm must be above 0"),
        ({"floor": 1.5}, "floor=1.5"),
        ({"warm_up": -1}, "warm_up=-1"),
    ],
)
def test_a_recipe_of_nonsense_is_refused_by_name(changes, says):
    refused(lambda: replace(RECIPE, **changes), says)
