// A language model of code that runs here: its tokens, what may come next, and where it looks.
const HERE = document.currentScript?.src ?? ""; // beside this lies the model, in a page
const LONGEST = 20000; // characters that can be typed
const SLICE = 50; // milliseconds of work, then the page gets its turn
const ROWS = 8; // of the table
const MANY = 100; // tokens at a time

const rest = () => new Promise((resolve) => setTimeout(resolve));

/** The bytes of the model from the script that lies beside this one: `fetch` reads none from disk. */
async function fromPage(name) {
  const script = h("script", { src: HERE.replace(/[^/]*$/, "") + name });
  const came = new Promise((resolve, reject) => {
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error(`${name} did not come`)));
  });
  document.head.append(script);
  await came.finally(() => script.remove());
  const text = globalThis.tfcourseData?.CodeModel;
  if (!text) throw damaged("there is nothing in it");
  delete tfcourseData.CodeModel;
  return fromBase64(text);
}

/** The same bytes from Python. */
function fromPython(model) {
  return new Promise((resolve, reject) => {
    const hear = (content, buffers) => {
      model.off("msg:custom", hear);
      if (content.trouble !== undefined) return reject(new Error(content.trouble));
      const { buffer, byteOffset, byteLength } = buffers[0];
      resolve(new Uint8Array(buffer, byteOffset, byteLength));
    };
    model.on("msg:custom", hear);
    model.send({ wanted: "model" });
  });
}

