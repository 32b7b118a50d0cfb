"""Using the book: figures by keyboard and pointer, without scripts, on paper; search."""

import re
from functools import cache

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect
from visit import AXE, SERIOUS

# What each figure says first, and how many sliders it has.
FIGURES = {
    "AttentionPlayground": ("Press a word to let it ask", 2),
    "BitsAndGroups": ("dots: all bits with all groupings", 4),
    "BlockTraveller": ("cosine to the vector that came in", 1),
    "CacheFilling": ("keys and values computed now", 0),
    "ClockHands": ("A step turns hand 0", 2),
    "CodeModel": ("The model is not loaded yet", 0),  # test_code_model.py moves them
    "CommandTranslator": ("a command of your own can be typed", 1),
    "Directions": ("dog + ", 4),
    "HeadsSideBySide": ("head 0 looks at", 1),
    "LearningRateSchedule": ("above the lowest point", 5),
    "MergeStepper": ("bytes per piece", 1),
    "ModelChoice": ("May the texts leave the house?", 0),
    "NextToken": ("after the cut", 3),
    "RotaryScore": ("Query at ", 4),
    "RotateAndQuantize": ("holds ", 3),
    "RowLookup": ("The product is", 3),
    "ServingCalculator": ("operations for each byte read", 2),
    "SoftLookup": ("The answer is a mixture", 2),
    "SoftmaxTemperature": ("Softmax at temperature", 4),
    "SpectralRadius": ("At lag 50 the gradient", 3),
    "TransitionTable": ("draws first", 1),
    "VoteStepper": ("all together", 1),
}


@cache
def pages_with(book, figure):
    """The pages on which a figure of this class stands."""
    return [
        path.relative_to(book).as_posix()
        for path in sorted(book.rglob("*.html"))
        if f'data-figure="{figure}"' in (text := path.read_text("utf-8"))
        or f'"tfcourse.widgets.{figure}"' in text
    ]


@pytest.fixture
def open_figure(book, page):
    """Open the first page that shows a figure, and return the box of the figure."""

    def open_figure(figure):
        pages = pages_with(book, figure)
        assert pages, f"no page shows the figure {figure}"
        page.route("**/mathjax/**", lambda route: route.abort())  # half of the time
        page.goto(pages[0])
        box = page.locator(".tfc", has_text=FIGURES[figure][0]).first
        for host in page.locator(".tfc-host").all():  # each starts when it is seen
            host.scroll_into_view_if_needed()
            expect(host).to_have_attribute("data-state", "ready")
        box.scroll_into_view_if_needed()
        return box

    return open_figure


@pytest.mark.parametrize("figure", FIGURES)
def test_each_slider_moves_by_keyboard_and_the_sentence_follows(figure, open_figure):
    box = open_figure(figure)
    sliders = box.get_by_role("slider")
    expect(sliders).to_have_count(FIGURES[figure][1])
    for slider in sliders.all():
        told = box.get_by_role("status").inner_text()
        value = slider.get_attribute("aria-valuetext")
        slider.focus()
        for _ in range(10):
            slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") != value
        # in JupyterLab too, which else takes the arrow keys for itself
        assert slider.get_attribute("data-lm-suppress-shortcuts") == "true"
        expect(box.get_by_role("status")).not_to_have_text(told)


def test_tab_leads_from_slider_to_slider(open_figure, page):
    sliders = open_figure("SpectralRadius").get_by_role("slider")
    sliders.first.focus()
    for number in range(1, 3):
        page.keyboard.press("Tab")
        expect(sliders.nth(number)).to_be_focused()


def test_the_query_can_be_dragged(open_figure, page):
    box = open_figure("SoftLookup")
    circle = box.locator(".tfc-circle").bounding_box()
    knob = box.locator(".tfc-knob").bounding_box()
    page.mouse.move(knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2)
    page.mouse.down()
    page.mouse.move(circle["x"] + 5, circle["y"] + circle["height"] / 2)  # to the left
    page.mouse.up()
    expect(box.get_by_label("direction of the query")).to_have_value("180")
    expect(box.get_by_role("status")).to_contain_text("Tokyo")


def test_a_word_is_looked_up_by_keyboard(open_figure):
    box = open_figure("RowLookup")
    button = box.get_by_role("button", name="find")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.focus()
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(box.locator(".tfc-sum")).to_contain_text("−2.03.01.0")
    expect(box.get_by_label("weight of find")).to_have_value("1")
    box.get_by_role("slider").first.press("ArrowRight")
    expect(button).to_have_attribute("aria-pressed", "false")


