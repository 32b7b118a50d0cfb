// A cache of keys and values that fills, step by step: whole, a window, or blocks of two texts.
const TRAITS = ["kind", "words", "others", "prompt", "window", "sinks", "block_size", "n_blocks", "width", "step"];
const KINDS = ["whole", "window", "blocks"];

/** How many steps there are: the prompt at once, then a word each; the second text begins a step later. */
function steps({ kind, words, others, prompt }) {
  const needed = (text) => text.length - prompt + 1;
  return kind === "blocks" ? Math.max(needed(words), needed(others) + 1) : needed(words);
}

/** How far both texts are read after a step. */
function reached({ kind, words, others, prompt }, step) {
  const at = (text, n) => (n > 0 ? Math.min(prompt + n - 1, text.length) : 0);
  return [at(words, step), kind === "blocks" ? at(others, step - 1) : 0];
}

/** How many entries there is room for. */
function room({ kind, words, window, sinks, block_size, n_blocks }) {
  return { whole: words.length, window: sinks + window, blocks: n_blocks * block_size }[kind];
}

/** Where a position of a text is kept. */
function placeOf({ kind, window, sinks, block_size }, tables, text, position) {
  if (kind === "blocks") {
    const block = tables[text][Math.floor(position / block_size)];
    return block * block_size + (position % block_size);
  }
  const around = kind === "window" && position >= sinks + window;
  return around ? sinks + ((position - sinks) % window) : position;
}

/** The full blocks of the first text that the second begins with; its last word is computed anyway. */
function adopt({ words, others, prompt, block_size }, state) {
  const size = block_size;
  const same = (n) => words.slice(0, n * size).join("\n") === others.slice(0, n * size).join("\n");
  const full = (n) => n * size < prompt && n * size <= state.lengths[0];
  let n = 0;
  while (full(n + 1) && same(n + 1)) n++;
  const shared = state.tables[0].slice(0, n);
  for (const block of shared) state.users[block]++;
  state.tables[1] = shared;
  return n * size;
}

function take(state) {
  const block = state.free.shift();
  state.users[block] = 1;
  return block;
}

function release(state, text) {
  for (const block of state.tables[text].reverse()) if (!--state.users[block]) state.free.push(block);
  state.tables[text] = [];
}

/** One text goes on from where it is to where it shall be, in one pass. */
function pass(given, state, text, from, to) {
  const { kind, block_size, width } = given;
  const shared = kind === "blocks" && text === 1 && from === 0 ? adopt(given, state) : 0;
  from = Math.max(from, shared);
  const taken = [];
  while (kind === "blocks" && state.tables[text].length * block_size < to) {
    taken.push(take(state));
    state.tables[text].push(taken.at(-1));
  }
  const fresh = to - from;
  const before = state.places.filter(Boolean).length; // in a window, with one text
  for (let position = from; position < to; position++) {
    const place = placeOf(given, state.tables, text, position);
    state.fresh.set(place, state.places[place]?.position ?? null);
    state.places[place] = { text, position };
  }
  const most = fresh > 1 ? before + fresh : state.places.length; // what one pass can see
  const seen = kind === "window" ? Math.min(to, most) : to;
  state.lengths[text] = to;
  state.passes.push({ text, from, to, seen, shared, taken });
  const matrices = 4 * width * width;
  state.now.columns[0] += fresh;
  state.now.columns[1] += to;
  state.now.products[0] += fresh * matrices + 2 * fresh * seen * width;
  state.now.products[1] += to * matrices + 2 * to * to * width;
}

/** What is in memory after so many steps, and what the last of them did. */
function story(given, step) {
  const counts = () => ({ columns: [0, 0], products: [0, 0] });
  const blocks = given.kind === "blocks" ? given.n_blocks : 0;
  const state = {
    places: Array(room(given)).fill(null),
    tables: [[], []],
    users: Array(blocks).fill(0),
    free: Array.from({ length: blocks }, (_, i) => i),
    lengths: [0, 0],
    fresh: new Map(),
    passes: [],
    left: [],
    now: counts(),
    all: [0, 0],
  };
  for (let n = 1; n <= step; n++) {
    Object.assign(state, { fresh: new Map(), passes: [], left: [], now: counts() });
    const goal = reached(given, n);
    goal.forEach((to, text) => {
      const from = state.lengths[text];
      if (from < to) pass(given, state, text, from, to);
      else if (state.tables[text].length) {
        release(state, text);
        state.left.push(text);
      }
    });
    state.all = state.all.map((sum, i) => sum + state.now.products[i]);
  }
  return { ...state, fresh: [...state.fresh] };
}