/** Text as it can be read: spaces and line breaks have a face. */
function visible(text) {
  const faces = { " ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍" };
  const hidden = (sign) => `U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  const seen = [...text].map((sign) => faces[sign] ?? (/[\p{C}\p{Z}]/u.test(sign) ? hidden(sign) : sign));
  return seen.join("");
}

/** A piece as it can be read; bytes that are part of a character are given as numbers. */
function face(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
    return visible(text).replace(/^(␣*)(?=\p{M})/u, "$1◌"); // a mark needs something to stand on
  } catch {
    return bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  }
}

/** A chance, never rounded to none or all. */
function share(chance) {
  if (chance > 0 && chance < 0.001) return "< 0.001";
  if (chance < 1 && chance > 0.999) return "> 0.999";
  return chance.toFixed(3);
}

/** The indices of the largest numbers, the largest first. */
function largest(numbers, count) {
  const order = Array.from(numbers, (_, i) => i);
  return order.sort((one, other) => numbers[other] - numbers[one] || one - other).slice(0, count);
}

/** What the figure says of one place in the text. */
function sentence({ piece, next, came, look }) {
  const likely = next.map(({ name, chance }) => `${name} ${share(chance)}`).join(", then ");
  const after = came ? ` What came, ${came.name}, had ${share(came.chance)}.` : "";
  const { layer, head, names } = look;
  const most = names.map(({ name, weight }) => `${name} ${weight.toFixed(2)}`).join(", then ");
  return `After ${piece}, likeliest: ${likely}.${after} Layer ${layer}, head ${head} looks most at ${most}.`;
}

function button(name, action) {
  const made = h("button", { type: "button", class: "tfc-choice" }, name);
  made.addEventListener("click", () => {
    if (made.getAttribute("aria-disabled") !== "true") action();
  });
  return made;
}

const able = (control, can) => control.setAttribute("aria-disabled", String(!can));

/** The table of what may come next; its rows stay, so that the keyboard keeps its place. */
function table(take) {
  const rows = Array.from({ length: ROWS }, (_, rank) => {
    const pick = h("button", { type: "button", class: "tfc-pick tfc-code-next" });
    pick.addEventListener("click", () => take(rank));
    const bar = h("span", { class: "tfc-bar" });
    const [chance, drawn] = [h("td", { class: "tfc-number" }), h("td", { class: "tfc-number" })];
    const track = h("td", { class: "tfc-track", "aria-hidden": "true" }, h("span", {}, bar));
    return { pick, bar, chance, drawn, row: h("tr", {}, h("th", { scope: "row" }, pick), track, chance, drawn) };
  });
  const heads = ["next token", "", "probability", ""].map((name, i) =>
    i === 1 ? h("td", {}) : h("th", { scope: "col", class: i ? "tfc-number" : "" }, name),
  );
  const caption = h("caption", {});
  const body = h("tbody", {}, ...rows.map(({ row }) => row));
  const whole = h("table", { class: "tfc-table tfc-code-table" }, caption, h("thead", {}, h("tr", {}, ...heads)), body);
  /** `next` are {name, chance, drawn}; without `temperature` the last column is empty. */
  function show(text, next, temperature) {
    caption.textContent = text;
    heads[3].textContent = temperature === null ? "" : `at temperature ${temperature}`;
    rows.forEach(({ pick, bar, chance, drawn, row }, rank) => {
      const one = next[rank];
      row.hidden = !one;
      if (!one) return;
      pick.textContent = one.name;
      pick.setAttribute("aria-label", `take ${one.name}`);
      able(pick, temperature !== null);
      bar.style.width = `${(100 * one.chance).toFixed(2)}%`;
      chance.textContent = share(one.chance);
      drawn.textContent = temperature === null ? "" : share(one.drawn);
    });
  }
  return { whole, show };
}

/** The tokens that the model sees, shaded by how much the one at `place` takes from each. */
function tokens(names, breaks, weights, place) {
  const top = weights.reduce((most, weight) => Math.max(most, weight), 0);
  return names.flatMap((name, i) => {
    const own = i === place ? " tfc-code-here" : i > place ? " tfc-code-later" : "";
    const token = h("li", { class: `tfc-code-token${own}`, "data-place": i }, name);
    if (i <= place) {
      token.style.setProperty("--tfc-share", `${((45 * weights[i]) / top).toFixed(1)}%`);
      token.title = `${name}: ${weights[i].toFixed(3)}`;
    }
    return breaks[i] ? [token, h("li", { class: "tfc-code-break", "aria-hidden": "true" })] : [token];
  });
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A language model of code");
  box.classList.add("tfc-code");
  says.classList.add("tfc-code-says");
  const start = model.get("text");
  let machine = null; // the tokenizer and the reader, once they are here
  let ids = []; // of the text in the field, or those that were written
  let chosen = -1; // the token at which the reader of this page stands; −1: the last
  let job = 0; // what is read or written now has the highest number
  let [writing, next] = [false, []];

  const field = h("textarea", { class: "tfc-text tfc-code-text", rows: 4, maxlength: LONGEST, spellcheck: "false" });
  for (const name of ["autocapitalize", "autocomplete", "autocorrect"]) field.setAttribute(name, "off");
  field.dataset.lmSuppressShortcuts = "true";
  field.value = start;
  let shown = field.value; // the text that belongs to the ids

  const size = model.get("data_bytes");
  const load = button(size ? `load the model (${(size / 1e6).toFixed(1)} MB)` : "load the model", fetchModel);
  const write = {
    one: button("next token", () => compose(1)),
    line: button("complete the line", () => compose(MANY, true)),
    many: button(`write ${MANY} tokens`, () => compose(MANY)),
    stop: button("stop", () => stop()),
    again: button("start again", () => {
      field.value = start;
      typed();
    }),
  };
  const before = h("div", { class: "tfc-choices" }, load);
  const buttons = h("div", { class: "tfc-choices" }, ...Object.values(write));
  const cut = h("p", { class: "tfc-code-cut" });
  const chart = table((rank) => take(next[rank]));
  const heat = (t) => (t ? t.toFixed(1) : "0: always the likeliest");
  const warm = slider(model, { trait: "temperature", label: "temperature", min: 0, max: 2, step: 0.1, format: heat });
  const seen = h("ol", { class: "tfc-code-tokens", tabindex: 0, "aria-label": "the tokens, and where this head looks" });
  const dials = h("div", { class: "tfc-sliders tfc-code-dials" });
  const alive = h("div", {}, buttons, h("div", { class: "tfc-sliders" }, warm));
  const maps = h(
    "div",
    {},
    h("p", { class: "tfc-axis tfc-code-maps" }, "The tokens; the bluer, the more the underlined one takes from it. Press one to stand there."),
    dials,
    seen,
  );
  const code = h("label", { class: "tfc-code-label" }, "code", field);
  box.append(code, before, says, cut, chart.whole);

  /** While the model writes, the field cannot be typed in: both would be mixed. */
  function setWriting(now) {
    field.readOnly = writing = now;
  }

  /** The places in the slice of the text that the model sees. */
  const limit = () => machine.reader.config.context_length;
  const from = () => windowStart(ids.length, limit());
  const last = () => ids.length - from() - 1;
  const at = () => (chosen < 0 ? last() : Math.min(chosen, last()));
  const name = (id) => face(machine.tokenizer.pieces[id]);
  const quote = (text) => `“${text}”`;

  async function fetchModel() {
    able(load, false);
    say(model.get("data_script") ? "Loading …" : "Loading … (if nothing comes, run the figure’s cell again)");
    try {
      const script = model.get("data_script");
      if (!script && typeof model.send !== "function") throw new Error("there is nothing to load it from");
      machine = open(await (script ? fromPage(script) : fromPython(model)));
    } catch (error) {
      able(load, true);
      return say(`The model could not be loaded: ${error.message}. Try again, or load this page anew.`);
    }
    const focused = load === document.activeElement;
    const { n_layers, n_heads } = machine.reader.config;
    const dial = (trait, count) => {
      if (model.get(trait) >= count) model.set(trait, count - 1);
      return slider(model, { trait, label: trait, min: 0, max: count - 1, step: 1, format: String });
    };
    dials.replaceChildren(places.holder, dial("layer", n_layers), dial("head", n_heads));
    before.replaceWith(alive);
    box.append(maps);
    if (focused) write.one.focus();
    await typed();
  }

  /** A slider for the place, which is no trait: the text decides how many there are. */
  const places = (() => {
    const format = (place) => (ids.length ? `${name(ids[from() + place])} (${place + 1} of ${last() + 1})` : "none");
    const own = { get: () => (machine ? Math.max(0, at()) : 0), save_changes() {}, on() {} };
    own.set = (_, place) => stand(place);
    const holder = slider(own, { trait: "place", label: "token", min: 0, max: 0, step: 1, format: (p) => (machine ? format(p) : "") });
    const [, value, input] = holder.children;
    const show = () => {
      const place = Math.max(0, at());
      input.max = Math.max(0, last());
      input.value = place;
      value.textContent = format(place);
      input.setAttribute("aria-valuetext", format(place));
    };
    return { holder, show };
  })();

  function stand(place) {
    chosen = place >= last() ? -1 : place;
    show();
  }

  /** Let the model read what it has not read; false if something else began meanwhile. */
  async function read(mine) {
    const { reader } = machine;
    const wanted = ids.slice(from());
    let same = 0;
    while (same < reader.ids.length && reader.ids[same] === wanted[same]) same++;
    reader.rewind(same);
    let until = performance.now() + SLICE;
    for (const [i, id] of wanted.entries()) {
      if (i < same) continue;
      if (performance.now() > until) {
        if (!writing) say(`Reading: token ${i} of ${wanted.length} …`);
        await rest();
        if (mine !== job || !box.isConnected) return false;
        until = performance.now() + SLICE;
      }
      reader.feed(id);
    }
    return true;
  }

  async function typed() {
    const mine = ++job;
    setWriting(false);
    shown = field.value;
    [chosen, next] = [-1, []];
    if (model.get("text") !== shown) {
      model.set("text", shown);
      model.save_changes();
    }
    if (!machine) return show();
    ids = machine.tokenizer.encode(shown);
    if (await read(mine)) show();
  }

  function stop() {
    if (writing) finish("Stopped.");
  }

  /** The text in the field becomes that of the ids. */
  function spell() {
    field.value = machine.tokenizer.decode(ids);
    shown = field.value;
    field.scrollTop = field.scrollHeight;
  }

  async function finish(what) {
    setWriting(false);
    spell();
    model.set("text", shown);
    model.save_changes();
    const mine = ++job;
    if (await read(mine)) show(what);
  }

  /** Write tokens, at most so many, or to the end of the line. */
  async function compose(most, line = false) {
    const mine = ++job;
    setWriting(true);
    chosen = -1;
    if (most > 1) {
      showButtons();
      say("Writing …");
    }
    let until = performance.now() + SLICE;
    const begin = ids.length;
    while (ids.length - begin < most) {
      if (!(await read(mine))) return;
      const id = draw(chances(machine.reader.scores(last()), model.get("temperature")));
      ids = [...ids, id];
      if (line && machine.tokenizer.pieces[id].includes(10)) break;
      if (performance.now() < until) continue;
      spell();
      if (await read(mine)) show();
      await rest();
      if (mine !== job || !box.isConnected) return;
      until = performance.now() + SLICE;
    }
    const written = ids.slice(begin);
    const text = written.length > 12 ? `${written.length} tokens` : quote(visible(machine.tokenizer.decode(written)));
    finish(`Wrote ${text}.`);
  }

  /** Put a token behind the one that is looked at; what followed is cut off. */
  function take(one) {
    if (!machine || !one || writing) return;
    ids = [...ids.slice(0, from() + at() + 1), one.id];
    chosen = -1;
    finish(`Took ${quote(one.name)}.`);
  }

  function showCut() {
    const gone = machine ? from() : 0;
    const far = `The model sees ${machine ? limit() : 0} tokens at most: the first ${gone} of these ${ids.length} are out of its sight.`;
    cut.textContent = gone ? far : "";
    cut.hidden = !gone;
  }

  function showButtons() {
    for (const [key, control] of Object.entries(write))
      able(control, key === "stop" ? writing : key === "again" ? field.value !== start : !writing && ids.length > 0);
  }

  function show(what = "") {
    showCut();
    if (!machine) return showRecorded();
    const { reader } = machine;
    if (reader.ids.length < ids.length - from()) return; // it still reads
    showButtons();
    places.show();
    if (!ids.length) {
      next = [];
      chart.show("There is nothing to continue.", [], model.get("temperature"));
      seen.replaceChildren();
      return say("There is no text: type some code.");
    }
    const [begin, place] = [from(), at()];
    const scores = Float32Array.from(reader.scores(place));
    const [plain, warmed] = [chances(scores, 1), chances(scores, model.get("temperature"))];
    next = largest(plain, ROWS).map((id) => ({ id, name: name(id), chance: plain[id], drawn: warmed[id] }));
    const here = name(ids[begin + place]);
    chart.show(`What may come after ${quote(here)}; press a token to take it.`, next, model.get("temperature"));
    const [layer, head] = [model.get("layer"), model.get("head")];
    const weights = reader.weights(reader.layers[layer], head, place);
    const part = ids.slice(begin);
    const names = part.map(name);
    const breaks = part.map((id) => machine.tokenizer.pieces[id].includes(10));
    seen.replaceChildren(...tokens(names, breaks, weights, place));
    const { offsetTop, offsetHeight } = seen.querySelector(".tfc-code-here");
    const hidden = offsetTop < seen.scrollTop || offsetTop + offsetHeight > seen.scrollTop + seen.clientHeight;
    if (hidden) seen.scrollTop = offsetTop + offsetHeight - seen.clientHeight / 2;
    if (writing) return;
    const following = part[place + 1];
    const came = following === undefined ? null : { name: quote(names[place + 1]), chance: plain[following] };
    const most = largest(weights, 2).map((i) => ({ name: quote(names[i]), weight: weights[i] }));
    const two = next.slice(0, 2).map((one) => ({ ...one, name: quote(one.name) }));
    const told = sentence({ piece: quote(here), next: two, came, look: { layer, head, names: most } });
    say(what ? `${what} ${told}` : told);
  }

  /** Before the model is here: what Python found for the text of the beginning. */
  function showRecorded() {
    const given = field.value === start ? model.get("likeliest") : [];
    const known = given.map(([text, chance]) => ({ name: visible(text), chance }));
    const why = known.length ? "What may come next, as Python found it:" : "What may come next is told once the model is loaded.";
    chart.show(why, known, null);
    say("The model is not loaded yet. It will run in this page, and what you type stays here.");
  }

  field.addEventListener("input", () => field.value !== shown && typed());
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
  });
  seen.addEventListener("click", (event) => {
    const token = event.target.closest("[data-place]");
    if (token && !writing) stand(Number(token.dataset.place));
  });
  for (const trait of ["layer", "head", "temperature"]) model.on(`change:${trait}`, () => machine && show());
  model.on("change:text", () => {
    if (model.get("text") === shown || writing) return;
    field.value = model.get("text");
    typed();
  });
  show();
  return () => {
    job++;
  };
}

export default { render, open, fromBase64, chances, draw, windowStart, largest, sentence, face, share };
