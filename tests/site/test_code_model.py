"""The code model in the browser computes what Python's does, and its figure tells it."""

import re
from base64 import b64encode
from dataclasses import asdict
from functools import cache

import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from test_numbers import TYPED

from tests.parity import seeded
from tfcourse.bpe import BYTE_ORDER, FIRST_NEW, train_tokenizer
from tfcourse.data.corpus import load_corpus
from tfcourse.data.packed import packed, unpacked
from tfcourse.gpt import GPT, GPTConfig, stored_gpt
from tfcourse.widgets import CodeModel

NEAR = {"rtol": 0, "atol": 1e-3}
LINE = CodeModel().text


def told(config, tokenizer):
    """What is told about a model in its file."""
    merges = [list(map(ord, pair)) for pair in tokenizer.merges]
    about = {"config": asdict(config), "pattern": tokenizer.pattern}
    return about | {"bytes": list(BYTE_ORDER), "merges": merges}


def revived(content):
    """Python's model with the weights that the browser computes with."""
    tensors, about = unpacked(content)
    model = GPT(GPTConfig(**about["config"]))
    model.load_state_dict(tensors)
    return model.eval()


@cache
def stored():
    """The bytes that the page loads, Python's model with the same weights, tokenizer."""
    content = CodeModel().heavy()
    return content, revived(content), stored_gpt("11_code")[1]


@cache
def toy():
    """The same three of a small model with every size its own, and no weight tied."""
    tokenizer = train_tokenizer(["the cat and the hat and the café\n"], FIRST_NEW + 12)
    shape = {"vocab_size": len(tokenizer), "context_length": 16, "d_model": 24}
    shape |= {"n_heads": 4, "n_layers": 3, "n_kv_heads": 2, "d_ff": 10, "base": 50.0}
    kind = {"norm": "rms", "activation": "swiglu", "position": "rotary"}
    config = GPTConfig(**shape, **kind, bias=False, tied=False)
    model, generator = GPT(config), seeded()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator).mul_(0.5).add_(parameter.ndim == 1)
    content = packed(model.state_dict(), told(config, tokenizer))
    return content, revived(content), tokenizer


@pytest.fixture
def script(book, page):
    """A page that holds nothing but the script of the figure."""
    page.goto("about:blank")
    page.add_script_tag(path=book / "_static" / "figures" / "CodeModel.js")
    return page


OPEN = """(coded) => {
  const { open, fromBase64 } = tfcourseFigures.CodeModel;
  globalThis.machine = open(fromBase64(coded));
}"""
READ = """([ids, places]) => {
  const { reader } = machine;
  reader.rewind(0);
  ids.forEach((id) => reader.feed(id));
  return places.map((place) => [...reader.scores(place)]);
}"""
LOOK = """() => machine.reader.layers.map((layer) =>
  [...Array(machine.reader.config.n_heads).keys()].map((head) =>
    machine.reader.ids.map((_, place) => [...machine.reader.weights(layer, head, place)])))"""
CONTINUE = """([ids, count]) => {
  const { reader } = machine, { chances, draw } = tfcourseFigures.CodeModel;
  reader.rewind(0);
  ids.forEach((id) => reader.feed(id));
  const written = [];
  while (written.length < count) {
    const id = draw(chances(reader.scores(reader.ids.length - 1), 0));
    written.push(id);
    reader.feed(id);
  }
  return written;
}"""


def opened(script, which):
    content, *rest = which()
    script.evaluate(OPEN, b64encode(content).decode())
    return rest


def test_the_ids_of_a_text_are_those_of_the_tokenizer_and_lead_back(script):
    _, tokenizer = opened(script, stored)
    texts = [*TYPED.values(), load_corpus().scored[:5000].decode()]
    texts += ["\ufeffbegins with a mark", LINE, "def f():\n\treturn 1\r\n"]
    for text in texts:
        ids = script.evaluate("(text) => machine.tokenizer.encode(text)", text)
        assert ids == tokenizer.encode(text), text
        back = script.evaluate("(ids) => machine.tokenizer.decode(ids)", ids)
        assert back == text