def test_the_space_can_be_turned_by_hand(open_figure, page):
    box = open_figure("Directions")
    view = box.locator(".tfc-space-view").bounding_box()
    x, y = view["x"] + view["width"] / 2, view["y"] + view["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 20, y + 40)
    page.mouse.up()
    expect(box.get_by_label("turn")).to_have_value("245")
    expect(box.get_by_label("tilt")).to_have_value("35")
    expect(box.get_by_role("status")).to_contain_text("245° round and 35° up")


def test_the_first_address_leads_to_the_landing_page(page):
    page.goto("index.html")
    page.wait_for_url("**/book/intro.html")


def test_search_finds_a_word_of_the_first_chapter(page):
    page.goto("search.html?q=gradient")
    expect(
        page.locator("#search-results a", has_text="Vanishing").first
    ).to_be_visible()


def test_without_scripts_a_still_picture_stands(browser, book, address):
    page = browser.new_page(java_script_enabled=False)
    for figure in FIGURES:
        page.goto(address + pages_with(book, figure)[0])
        for host in page.locator(".tfc-host").all():
            host.scroll_into_view_if_needed()
            expect(host.locator("img")).to_be_visible()
            assert host.locator("img").get_attribute("alt")
            assert host.locator("img").bounding_box()["width"] > 200
            assert "where scripts run" in host.locator("noscript").text_content()
    page.close()


def test_a_figure_waits_until_it_is_near_and_is_there_on_paper(page, book):
    page.set_viewport_size({"width": 800, "height": 200})
    page.goto(pages_with(book, "SpectralRadius")[0])
    host = page.locator(".tfc-host").first
    assert host.get_attribute("data-state") is None
    page.pdf()
    assert host.get_attribute("data-state") == "ready"


def test_paper_is_light(page):
    page.emulate_media(color_scheme="dark")
    page.goto("book/intro.html")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    for event, expected in (("beforeprint", "light"), ("afterprint", "dark")):
        assert (
            page.evaluate(f"dispatchEvent(new Event('{event}')), {theme}") == expected
        )


def test_the_transition_table_can_be_edited(open_figure):
    box = open_figure("TransitionTable")
    field = box.get_by_label("files after my, per cent")
    field.fill("130")
    expect(box.get_by_role("status")).to_contain_text("my sums to 200")
    for word in ("directories", "photos"):
        box.get_by_label(f"{word} after my, per cent").fill("0")
    commands = box.locator(".tfc-drawn li")
    expect(commands).to_have_text(["show me my files please"] * 5)
    for word, share in {"directories": 20, "files": 30, "photos": 50}.items():
        box.get_by_label(f"{word} after my, per cent").fill(str(share))
    expect(box.get_by_role("status")).not_to_contain_text("sums to")


def test_the_mask_is_switched_by_keyboard(open_figure, page):
    box = open_figure("VoteStepper")
    told = box.get_by_role("status")
    expect(told).to_have_text("After “ran”: please wins over down, 5 to 4.")
    mask = box.get_by_role("button", name="mask")
    mask.focus()
    page.keyboard.press("Enter")
    expect(mask).to_have_attribute("aria-pressed", "true")
    expect(told).to_have_text("After “ran”: please wins over down, 1 to 0.")
    box.get_by_role("button", name="the battery’s command").click()
    expect(told).to_have_text("After “ran”: down wins over please, 1 to 0.")


def test_behind_the_causal_mask_a_word_sees_none_that_come_later(open_figure, page):
    box = open_figure("AttentionPlayground")
    told = box.get_by_role("status")
    expect(told).to_contain_text("“it” puts most weight on cat")
    expect(told).not_to_contain_text("masked")
    mask = box.get_by_role("button", name="causal mask")
    mask.focus()
    page.keyboard.press("Enter")
    expect(mask).to_have_attribute("aria-pressed", "true")
    expect(told).to_contain_text("the 2 words after it are masked")
    expect(box.locator(".tfc-masked")).to_have_text(["was", "tired"])
    word = box.get_by_role("button", name="cat")
    word.focus()
    page.keyboard.press("Enter")
    expect(word).to_have_attribute("aria-pressed", "true")
    expect(word).to_be_focused()
    expect(told).to_contain_text("“cat” puts most weight on cat")
    expect(told).to_contain_text("the 8 words after it are masked")
    expect(box.get_by_label("query: is alive")).to_have_value("1.2")


def test_attention_reads_a_sentence_that_is_typed(open_figure):
    box = open_figure("AttentionPlayground")
    field = box.get_by_label("sentence")
    field.fill("The cat, constructor and __proto__")
    rows = box.locator("tbody tr")
    expect(rows.locator("th")).to_have_text(
        ["The", "cat,", "constructor", "and", "__proto__"]
    )
    note = box.get_by_text("made from their letters")
    expect(note).to_contain_text("constructor, and, __proto__")
    told = box.get_by_role("status")
    expect(told).to_contain_text("“__proto__” puts most weight on")
    field.fill("  ")
    expect(told).to_contain_text("nothing to attend to")
    expect(rows).to_have_count(0)
    field.fill("cat")
    expect(told).to_contain_text("“cat” puts most weight on cat: 1.00.")


def test_the_query_of_attention_can_be_dragged(open_figure, page):
    box = open_figure("AttentionPlayground")
    knob = box.locator(".tfc-knob").bounding_box()
    keys = box.locator("svg").first.bounding_box()
    page.mouse.move(knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2)
    page.mouse.down()
    page.mouse.move(keys["x"] + keys["width"] / 2, keys["y"] + keys["height"] - 5)
    page.mouse.up()
    expect(box.get_by_label("query: names a thing")).to_have_value("0")
    expect(box.get_by_label("query: is alive")).to_have_value("-3")
    expect(box.get_by_role("status")).to_contain_text("most weight on because")


def test_softmax_is_a_soft_arg_max(open_figure):
    box = open_figure("SoftmaxTemperature")
    told = box.get_by_role("status")
    expect(told).to_contain_text(
        "temperature 1 gives 0.67, 0.24, 0.09: 1.20 of at most"
    )
    temperature = box.get_by_label("temperature T")
    temperature.press("Home")
    expect(told).to_contain_text("temperature 0.1 gives 1.00, 0.00, 0.00: 0.00 of")
    expect(told).to_contain_text("Rescaling gives 0.67, 0.33, 0.00, at any")
    temperature.press("End")
    expect(told).to_contain_text("temperature 10 gives 0.37, 0.33, 0.30: 1.58 of")
    box.get_by_label("score 3").press("Home")
    expect(told).to_contain_text("sum to 0: rescaling would divide by it")
    box.get_by_label("score 2").press("ArrowLeft")
    expect(told).to_contain_text("−20.00, −9.00, 30.00, which are no weights")


def test_scores_are_added_and_removed_from_three_to_five(open_figure):
    box = open_figure("SoftmaxTemperature")
    more = box.get_by_role("button", name="add a score")
    fewer = box.get_by_role("button", name="remove the last")
    expect(fewer).to_have_attribute("aria-disabled", "true")
    sliders = box.get_by_role("slider")
    for count in (5, 6, 6):  # with that of the temperature
        more.press("Enter")
        expect(sliders).to_have_count(count)
    expect(more).to_have_attribute("aria-disabled", "true")
    for count in (5, 4, 4):
        fewer.press("Enter")
        expect(sliders).to_have_count(count)
    expect(box.get_by_role("status")).to_contain_text("of at most 1.58 bits")


def test_pointing_at_a_row_lights_it_in_every_head(open_figure, page):
    box = open_figure("HeadsSideBySide")
    maps = box.locator("svg")
    slider = box.get_by_role("slider")
    last = int(slider.get_attribute("max"))
    lit = maps.nth(0).locator("g[opacity='1']")
    first = lit.bounding_box()
    slider.press("End")
    expect(slider).to_have_value(str(last))
    expect(box.get_by_role("status")).to_contain_text(f"number {last + 1}: head 0")
    assert lit.bounding_box()["y"] > first["y"]
    maps.nth(1).scroll_into_view_if_needed()
    row = maps.nth(1).locator("g").nth(1).bounding_box()
    page.mouse.move(row["x"] + 30, row["y"] + row["height"] / 2)
    expect(slider).to_have_value("1")
    expect(box.locator("g[opacity='1']")).to_have_count(maps.count())


def test_both_positions_of_the_clocks_move_and_their_dot_product_stays(open_figure):
    box = open_figure("ClockHands")
    told = box.get_by_role("status")
    on = box.get_by_role("button", name="both a step on")
    position = box.get_by_label("position p")
    last = int(position.get_attribute("max"))
    before, start = told.inner_text(), int(position.input_value())
    on.press("Enter")
    expect(position).to_have_value(str(start + 1))
    expect(told).not_to_have_text(before)
    assert told.inner_text().split("apart")[1] == before.split("apart")[1]
    position.press("End")
    expect(on).to_have_attribute("aria-disabled", "true")
    on.press("Enter")
    expect(position).to_have_value(str(last))
    box.get_by_label("position r").press("End")
    expect(told).to_contain_text(f"Position {last} with itself: dot product")
    back = box.get_by_role("button", name="both a step back")
    back.press("Enter")
    expect(box.get_by_label("position r")).to_have_value(str(last - 1))


def test_only_the_difference_of_the_positions_counts(open_figure, page):
    box = open_figure("RotaryScore")
    told = box.get_by_role("status")
    query, key = box.get_by_label("query at p"), box.get_by_label("key at r")
    before = told.inner_text().split("lag")[1]
    start = int(query.input_value())
    for _ in range(3):
        box.get_by_role("button", name="both a step on").press("Enter")
    expect(query).to_have_value(str(start + 3))
    assert told.inner_text().split("lag")[1] == before
    key.press("ArrowRight")
    assert told.inner_text().split("lag")[1] != before
    curve = box.get_by_role("img")
    curve.scroll_into_view_if_needed()
    area = curve.bounding_box()
    page.mouse.click(area["x"] + area["width"] - 12, area["y"] + 40)  # its right end
    expect(told).to_contain_text("Query at 63, key at 0, lag 63")


def test_a_pair_is_lit_and_the_width_is_chosen(open_figure):
    box = open_figure("RotaryScore")
    told = box.get_by_role("status")
    box.get_by_role("button", name="width 8").press("Enter")
    dials = box.locator("[data-pair]")
    expect(dials).to_have_count(4)
    dials.nth(3).click()
    expect(told).to_contain_text("Pair 3 adds")
    lit = box.get_by_label("pair that is lit")
    expect(lit).to_have_value("3")
    lit.press("ArrowRight")
    expect(lit).to_have_value("3")  # there is no pair 4
    box.get_by_role("button", name="width 2", exact=True).press("Enter")
    expect(dials).to_have_count(1)
    expect(told).to_contain_text("Pair 0 adds")
    lit.press("Home")
    expect(told).to_contain_text("Any two positions with this lag have it.")


def test_a_vector_travels_by_keyboard_and_the_norm_changes_its_place(open_figure, page):
    box = open_figure("BlockTraveller")
    told, slider = box.get_by_role("status"), box.get_by_role("slider")
    view, boxes = box.locator("svg"), box.locator("svg rect[rx='3']")
    slider.press("Home")
    expect(told).to_contain_text("station 1 of 7, stream in: length")
    expect(told).to_contain_text("came in 1.00.")
    for name in ("norm", "attention adds", "sum"):
        slider.press("ArrowRight")
        expect(told).to_contain_text(f"of 7, {name}: length")
    before = boxes.first.bounding_box()["x"]
    button = box.get_by_role("button", name="post-norm")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(told).to_contain_text("post-norm, station 4 of 7, norm: length")
    expect(slider).to_have_attribute("aria-valuetext", "norm (4 of 7)")
    assert boxes.first.bounding_box()["x"] < before  # from the branch onto the stream
    view.scroll_into_view_if_needed()
    drawn = view.bounding_box()
    view.click(position={"x": 150, "y": drawn["height"] * 1.5 / 7})
    expect(slider).to_have_value("1")
    expect(told).to_contain_text("Attention took most from")


def test_behind_the_mask_the_first_token_takes_from_itself_alone(open_figure):
    box = open_figure("BlockTraveller")
    buttons = box.get_by_role("group", name="token", exact=True).get_by_role("button")
    first = buttons.first
    name = first.inner_text().split()[0]
    first.click()
    expect(first).to_have_attribute("aria-pressed", "true")
    told = box.get_by_role("status")
    expect(told).to_contain_text(f"Attention took most from {name} (1.00).")


def test_a_recorded_command_is_chosen_and_written_token_by_token(open_figure):
    box = open_figure("CommandTranslator")
    told, slider = box.get_by_role("status"), box.get_by_role("slider")
    commands = box.get_by_label("command", exact=True)
    assert commands.locator("option").count() >= 6
    for number in range(commands.locator("option").count()):
        commands.select_option(index=number)
        last = int(slider.get_attribute("max"))
        expect(slider).to_have_value(str(last))  # all of it is written
        expect(told).to_contain_text(f"Token {last + 1} of {last + 1}, <end>")
        expect(told).to_contain_text("what was asked for")
        expect(box.locator("svg g")).to_have_count(last + 1)
    expect(box.get_by_text("The command runs once it is complete")).to_have_count(0)
    slider.press("Home")
    expect(told).to_contain_text(f"Token 1 of {last + 1}")
    expect(told).not_to_contain_text("asked for")
    expect(box.get_by_text("The command runs once it is complete")).to_be_visible()
    expect(box.get_by_role("textbox")).to_have_count(0)  # that needs Python


def test_a_head_and_a_token_are_chosen(open_figure, page):
    box = open_figure("CommandTranslator")
    told = box.get_by_role("status")
    expect(told).to_contain_text("the heads look most at")
    head = box.get_by_role("button", name="head 1")
    head.focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-pressed", "true")
    expect(told).to_contain_text("head 1 looks most at")
    box.locator("svg [data-token='2']").click()
    expect(told).to_contain_text("Token 3 of")
    box.locator("p [data-token='0']").click()
    expect(told).to_contain_text("Token 1 of")
    expect(box.get_by_role("slider")).to_have_value("0")


def test_where_python_runs_a_sentence_is_sent_to_it(open_figure, page):
    """The page's own module, with a model that has a kernel behind it."""
    open_figure("CommandTranslator")
    page.evaluate(
        """() => {
          const { render, settings } = tfcourseFigures.CommandTranslator;
          const state = { ...settings, live: true }, on = {};
          globalThis.sent = [];
          globalThis.answer = (given) => {
            Object.assign(state, given);
            for (const name of Object.keys(given)) on[`change:${name}`]?.forEach((f) => f());
          };
          const model = {
            get: (name) => state[name],
            set: (name, value) => answer({ [name]: value }),
            save_changes() {},
            send: (content) => sent.push(content),
            on: (event, listener) => (on[event] ??= []).push(listener),
          };
          const el = document.createElement("div");
          el.id = "live";
          document.querySelector("article, body").prepend(el);
          render({ model, el });
        }"""
    )
    box = page.locator("#live")
    told = box.get_by_role("status")
    box.get_by_role("textbox").fill("show my cats")
    box.get_by_role("textbox").press("Enter")
    expect(told).to_contain_text("Python translates")
    assert page.evaluate("sent") == [{"sentence": "show my cats"}]
    page.evaluate("answer({ trouble: 'no word cats', answered: 1 })")
    expect(told).to_have_text("No translation: no word cats")
    box.get_by_role("slider").press("Home")
    expect(told).to_contain_text("Token 1 of 11")
    page.evaluate(
        """() => answer({
          cases: [{ ...tfcourseFigures.CommandTranslator.settings.cases[0],
                    english: "count all photos" }],
          trouble: "", token: 10, answered: 2,
        })"""
    )
    expect(told).to_contain_text(
        "Token 11 of 11, <end>: the heads look most at “count”"
    )
    box.get_by_role("button", name="translate").click()
    assert len(page.evaluate("sent")) == 2


def test_merges_are_stepped_by_keyboard_and_undone(open_figure):
    box = open_figure("MergeStepper")
    told, slider = box.get_by_role("status"), box.get_by_role("slider")
    shown = box.locator(".tfc-piece")
    buttons = {
        name: box.get_by_role("button", name=name)
        for name in ("first", "back", "play", "next merge", "last")
    }
    buttons["first"].press("Enter")
    expect(told).to_contain_text("Every byte is a piece of its own")
    for name in ("first", "back"):
        expect(buttons[name]).to_have_attribute("aria-disabled", "true")
    last = int(slider.get_attribute("max"))
    bytes_of_text = shown.count()
    buttons["back"].press("Enter")  # there is nothing before
    expect(slider).to_have_value("0")
    seen = []
    for step in range(1, 4):
        seen.append((told.inner_text(), shown.all_inner_texts()))
        buttons["next merge"].press("Enter")
        expect(slider).to_have_attribute("aria-valuetext", f"{step} of {last}")
        expect(told).to_contain_text("; pieces ")
        expect(box.locator(".tfc-piece-new").first).to_be_visible()
        assert shown.count() < len(seen[-1][1])
    for sentence, pieces in reversed(seen):
        buttons["back"].press("Enter")
        expect(told).to_have_text(sentence)
        assert shown.all_inner_texts() == pieces
    slider.press("End")
    expect(told).to_contain_text("these are the ids of the text")
    for name in ("next merge", "last"):
        expect(buttons[name]).to_have_attribute("aria-disabled", "true")
    expect(box.locator("tbody td").first).to_have_text(str(bytes_of_text))
    ratio = f"{bytes_of_text / shown.count():.2f}"
    expect(box.locator("tbody td").last).to_have_text(ratio)


def test_a_text_is_typed_and_merged(open_figure):
    box = open_figure("MergeStepper")
    told, field = box.get_by_role("status"), box.get_by_role("textbox")
    words = box.locator(".tfc-words li")
    assert field.get_attribute("data-lm-suppress-shortcuts") == "true"
    field.fill("the thé  ☕")
    expect(words.locator("bdi")).to_have_text(["the", "␣thé", "␣", "␣☕"])
    expect(told).to_contain_text("Every byte is a piece of its own: 13 pieces.")
    expect(words.last.locator(".tfc-piece")).to_have_text(
        ["Ġ 220", "â 158", "ĺ 246", "ķ 243"]  # what has no face of its own got one
    )
    box.get_by_role("button", name="last").click()
    expect(told).to_contain_text("these are the ids of the text")
    field.press_sequentially("!")  # who stands at the end sees the end
    expect(told).to_contain_text("these are the ids of the text")
    expect(words).to_have_count(4)
    field.fill("<b>&amp;</b>")  # is text
    expect(words.locator("bdi").first).to_have_text("<")
    field.fill("")
    expect(told).to_have_text("There is no text yet: type one.")
    expect(words).to_have_count(0)
    play = box.get_by_role("button", name="play")
    expect(play).to_have_attribute("aria-disabled", "true")


def test_merges_play_until_the_end_or_a_pause(open_figure, page):
    page.clock.install(time=0)
    box = open_figure("MergeStepper")
    slider = box.get_by_role("slider")
    box.get_by_role("button", name="first").press("Enter")
    page.clock.pause_at(3600)
    box.get_by_role("button", name="play").press("Enter")
    second = max(100, min(1000, 20_000 / int(slider.get_attribute("max"))))
    page.clock.run_for(2.5 * second)
    expect(slider).to_have_value("2")
    box.get_by_role("button", name="pause").press("Enter")
    page.clock.run_for(5000)
    expect(slider).to_have_value("2")
    box.get_by_role("button", name="play").press("Enter")
    page.clock.run_for(100_000)
    expect(slider).to_have_value(slider.get_attribute("max"))
    box.get_by_role("button", name="play").press("Enter")  # from the start again
    expect(slider).to_have_value("0")
    box.get_by_role("button", name="next merge").click()  # who steps, pauses
    expect(box.get_by_role("button", name="play")).to_be_visible()
    page.clock.run_for(5000)
    expect(slider).to_have_value("1")


def test_the_pieces_of_a_long_word_fit_a_telephone(open_figure, page):
    page.set_viewport_size({"width": 360, "height": 700})
    box = open_figure("MergeStepper")
    box.get_by_role("textbox").fill("ksowjmckder" * 100 + " " * 100 + "\u0301☕" * 50)
    for button in ("first", "last"):
        box.get_by_role("button", name=button).press("Enter")
        wide = "document.documentElement.scrollWidth - innerWidth"
        assert page.evaluate(wide) <= 0
        view = box.get_by_role("list")
        assert view.evaluate("(e) => e.scrollWidth - e.clientWidth") <= 0
        assert view.bounding_box()["height"] < 400


def test_a_cache_is_filled_by_keyboard_and_emptied(open_figure):
    box = open_figure("CacheFilling")
    told = box.get_by_role("status")
    back, step, reset, whole, window, blocks = (
        box.get_by_role("button", name=name)
        for name in ("back", "step", "reset", "whole", "window", "blocks, two texts")
    )
    whole.press("Enter")
    reset.press("Enter")
    expect(told).to_have_text(re.compile("^Nothing is kept yet"))
    for button in (back, reset):
        expect(button).to_have_attribute("aria-disabled", "true")
    back.press("Enter")  # there is nothing before
    kept = box.locator("tbody tr").last.locator("td").first
    expect(kept).to_have_text("0")
    seen = []
    while step.get_attribute("aria-disabled") == "false":
        seen.append((told.inner_text(), kept.inner_text()))
        step.press("Enter")
        expect(told).to_contain_text(f"Step {len(seen)}: ")
        expect(box.locator(".tfc-fill-entry.tfc-fill-new").first).to_be_visible()
    assert [count for _, count in seen] == ["0", "6", "7", "8", "9", "10"]
    expect(kept).to_have_text("11")
    for sentence, count in reversed(seen):
        back.press("Enter")
        expect(told).to_have_text(sentence)
        expect(kept).to_have_text(count)
    for _ in range(3):
        step.press("Enter")
    window.press("Enter")  # the step stays, the memory does not grow
    expect(window).to_have_attribute("aria-pressed", "true")
    expect(told).to_contain_text("“it” takes the place of “sat”, which is forgotten")
    expect(kept).to_have_text("6")
    expect(box.locator(".tfc-fill-word.tfc-fill-gone")).to_have_text(["cat", "sat"])
    blocks.press("Enter")
    expect(box.locator(".tfc-fill-shared")).to_have_count(1)
    expect(box.locator(".tfc-fill-shared")).to_contain_text("block 0: text 1 and 2")
    for _ in range(4):
        step.press("Enter")
    expect(told).to_contain_text("Block 0 stays: the second text still reads it.")
    expect(step).to_have_attribute("aria-disabled", "true")
    whole.press("Enter")  # it has a step less
    expect(told).to_contain_text("Step 6: ")


def test_a_calculation_is_set_by_keyboard(open_figure):
    box = open_figure("ServingCalculator")
    told = box.get_by_role("status")
    lists = {
        name: box.get_by_role("combobox", name=name, exact=True)
        for name in ("model", "card", "how many cards", "weights in", "cache in")
    }
    for held in lists.values():
        assert held.get_attribute("data-lm-suppress-shortcuts") == "true"
    lists["model"].select_option("Llama 3.1 70B")
    expect(told).to_contain_text("it does not fit into 80 GB, one H100 SXM.")
    expect(told).to_contain_text("There is no room for a single text.")
    lists["how many cards"].focus()
    lists["how many cards"].press("ArrowDown")
    lists["card"].select_option("H200")
    expect(told).to_contain_text("2 × H200")
    for bits in ("weights in", "cache in"):
        lists[bits].select_option("8 bits")
    expect(told).to_contain_text("it fits into 282 GB")
    expect(told).to_contain_text("A step takes at least")
    box.get_by_label("texts at once").press("Home")
    expect(told).to_contain_text("with one text of")
    expect(told).to_contain_text("reading the weights takes longest")
    lists["model"].select_option("this course's")
    box.get_by_label("tokens in each text").press("End")
    expect(told).to_contain_text("The model was made for 512 tokens.")


@pytest.fixture
def fits_a_telephone(open_figure, page):
    """Open a figure on a telephone: itself, and what asserts that it is not too wide."""

    def opened(figure):
        page.set_viewport_size({"width": 360, "height": 700})
        box = open_figure(figure)
        edge = "(e) => e.getBoundingClientRect().right"
        wide = "document.documentElement.scrollWidth - innerWidth"

        def fits():
            assert page.evaluate(wide) <= 0
            assert box.get_by_role("table").evaluate(edge) <= box.evaluate(edge)

        return box, fits

    return opened


@pytest.mark.parametrize("figure", ["CacheFilling", "ServingCalculator"])
def test_cache_and_calculator_fit_a_telephone(figure, fits_a_telephone):
    box, fits = fits_a_telephone(figure)
    fits()
    for button in box.get_by_role("button").all():
        for _ in range(8):  # by steps to the last, which has the most
            button.press("Enter")
        fits()


def test_bits_and_groups_are_set_by_keyboard(open_figure):
    box = open_figure("BitsAndGroups")
    told, cells = box.get_by_role("status"), box.locator("tbody tr")
    bits, group, clip, row = (
        box.get_by_role("slider", name=name)
        for name in (
            "bits of a code",
            "one scale for",
            "range that is kept",
            "row that",
        )
    )
    symmetric, affine, outlier = (
        box.get_by_role("button", name=name)
        for name in ("symmetric", "affine", "plant an outlier")
    )
    stored = lambda: [c.split("\t")[-2:] for c in cells.all_inner_texts()]
    symmetric.press("Enter")
    bits.press("Home")
    expect(told).to_contain_text("1 bit, symmetric")
    expect(told).to_contain_text("there is no such grid")
    expect(cells).to_have_count(0)
    affine.press("Enter")
    expect(affine).to_have_attribute("aria-pressed", "true")
    expect(symmetric).to_have_attribute("aria-pressed", "false")
    group.press("Home")
    clip.press("End")
    expect(told).to_contain_text("1 bit, affine, one scale for the matrix: 1.001 true")
    assert stored()[1] == ["2", "0.001"]  # one scale
    for _ in range(3):
        bits.press("ArrowRight")
    group.press("End")
    expect(told).to_contain_text("4 bits, affine, one scale for 8 weights: 6.500 true")
    assert [c[1] for c in stored()] == ["4.000", "2.000", "0.500", "6.500", "16.000"]
    symmetric.press("Enter")
    assert [c[1] for c in stored()][2:4] == ["0.000", "6.000"]
    before = told.inner_text()
    assert "Better in no more room: " in before
    outlier.press("Enter")
    expect(told).not_to_have_text(before)
    group.press("Home")
    bits.press("ArrowLeft")
    bits.press("ArrowLeft")
    expect(told).to_contain_text("an error of 9")  # nearly all of it is lost
    outlier.press("Enter")
    expect(outlier).to_have_attribute("aria-pressed", "false")
    bits.press("ArrowRight")
    expect(told).to_contain_text("3 bits, symmetric, one scale for the matrix")
    expect(told).not_to_contain_text("an error of 9")
    group.press("ArrowRight")
    step = re.search(r"A step in row (\d+) is ([\d.]+)", told.inner_text())
    row.press("Home")
    expect(told).to_contain_text("A step in row 0 is ")
    assert step and step[0] not in told.inner_text()
    clip.press("Home")
    expect(told).to_contain_text("clipped at 30\u00a0% of the range")


def test_a_vector_is_turned_by_keyboard_and_dragged(open_figure, page):
    box = open_figure("RotateAndQuantize")
    told, cells = box.get_by_role("status"), box.locator("tbody tr")
    angle, turn, bits = box.get_by_role("slider").all()
    numbers = lambda: [c.split("\t")[1:] for c in cells.all_inner_texts()]
    turn.press("Home")
    plain = re.search(r"not turned, the squared error is ([\d.]+)", told.inner_text())[
        1
    ]
    expect(told).to_contain_text(f"turned by 0°, {plain};")
    turned = numbers()[:3]
    angle.press("Home")
    expect(told).to_contain_text("The first coordinate holds 100\u00a0% of the square")
    worst = numbers()
    assert worst[:3] == turned  # random turns do not care which vector it was
    assert worst[3] == worst[5] and worst[4] == ["0.000"] * 3
    for _ in range(90):
        angle.press("ArrowRight")
    expect(told).to_contain_text("The first coordinate holds 0\u00a0% of the square")
    assert numbers()[3][0] == worst[3][0]  # the other axis is as bad
    bits.press("End")
    expect(told).to_contain_text("4 bits each")
    assert all(
        float(a[2]) < float(b[2]) for a, b in zip(numbers(), turned, strict=False)
    )
    picture = box.locator(".tfc-ball").first.bounding_box()
    middle = [
        picture[x] + picture[size] / 2 for x, size in (("x", "width"), ("y", "height"))
    ]
    page.mouse.move(middle[0] + 60, middle[1])
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] - 60)
    page.mouse.up()
    expect(angle).to_have_value("45")
    expect(told).to_contain_text("The first coordinate holds 50\u00a0% of the square")