/** The entries one by one: what is there, and how it is used in this step. */
function entries(given, told) {
  const fresh = new Map(told.fresh);
  const read = new Set();
  for (const { text, to } of told.passes)
    if (given.kind === "window") told.places.forEach((held, place) => held && read.add(place));
    else for (let p = 0; p < to; p++) read.add(placeOf(given, told.tables, text, p));
  return told.places.map((held, place) => {
    if (!held) return { word: "", look: "empty", tag: "" };
    const words = [given.words, given.others][held.text];
    const used = given.kind !== "blocks" || told.users[Math.floor(place / given.block_size)] > 0;
    const look = fresh.has(place) ? "new" : read.has(place) ? "read" : used ? "kept" : "free";
    const was = fresh.get(place);
    const gone = was === undefined || was === null ? null : words[was];
    return { word: words[held.position], position: held.position, look, tag: gone ? `was “${gone}”` : look };
  });
}

const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;
const listed = (names) => names.join(names.length > 2 ? ", " : " and ");
const blocksOf = (numbers) => `${numbers.length === 1 ? "block" : "blocks"} ${listed(numbers)}`;
const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** “it” (block 1), or (block 3, taken now). */
function inBlock(given, told, { text, to, taken }) {
  const word = [given.words, given.others][text][to - 1];
  const block = told.tables[text].at(-1);
  return `“${word}” (block ${block}${taken.length ? ", taken now" : ""})`;
}

function sentenceOfBlocks(given, told) {
  const parts = [];
  const [first, second] = [0, 1].map((text) => told.passes.find((p) => p.text === text));
  for (const text of told.left) {
    const names = text ? ["second", "first"] : ["first", "second"];
    const kept = told.tables[1 - text].filter((block) => told.places[block * given.block_size].text === text);
    parts.push(`the ${names[0]} text is done and gives its blocks back.`);
    const stay = kept.length === 1 ? "stays" : "stay";
    if (kept.length) parts.push(`${capital(blocksOf(kept))} ${stay}: the ${names[1]} text still reads ${kept.length === 1 ? "it" : "them"}.`);
  }
  if (first?.from === 0)
    parts.push(`the prompt of the first text, ${many(first.to, "word", "words")}, is computed into ${blocksOf(first.taken)}.`);
  else if (first) parts.push(`new in the first text: ${inBlock(given, told, first)}.`);
  if (second?.to === given.prompt) {
    const shared = told.tables[1].slice(0, second.shared / given.block_size);
    const are = shared.length === 1 ? "is" : "are";
    const whole = `the prompt of the second text, ${many(second.to, "word", "words")}, is computed into ${blocksOf(second.taken)}.`;
    const rest = second.to - second.from;
    const again = `${many(second.shared, "word is", "words are")} not computed again, ${rest} ${rest === 1 ? "is" : "are"}, into ${blocksOf(second.taken)}.`;
    parts.push(shared.length ? `the second text begins alike: ${blocksOf(shared)} ${are} shared, ${again}` : whole);
  } else if (second) parts.push(`new in the second text: ${inBlock(given, told, second)}.`);
  return parts.map((part, i) => (i ? capital(part) : part)).join(" ");
}

function sentence(given, step) {
  const { kind, words, prompt, window, sinks } = given;
  const told = story(given, step);
  if (!step) return `Nothing is kept yet: there is room for ${room(given)} entries, a key and a value each.`;
  const says = `Step ${step}: `;
  if (kind === "blocks") return says + sentenceOfBlocks(given, told);
  if (step === 1) {
    const kept = told.places.filter(Boolean).length;
    const all = kept < prompt ? `, and ${kept} of them kept` : " and kept";
    return `${says}the prompt, ${many(prompt, "word", "words")}, is read at once: ${many(prompt, "key and value is", "keys and values are")} computed${all}.`;
  }
  const [{ to, seen }] = told.passes;
  const [[, was]] = told.fresh;
  const word = `“${words[to - 1]}”`;
  const saved = `Without a cache, ${to} keys and values would be computed.`;
  if (kind === "whole")
    return `${says}only ${word} is new: one key and one value are computed, and its query reads all ${seen} entries. ${saved}`;
  const where = was === null ? `${word} is new and takes a free place.` : `${word} takes the place of “${words[was]}”, which is forgotten.`;
  const first = sinks === 1 ? "the first and " : sinks ? `the first ${sinks} and ` : "";
  const kept = seen < to ? `: ${first}the last ${window}` : "";
  return `${says}${where} Its query reads ${many(seen, "entry", "entries")}${kept}. ${saved}`;
}

/** One text as it is read: what is new, what is gone, what is still to come. */
function line(given, told, text) {
  const words = [given.words, given.others][text];
  const [length, from] = [told.lengths[text], told.passes.find((p) => p.text === text)?.from ?? Infinity];
  const held = new Set(told.places.filter(Boolean).map(({ position }) => position));
  const shown = words.map((word, i) => {
    const gone = given.kind === "window" && i < length && !held.has(i);
    const look = i >= length ? "later" : gone ? "gone" : i >= from ? "new" : "kept";
    return h("span", { class: `tfc-fill-word tfc-fill-${look}` }, word);
  });
  const name = given.kind === "blocks" ? [h("b", {}, `text ${text + 1}`)] : [];
  return h("p", { class: "tfc-sentence" }, ...name, ...shown);
}