def test_bytes_that_are_no_text_are_read_as_python_reads_them(script):
    _, tokenizer = opened(script, stored)
    draws = torch.randint(256, (200, 12), generator=seeded())
    cut = [tokenizer.encode("é☕🙂")[:n] for n in range(6)]
    for ids in [*draws.tolist(), *cut]:
        back = script.evaluate("(ids) => machine.tokenizer.decode(ids)", ids)
        assert back == tokenizer.decode(ids)


@pytest.mark.parametrize("which", [stored, toy])
def test_the_scores_of_every_place_are_those_of_python(script, which):
    model, tokenizer = opened(script, which)
    limit = min(model.config.context_length, 100)
    texts = [LINE, "x", "import numpy as np\n\n\ndef mean(values):\n", "é☕ 猫 the hat"]
    texts.append(load_corpus().scored[5000:6000].decode())
    for text in texts:
        ids = tokenizer.encode(text)[:limit]
        places = sorted({*range(0, len(ids), 7), len(ids) - 1})
        with torch.inference_mode():
            expected = model(torch.tensor([ids]))[0, places]
        found = script.evaluate(READ, [ids, places])
        np.testing.assert_allclose(found, expected, **NEAR, err_msg=text)


def test_the_last_places_of_a_full_context_are_those_of_python(script):
    model, tokenizer = opened(script, stored)
    limit = model.config.context_length
    ids = tokenizer.encode(load_corpus().scored[:6000].decode())[:limit]
    assert len(ids) == limit
    places = [limit // 2, limit - 2, limit - 1]
    with torch.inference_mode():
        expected = model(torch.tensor([ids]))[0, places]
    found = script.evaluate(READ, [ids, places])
    np.testing.assert_allclose(found, expected, **NEAR)
    with pytest.raises(Exception, match=f"sees {limit} tokens at most"):
        script.evaluate("() => machine.reader.feed(0)")


@pytest.mark.parametrize("which", [stored, toy])
def test_what_is_read_in_parts_and_again_gives_the_same_bits(script, which):
    _, tokenizer = opened(script, which)
    ids = tokenizer.encode("the cat and the hat")[:12]
    whole = script.evaluate(READ, [ids, [*range(len(ids))]])
    again = script.evaluate(
        """(ids) => {
          const { reader } = machine;
          reader.rewind(5);
          for (const id of [7, 8, 9]) reader.feed(id);
          reader.rewind(5);
          ids.slice(5).forEach((id) => reader.feed(id));
          return ids.map((_, place) => [...reader.scores(place)]);
        }""",
        ids,
    )
    assert again == whole


@pytest.mark.parametrize("which", [stored, toy])
def test_attention_is_that_of_python(script, which):
    model, tokenizer = opened(script, which)
    ids = tokenizer.encode(LINE)[: model.config.context_length]
    script.evaluate(READ, [ids, []])
    found = script.evaluate(LOOK)
    places = torch.arange(len(ids))
    with torch.inference_mode():
        x = model.embedding(torch.tensor([ids]))
        for layer, block in zip(found, model.stack.blocks, strict=True):
            attend, h = block.attention.module, block.attention.norm(x)
            sight = {"causal": True, "positions": places}
            expected = attend(h, **sight, return_weights=True)[1][0]
            x = block(x, **sight)
            for head, rows in zip(layer, expected.numpy(), strict=True):
                for place, row in enumerate(head):
                    assert len(row) == place + 1
                    assert abs(sum(row) - 1) < 1e-5
                    np.testing.assert_allclose(row, rows[place, : place + 1], **NEAR)


@pytest.mark.parametrize(("which", "count"), [(stored, 40), (toy, 9)])
def test_the_likeliest_continuation_is_that_of_python(script, which, count):
    model, tokenizer = opened(script, which)
    ids = tokenizer.encode("def scale(values):" if which is stored else "the cat")
    found = script.evaluate(CONTINUE, [ids, count])
    expected = list(ids)
    with torch.inference_mode():
        for _ in range(count):
            scores = model(torch.tensor([expected]))[0, -1]
            expected.append(scores.argmax().item())
    assert found == expected[len(ids) :]


@pytest.mark.parametrize("temperature", [0.3, 1, 2])
def test_a_token_is_drawn_by_its_chance_at_a_temperature(script, temperature):
    scores = torch.randn(50, generator=seeded()) * 3
    scores[7] = -torch.inf
    call = "([scores, t]) => [...tfcourseFigures.CodeModel.chances(scores, t)]"
    given = [s if np.isfinite(s) else -1e9 for s in scores.tolist()]
    found = script.evaluate(call, [given, temperature])
    expected = (scores.double() / temperature).softmax(dim=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    ends = np.cumsum(found)
    dice = np.linspace(0, 0.9999, 400)
    call = """([given, dice]) => {
      const { draw } = tfcourseFigures.CodeModel;
      return dice.map((u) => draw(given, () => u));
    }"""
    drawn = script.evaluate(call, [found, dice.tolist()])
    np.testing.assert_array_equal(drawn, np.searchsorted(ends, dice, side="right"))
    short = [0.0, 0.4, 0.0, 0.5999, 0.0]  # sums that rounding left below one
    assert script.evaluate(call, [short, [0.0, 0.99999]]) == [1, 3]


@pytest.mark.parametrize("limit", [1, 3, 16, 512])
def test_of_a_text_that_is_too_long_the_model_sees_most_of_its_context(script, limit):
    start = "(_, n) => tfcourseFigures.CodeModel.windowStart(n, limit)"
    call = f"(limit) => Array.from({{ length: 3 * limit + 2 }}, {start})"
    starts = script.evaluate(call, limit)
    assert starts[: limit + 1] == [0] * (limit + 1)
    for n, start in enumerate(starts[limit + 1 :], limit + 1):
        assert 0.75 * limit <= n - start <= limit
    assert sorted(starts) == starts
    assert len(set(starts)) <= 1 + 4 * 3  # it moves now and then, not at each token


def test_a_token_costs_one_pass_and_that_is_fast(script):
    opened(script, stored)
    times = script.evaluate(
        """() => Array.from({ length: 60 }, (_, i) => {
          const before = performance.now();
          machine.reader.feed(i);
          machine.reader.scores(i);
          return performance.now() - before;
        })"""
    )
    print(f"{1000 / min(times):.0f} tokens a second; median {np.median(times):.1f} ms")
    assert (
        min(times) < 50
    )  # at least 20 a second, where nothing else takes the processor


def test_a_file_that_is_cut_or_of_another_kind_is_told(script):
    content, *_ = toy()
    whole = b64encode(content).decode()
    for coded, why in (
        (whole[: len(whole) // 2 // 4 * 4], r"it has \d+ of \d+ bytes"),
        (whole[:401], "it is no base64"),
        ("!" + whole, "it is no base64"),
        (b64encode(content[:300]).decode(), "it ends after 300 bytes"),
        (b64encode(content[:3]).decode(), "it ends after 3 bytes"),
        (b64encode(content + b"x").decode(), r"it has \d+ of \d+ bytes"),
        (
            b64encode(content[:8] + b"x" + content[9:]).decode(),
            "its first part cannot be",
        ),
    ):
        with pytest.raises(Exception, match=f"cut short or damaged: {why}"):
            script.evaluate(OPEN, coded)
    tensors, about = unpacked(content)
    for changes in ({"norm": "layer"}, {"position": "learned"}, {"bias": True}):
        ((name, value),) = changes.items()
        other = packed(tensors, about | {"config": about["config"] | changes})
        with pytest.raises(
            Exception, match=f"a model with {name} {str(value).lower()} "
        ):
            script.evaluate(OPEN, b64encode(other).decode())
    del tensors["stack.norm.gain"]
    other = packed(tensors, about)
    with pytest.raises(Exception, match="stack.norm.gain has no numbers, not 24"):
        script.evaluate(OPEN, b64encode(other).decode())


# The figure with a model that has Python behind it: a small one, which is quick

LIVE = """() => {
  const { render, settings } = tfcourseFigures.CodeModel;
  const { data_script, data_bytes, ...state } = { ...settings, text: "the cat" };
  const on = {};
  const tell = (event, ...given) => [...(on[event] ?? [])].forEach((f) => f(...given));
  globalThis.sent = [];
  globalThis.answer = (content, coded) => {
    const buffers = coded ? [new DataView(Uint8Array.from(atob(coded), (c) => c.charCodeAt(0)).buffer)] : [];
    tell("msg:custom", content, buffers);
  };
  globalThis.traits = state;
  globalThis.put = (name, value) => {
    if (state[name] === value) return;
    state[name] = value;
    tell(`change:${name}`);
  };
  const model = {
    get: (name) => state[name],
    set: put,
    save_changes() {},
    send: (content) => sent.push(content),
    on: (event, listener) => (on[event] ??= []).push(listener),
    off: (event, listener) => (on[event] = on[event].filter((f) => f !== listener)),
  };
  render({ model, el: document.body });
}"""


@pytest.fixture
def live(script):
    """The figure with the small model, loaded."""
    script.evaluate(LIVE)
    box = script.locator(".tfc")
    expect(box.get_by_role("status")).to_contain_text("not loaded yet")
    box.get_by_role("button", name="load the model").click()
    assert script.evaluate("sent") == [{"wanted": "model"}]
    content = b64encode(toy()[0]).decode()
    script.evaluate("(coded) => answer({}, coded)", content)
    expect(box.get_by_role("status")).to_contain_text(f"After {last_piece()}, likel")
    return box


def last_piece():
    """The last token of the text that the small model begins with, as it is told."""
    piece = toy()[2].decode(toy()[2].encode("the cat")[-1:])
    return f"“{piece.replace(' ', '␣')}”"


def shown(ids):
    """The text of ids as a field holds it, which knows one kind of line break."""
    text = toy()[2].decode(ids)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def chances_after(ids):
    """Python's chances of the next token of the small model."""
    with torch.inference_mode():
        return toy()[1](torch.tensor([ids]))[0, -1].softmax(dim=-1)


def numbers(box):
    """The probabilities in the table, and those at the temperature."""
    cells = box.locator("tbody tr:not([hidden]) .tfc-number").all_inner_texts()
    values = [float(cell.strip("<> ")) for cell in cells]
    return values[0::2], values[1::2]


def test_the_table_shows_the_likeliest_tokens_of_python(live):
    ids = toy()[2].encode("the cat")
    top = chances_after(ids).topk(8)
    expect(live.locator("tbody tr")).to_have_count(8)
    plain, drawn = numbers(live)
    np.testing.assert_allclose(plain, top.values, atol=6e-4)
    assert drawn == [1] + [0] * 7  # at temperature 0
    warm = live.get_by_role("slider", name="temperature")
    assert warm.get_attribute("aria-valuetext") == "0: always the likeliest"
    for _ in range(20):
        warm.press("ArrowRight")
    expect(warm).to_have_attribute("aria-valuetext", "2.0")
    plain, drawn = numbers(live)
    np.testing.assert_allclose(plain, top.values, atol=6e-4)
    expected = (chances_after(ids).log() / 2).softmax(dim=-1)[top.indices]
    np.testing.assert_allclose(drawn, expected, atol=6e-4)


def test_every_slider_moves_by_keyboard_and_the_sentence_follows(live):
    told = live.get_by_role("status")
    for label, key in (("layer", "ArrowLeft"), ("head", "End"), ("token", "Home")):
        slider = live.get_by_role("slider", name=label)
        assert slider.get_attribute("data-lm-suppress-shortcuts") == "true"
        before, value = told.inner_text(), slider.get_attribute("aria-valuetext")
        slider.press(key)
        expect(told).not_to_have_text(before)
        assert slider.get_attribute("aria-valuetext") != value
    assert re.search(r"head 3 looks most at “\w+” 1\.00\.$", told.inner_text())


def test_at_an_earlier_token_it_is_told_what_came_and_another_can_be_taken(live):
    tokenizer = toy()[2]
    told, field = live.get_by_role("status"), live.get_by_role("textbox")
    ids = tokenizer.encode("the cat and the hat")
    field.fill("the cat and the hat")
    expect(live.locator("[data-place]")).to_have_count(len(ids))
    live.locator("[data-place='1']").click()
    chance = chances_after(ids[:2])[ids[2]].item()
    expect(told).to_contain_text("What came, “")
    words = f"{chance:.3f}" if chance >= 0.001 else "< 0.001"
    expect(told).to_contain_text(f"had {words}.")
    third = chances_after(ids[:2]).topk(3).indices[2].item()
    live.locator("tbody button").nth(2).press("Enter")
    expect(field).to_have_value(shown([*ids[:2], third]))
    expect(told).to_contain_text("Took “")
    expect(live.locator("tbody button").nth(2)).to_be_focused()


def test_tokens_are_written_by_keyboard_as_python_writes_them(live, script):
    field, told = live.get_by_role("textbox"), live.get_by_role("status")
    ids = toy()[2].encode("the cat")
    for _ in range(3):
        ids.append(chances_after(ids).argmax().item())
        button = live.get_by_role("button", name="next token")
        button.press("Enter")
        expect(field).to_have_value(shown(ids))
        expect(told).to_contain_text("Wrote “")
        expect(button).to_be_focused()
    assert script.evaluate("traits.text") == shown(ids)
    live.get_by_role("button", name="start again").click()
    expect(field).to_have_value("the cat")


def test_a_text_beyond_the_context_is_told_and_its_end_is_read(live):
    ids, limit = toy()[2].encode("the cat"), 16
    live.get_by_role("button", name="write 100 tokens").click()
    expect(live.get_by_role("status")).to_contain_text("Wrote 100 tokens.")
    start = 0
    for _ in range(100):
        start = max(0, -(-(len(ids) - limit) // 4) * 4)
        ids.append(chances_after(ids[start:]).argmax().item())
    expect(live.get_by_role("textbox")).to_have_value(shown(ids))
    start = -(-(len(ids) - limit) // 4) * 4
    note = live.get_by_text("16 tokens at most")
    expect(note).to_contain_text(f"the first {start} of these {len(ids)} are out of")
    expect(live.locator("[data-place]")).to_have_count(len(ids) - start)
    plain, _ = numbers(live)
    top = chances_after(ids[start:]).topk(8).values
    np.testing.assert_allclose(plain, top, atol=6e-4)
    live.get_by_role("textbox").fill("the")
    expect(note).to_be_hidden()


def test_a_line_ends_where_it_breaks(live, script):
    tokenizer = toy()[2]
    ids, dice = tokenizer.encode("the cat"), []
    for piece in ("h", "\n"):  # dice that make these two come
        (wanted,) = tokenizer.encode(piece)
        chances = chances_after(ids).double()
        dice.append((chances.cumsum(0)[wanted] - chances[wanted] / 2).item())
        ids.append(wanted)
    script.evaluate("put('temperature', 1)")
    script.evaluate("(dice) => { Math.random = () => dice.shift() }", dice)
    live.get_by_role("button", name="complete the line").click()
    expect(live.get_by_role("status")).to_contain_text("Wrote “h↵”.")
    expect(live.get_by_role("textbox")).to_have_value("the cath\n")


def test_writing_is_stopped_by_button_and_by_key(live, script):
    field, told = live.get_by_role("textbox"), live.get_by_role("status")
    stop = live.get_by_role("button", name="stop")
    expect(stop).to_have_attribute("aria-disabled", "true")
    # a clock that leaps: after each token the page gets its turn, as with a slow model
    script.evaluate(
        "performance.now = () => (globalThis.leap = (globalThis.leap ?? 0) + 60)"
    )
    script.evaluate(
        "globalThis.later = setTimeout, globalThis.setTimeout = (f) => later(f, 50)"
    )
    many = live.get_by_role("button", name="write 100 tokens")
    many.click()
    expect(stop).to_have_attribute("aria-disabled", "false")
    expect(many).to_have_attribute("aria-disabled", "true")
    stop.click()
    expect(told).to_contain_text("Stopped. After")
    written = field.input_value()
    assert written.startswith("the cat")
    script.wait_for_timeout(300)
    expect(field).to_have_value(written)
    many.click()
    expect(stop).to_have_attribute("aria-disabled", "false")
    expect(field).not_to_be_editable()  # what is typed would mix with what is written
    field.press("Escape")
    expect(told).to_contain_text("Stopped.")
    expect(field).to_be_editable()
    expect(stop).to_have_attribute("aria-disabled", "true")
    field.fill("the hat")
    expect(told).to_contain_text("After “")
    script.wait_for_timeout(300)
    expect(field).to_have_value("the hat")


def test_without_a_text_there_is_nothing_to_write(live):
    field, told = live.get_by_role("textbox"), live.get_by_role("status")
    field.fill("")
    expect(told).to_have_text("There is no text: type some code.")
    for name in ("next token", "complete the line", "write 100 tokens"):
        button = live.get_by_role("button", name=name)
        expect(button).to_have_attribute("aria-disabled", "true")
        button.press("Enter")
    expect(field).to_have_value("")
    field.fill("<b>&amp; \u0301☕")  # is text, and half characters have a face
    expect(live.locator("[data-place]").first).to_have_text("<")
    assert "NaN" not in live.inner_html() and "undefined" not in live.inner_html()


def test_trouble_in_python_is_told_and_can_be_tried_again(script):
    script.evaluate(LIVE)
    box = script.locator(".tfc")
    told = box.get_by_role("status")
    load = box.get_by_role("button", name="load the model")
    load.press("Enter")
    expect(told).to_contain_text("if nothing comes, run the figure’s cell again")
    script.evaluate("answer({ trouble: 'no stored weights' })")
    expect(told).to_contain_text("could not be loaded: no stored weights. Try again")
    load.press("Enter")
    content = b64encode(toy()[0]).decode()
    script.evaluate("(coded) => answer({}, coded)", content)
    expect(told).to_contain_text(f"After {last_piece()}, likel")
    expect(box.get_by_role("button", name="next token")).to_be_focused()


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ([32, 116], "␣t"),
        ([10, 32, 32], "↵␣␣"),
        ([0xE2, 0x98], "\\xe2\\x98"),
        ([0xCC, 0x81], "◌\u0301"),
        ([0], "U+0000"),
        ([0xEF, 0xBB, 0xBF], "U+FEFF"),
    ],
)
def test_a_piece_is_given_a_face(script, given, seen):
    call = "(bytes) => tfcourseFigures.CodeModel.face(bytes)"
    assert script.evaluate(call, given) == seen


@pytest.mark.parametrize(
    ("chance", "words"),
    [
        (0, "0.000"),
        (1e-9, "< 0.001"),
        (0.9999, "> 0.999"),
        (1, "1.000"),
        (0.25, "0.250"),
    ],
)
def test_a_chance_is_never_rounded_to_none_or_all(script, chance, words):
    call = "(chance) => tfcourseFigures.CodeModel.share(chance)"
    assert script.evaluate(call, chance) == words