@pytest.mark.parametrize("figure", ["BitsAndGroups", "RotateAndQuantize"])
def test_the_figures_of_quantization_fit_a_telephone(figure, fits_a_telephone):
    box, fits = fits_a_telephone(figure)
    for button in box.get_by_role("button").all():  # affine: any number of bits can be
        button.press("Enter")
    for key in ("Home", "End"):
        for slider in box.get_by_role("slider").all():
            slider.press(key)
            fits()


def test_warm_up_leads_to_the_deep_valley_and_the_full_rate_does_not(open_figure):
    box = open_figure("LearningRateSchedule")
    told, rows = box.get_by_role("status"), box.locator("tbody tr")
    numbers = lambda row: rows.nth(row).locator("td").all_inner_texts()
    expect(told).to_contain_text("at the full rate throughout")
    warm_up = box.get_by_label("warm-up, in steps")
    steady, walks = numbers(0), box.locator("svg polyline")
    before = [walk.get_attribute("points") for walk in walks.all()]
    warm_up.press("Home")
    expect(told).to_contain_text("No warm-up in 200 steps")
    assert numbers(0) == steady  # the walk at the full rate has no warm-up
    after = [walk.get_attribute("points") for walk in walks.all()]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, False]
    box.get_by_label("rate at the end").press("End")
    assert numbers(0) == numbers(1)  # now both are the same
    box.get_by_label("number of the noise").press("End")
    expect(told).to_contain_text("With noise 100")
    assert numbers(0)[1:] == steady[1:]