const lowered = (n) => String(n).replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d]);

function column({ word, position, look, tag }, place) {
  const box = (letter) => h("span", { class: "tfc-fill-box" }, word ? letter + lowered(position) : "");
  const parts = [h("small", {}, `place ${place}`), h("span", {}, word || "–"), box("k"), box("v"), h("small", {}, tag || "room")];
  return h("li", { class: `tfc-fill-entry tfc-fill-${look}` }, ...parts);
}

function memory(given, told) {
  const columns = entries(given, told).map(column);
  if (given.kind !== "blocks") return columns;
  return told.users.map((users, block) => {
    const whose = [0, 1].filter((text) => told.tables[text].includes(block)).map((text) => text + 1);
    const name = `block ${block}: ${users ? `text ${listed(whose)}` : "free"}`;
    const list = h("ul", { class: "tfc-fill-memory" }, ...columns.slice(block * given.block_size, (block + 1) * given.block_size));
    return h("li", { class: `tfc-fill-block${users > 1 ? " tfc-fill-shared" : ""}` }, h("span", {}, name), list);
  });
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A cache that fills, step by step");
  const read = () => Object.fromEntries(TRAITS.map((trait) => [trait, model.get(trait)]));
  const set = (changes) => {
    for (const [trait, value] of Object.entries(changes)) model.set(trait, value);
    model.save_changes();
  };
  const names = { whole: "whole", window: "window", blocks: "blocks, two texts" };
  const kinds = KINDS.map((kind) => {
    const button = h("button", { type: "button", class: "tfc-choice" }, names[kind]);
    button.addEventListener("click", () => set({ kind, step: Math.min(model.get("step"), steps({ ...read(), kind })) }));
    return { kind, button };
  });
  const moves = [
    ["back", "◀", (now) => now - 1],
    ["step", "▶", (now) => now + 1],
    ["reset", "|◀", () => 0],
  ].map(([name, sign, to]) => {
    const button = h("button", { type: "button", class: "tfc-choice" }, h("span", { "aria-hidden": "true" }, `${sign} `), name);
    const possible = () => {
      const [now, count] = [model.get("step"), steps(read())];
      return to(now) !== now && to(now) >= 0 && to(now) <= count;
    };
    button.addEventListener("click", () => possible() && set({ step: to(model.get("step")) }));
    return { button, possible };
  });
  const where = h("span", { class: "tfc-fill-where" });
  const texts = h("div", {});
  const view = h("ul", { class: "tfc-fill-memory", "aria-label": "what is kept in memory" });
  const cells = [0, 1, 2, 3].map(() => [h("td", { class: "tfc-number" }), h("td", { class: "tfc-number" })]);
  const rows = ["keys and values computed now", "multiplications now", "multiplications so far", "entries kept"];
  const head = ["in one layer", "with cache", "without"].map((name, i) => h("th", { scope: "col", class: i ? "tfc-number" : "" }, name));
  const table = h(
    "table",
    { class: "tfc-table tfc-fill-counts" },
    h("thead", {}, h("tr", {}, ...head)),
    h("tbody", {}, ...rows.map((name, i) => h("tr", {}, h("th", { scope: "row" }, name), ...cells[i]))),
  );
  says.classList.add("tfc-fill-says");
  const group = (name, buttons) => h("div", { class: "tfc-choices", role: "group", "aria-label": name }, ...buttons);
  box.append(
    group("what is kept", kinds.map(({ button }) => button)),
    group("steps", [...moves.map(({ button }) => button), where]),
    says,
    texts,
    h("p", { class: "tfc-axis" }, "memory: a key and a value for each entry; filled: computed in this step; outlined: read in it; dashed: room"),
    view,
    table,
  );

  redraw(model, TRAITS, view, () => {
    const given = read();
    const [step, count] = [Math.min(given.step, steps(given)), steps(given)];
    const told = story(given, step);
    for (const { kind, button } of kinds) button.setAttribute("aria-pressed", String(kind === given.kind));
    for (const { button, possible } of moves) {
      button.setAttribute("aria-disabled", String(!possible()));
      button.style.opacity = possible() ? 1 : 0.5;
    }
    where.textContent = `step ${step} of ${count}`;
    texts.replaceChildren(...(given.kind === "blocks" ? [0, 1] : [0]).map((text) => line(given, told, text)));
    view.replaceChildren(...memory(given, told));
    const kept = entries(given, told).filter(({ look }) => look !== "empty" && look !== "free").length;
    [told.now.columns, told.now.products, told.all, [kept, 0]].forEach((pair, i) =>
      pair.forEach((n, j) => (cells[i][j].textContent = grouped(n))),
    );
    say(sentence(given, step));
  });
}

export default { render, steps, story, entries, sentence };