def test_the_tail_is_cut_and_another_prompt_is_chosen(open_figure):
    box = open_figure("NextToken")
    told, rows = box.get_by_role("status"), box.locator("svg g[data-kept]")
    for name in ("top-k", "top-p"):
        box.get_by_role("slider", name=name).press("End")
    expect(told).to_contain_text("top-k off, top-p 1.00, 2048 tokens are left of 2048")
    expect(box.locator("g[data-kept='false']")).to_have_count(0)
    box.get_by_role("slider", name="top-k").press("Home")
    expect(told).to_contain_text("top-k 1, top-p 1.00, 1 token is left of 2048")
    expect(told).to_contain_text("has 100.0 %")
    expect(box.locator("g[data-kept='true']")).to_have_count(1)
    box.get_by_role("slider", name="top-k").press("End")
    box.get_by_role("slider", name="top-p").press("Home")
    expect(told).to_contain_text("top-p 0.05")
    expect(rows).to_have_count(11)  # ten tokens, and the others
    expect(rows.last).to_contain_text("cut")
    prompts = box.get_by_role("group", name="prompt").get_by_role("button")
    expect(prompts.first).to_have_attribute("aria-pressed", "true")
    before = told.inner_text()
    prompts.last.press("Enter")
    expect(prompts.last).to_have_attribute("aria-pressed", "true")
    expect(told).not_to_have_text(before)


def test_a_model_is_chosen_by_keyboard_and_what_follows_is_told(open_figure, page):
    box = open_figure("ModelChoice")
    told, rows = box.get_by_role("status"), box.locator("tbody tr")
    expect(told).to_have_text(
        "Now where it runs: a host, to begin with; kind: a decoder."
    )
    expect(rows).to_have_count(8)
    group = box.get_by_role("group", name="May the texts leave the house?")
    no = group.get_by_role("button", name="no")
    no.focus()
    page.keyboard.press("Enter")
    expect(no).to_have_attribute("aria-pressed", "true")
    expect(group.get_by_role("button", name="yes")).to_have_attribute(
        "aria-pressed", "false"
    )
    expect(told).to_have_text("Now where it runs: your own hardware.")
    expect(rows.first).to_contain_text("open weights")
    box.get_by_role("button", name="a label or number").click()
    expect(told).to_contain_text("kind: an encoder; trained to find: hidden words")
    expect(box.locator("tr.tfc-advice-new")).to_have_count(2)
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("way", ["server", "disk"])
def test_a_model_of_code_is_loaded_at_a_click_and_writes(way, page, address, book):
    base = address if way == "server" else f"{book.as_uri()}/"
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(base + pages_with(book, "CodeModel")[0])
    for host in page.locator(".tfc-host").all():
        host.scroll_into_view_if_needed()
        expect(host).to_have_attribute("data-state", "ready")
    box = page.locator(".tfc-code")
    told, field = box.get_by_role("status"), box.get_by_role("textbox")
    expect(field).to_have_value(re.compile(r"^def scale\(values, factor\): return "))
    expect(box.get_by_role("slider")).to_have_count(0)
    heavy = re.compile(r"/CodeModel-[0-9a-f]{8}\.js$")
    assert not any(map(heavy.search, requests))
    box.get_by_role("button", name="load the model").press("Enter")
    expect(told).to_contain_text("likeliest: “", timeout=20_000)
    (script,) = filter(heavy.search, requests)
    assert (book / "_static" / "figures" / script.rpartition("/")[2]).is_file()
    rows = box.locator("tbody tr")
    expect(rows).to_have_count(8)
    field.fill("for i in")
    expect(told).to_contain_text("After “␣in”, likeliest: “")
    chances = [
        float(c.strip("<> ")) for c in box.locator("td:nth-child(3)").all_inner_texts()
    ]
    assert chances == sorted(chances, reverse=True) and 0 < sum(chances) <= 1.01
    box.get_by_role("button", name="complete the line").press("Enter")
    expect(told).to_contain_text("Wrote", timeout=20_000)
    written = field.input_value()
    assert written.startswith("for i in") and len(written) > len("for i in")
    tokens = box.locator("[data-place]").count()
    box.get_by_role("slider", name="token").press("Home")
    expect(told).to_contain_text("After “for”, likeliest")
    assert tokens > 3
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.evaluate(AXE_SCRIPT)
    assert [found for found in page.evaluate(AXE) if found[1] in SERIOUS] == []
    assert all(url.startswith((base, "data:")) for url in requests)


@pytest.mark.parametrize("what", ["cut", "missing", "no script"])
def test_a_model_that_does_not_come_whole_is_told_and_tried_again(
    what, open_figure, page
):
    def answer(route):
        if what == "missing":
            return route.abort()
        body = route.fetch().text()
        end = '";' if what == "cut" else ""
        route.fulfill(body=body[:400_000] + end, content_type="text/javascript")

    open_figure("CodeModel")
    box = page.locator(".tfc-code")
    told, load = box.get_by_role("status"), box.get_by_role("button", name="load")
    page.route("**/CodeModel-*.js", answer)
    load.click()
    expect(told).to_contain_text("The model could not be loaded: ", timeout=20_000)
    why = {"missing": "did not come", "no script": "nothing in it"}
    expect(told).to_contain_text(why.get(what, r" bytes. Try again"))
    page.unroute("**/CodeModel-*.js")
    load.click()
    expect(told).to_contain_text("likeliest: “", timeout=20_000)
