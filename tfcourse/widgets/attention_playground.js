// Attention over a short sentence: scores, weights and the mix of values, in two dimensions.
const TRAITS = ["sentence", "table", "axes", "across", "up", "place", "causal"];
const MOST = 12; // words that are read
const REACH = 3.2; // of the plane of keys: the query goes from −3 to 3

/** The words of a sentence, as they are written. */
const split = (sentence) => sentence.split(/\s+/).filter(Boolean).slice(0, MOST);

/** How a word is looked up: in small letters, without the marks around it. */
const plain = (word) => word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") || word;

/** Six numbers from −1.6 to 1.6 for any letters (FNV-1a): they mean nothing. */
function hashed(word) {
  return [0, 1, 2, 3, 4, 5].map((number) => {
    let hash = 0x811c9dc5;
    for (const sign of `${number}${word}`)
      hash = Math.imul(hash ^ sign.codePointAt(0), 0x01000193) >>> 0;
    return ((hash % 33) - 16) / 10;
  });
}

/** Query, key and value of a word: from the table, else from its letters. */
function vectors(word, table) {
  const name = plain(word);
  const numbers = Object.hasOwn(table, name) ? table[name] : hashed(name);
  const [query, key, value] = [0, 2, 4].map((start) => numbers.slice(start, start + 2));
  return { query, key, value, known: Object.hasOwn(table, name) };
}

/** Scores q·k/√2, their softmax over the first `seen` words, and the mix of the values. */
function attend(words, table, query, seen) {
  const all = words.map((word) => vectors(word, table));
  const scores = all.map(({ key }) => (query[0] * key[0] + query[1] * key[1]) / Math.SQRT2);
  const best = Math.max(...scores.slice(0, seen));
  const powers = scores.map((score, i) => (i < seen ? Math.exp(score - best) : 0));
  const total = powers.reduce((sum, power) => sum + power, 0);
  const weights = powers.map((power) => power / total);
  const mix = [0, 1].map((i) =>
    all.reduce((sum, { value }, word) => sum + weights[word] * value[i], 0),
  );
  return { scores, weights, mix };
}

const number = (x, digits = 2) => x.toFixed(digits).replace(/^-(0\.0*)$/, "$1").replace("-", "−");

function sentence(words, place, seen, weights, mix) {
  const order = words.map((_, i) => i).sort((one, other) => weights[other] - weights[one]);
  const [first, second] = order;
  const then = seen > 1 ? `, then on ${words[second]}: ${number(weights[second])}` : "";
  const hidden = words.length - seen;
  const behind = hidden > 1 ? `the ${hidden} words after it are` : "the word after it is";
  const mask = hidden ? ` (${behind} masked)` : "";
  const most = `“${words[place]}” puts most weight on ${words[first]}: ${number(weights[first])}`;
  return `${most}${then}${mask}. Mix of the values: (${mix.map((x) => number(x)).join(", ")}).`;
}

/** What is known of the words' vectors, for those who type their own sentence. */
function origin(words, table) {
  const unknown = words.filter((word) => !vectors(word, table).known);
  const names = [...new Set(unknown)].join(", ");
  if (!unknown.length) return "All vectors are made by hand, to show the idea.";
  return `Not in the table, so made from their letters and without meaning: ${names}.`;
}

/** A plane with two axes through its middle, `size` pixels wide. */
function plane(size, reach, ...drawn) {
  const half = size / 2;
  const lines = [];
  for (let step = -Math.floor(reach); step <= reach; step++) {
    const at = (step / reach) * half;
    const look = step ? {} : { class: "tfc-zero" };
    lines.push(s("line", { x1: at, x2: at, y1: -half, y2: half, ...look }));
    lines.push(s("line", { x1: -half, x2: half, y1: at, y2: at, ...look }));
  }
  const shape = { viewBox: `${-half} ${-half} ${size} ${size}`, width: size, height: size };
  const look = { "aria-hidden": "true", style: "margin: 0 auto" };
  return s("svg", { ...shape, ...look }, s("g", { class: "tfc-grid" }, ...lines), ...drawn);
}

/** The name of a word beside its point, once where a word stands twice. */
function named(words, places, unit, weights) {
  const written = new Set();
  return words.flatMap((word, i) => {
    const [x, y] = [places[i][0] * unit, -places[i][1] * unit];
    const spot = `${plain(word)} ${x} ${y}`;
    if (written.has(spot)) return [];
    written.add(spot);
    const shown = words.some((other, j) => plain(other) === plain(word) && weights[j] > 0);
    const side = x < 0 ? { x: x - 9, "text-anchor": "end" } : { x: x + 9, "text-anchor": "start" };
    const look = shown ? "" : "opacity: 0.6; text-decoration: line-through";
    const name = word.length > 10 ? `${word.slice(0, 9)}…` : word;
    return [s("text", { ...side, y: y + 4, style: look }, name)];
  });
}

/** The keys, with lines as thick as their weights, and the query with its knob. */
function keyPlane(words, keys, query, weights, axes, size) {
  const unit = size / 2 / REACH;
  const lines = keys.map(([x, y], i) => {
    const width = weights[i] ? 1 + 6 * weights[i] : 1;
    const look = { stroke: "var(--tfc-hue)", "stroke-width": width };
    const dash = weights[i] ? {} : { "stroke-dasharray": "2 4", "stroke-opacity": 0.5 };
    return s("line", { x1: 0, y1: 0, x2: x * unit, y2: -y * unit, ...look, ...dash });
  });
  const dots = keys.map(([x, y]) => s("circle", { cx: x * unit, cy: -y * unit, r: 4 }));
  const [x, y] = [query[0] * unit, -query[1] * unit];
  const edge = size / 2 - 5;
  return plane(
    size,
    REACH,
    s("text", { x: edge, y: edge, "text-anchor": "end" }, `${axes[0]} →`),
    s("text", { x: 6, y: 12 - edge }, `↑ ${axes[1]}`),
    s("g", { class: "tfc-entry-0" }, ...lines),
    s("line", { x1: 0, y1: 0, x2: x, y2: y, class: "tfc-query", style: "stroke-width: 3" }),
    s("g", { class: "tfc-space-word tfc-entry-0" }, ...dots, ...named(words, keys, unit, weights)),
    s("circle", { cx: x, cy: y, r: 11, class: "tfc-knob" }),
    s("text", { x, y: y + 4, "text-anchor": "middle", class: "tfc-q" }, "q"),
  );
}

/** The values, larger with their weight, and their mix, which hangs on all of them. */
function valuePlane(words, values, weights, mix, size) {
  const reach = 2.6;
  const unit = size / 2 / reach;
  const [x, y] = [mix[0] * unit, -mix[1] * unit];
  const strings = values.map((value, i) =>
    s("line", {
      ...{ x1: x, y1: y, x2: value[0] * unit, y2: -value[1] * unit },
      ...{ stroke: "var(--tfc-plum)", "stroke-width": 8 * weights[i] },
    }),
  );
  const dots = values.map(([across, up], i) =>
    s("circle", { cx: across * unit, cy: -up * unit, r: 3 + 6 * Math.sqrt(weights[i]) }),
  );
  return plane(
    size,
    reach,
    ...strings,
    s("g", { class: "tfc-space-word tfc-entry-0" }, ...dots, ...named(words, values, unit, weights)),
    s("circle", { cx: x, cy: y, r: 7, style: "fill: var(--tfc-plum); stroke: var(--tfc-paper)" }),
    s(
      "g",
      { class: "tfc-space-word" },
      s("text", { x, y: y - 11, "text-anchor": "middle", style: "font-weight: 700" }, "mix"),
    ),
  );
}

/** A row of the table: a word to press, its score, and its weight as bar and number. */
function makeRow(word, press) {
  const button = h("button", { type: "button" }, word);
  button.style.cssText = "max-width: 8rem; overflow: hidden; text-overflow: ellipsis";
  button.addEventListener("click", press);
  const score = h("td", { class: "tfc-number" });
  const bar = h("span", { class: "tfc-bar" });
  const weight = h("td", { class: "tfc-number" });
  const track = h("td", { class: "tfc-track" }, h("span", {}, bar));
  const row = h("tr", { class: "tfc-entry-0" }, h("th", { scope: "row" }, button), score, track, weight);
  const show = (asks, masked, value, share) => {
    button.setAttribute("aria-pressed", String(asks));
    button.className = `tfc-pick ${masked ? "tfc-masked" : ""}`;
    score.textContent = masked ? "masked" : number(value);
    bar.style.width = `${100 * share}%`;
    weight.textContent = number(share);
  };
  return { row, show };
}

/** The knob of the query can be dragged; a mouse may also press where it should go. */
function drag(holder, model) {
  const move = (event) => {
    const { left, top, width } = holder.firstChild.getBoundingClientRect();
    const place = [event.clientX - left, top + width - event.clientY];
    const [across, up] = place.map((pixels) => {
      const at = Math.round(10 * REACH * ((2 * pixels) / width - 1)) / 10;
      return Math.min(3, Math.max(-3, at));
    });
    model.set("across", across);
    model.set("up", up);
    model.save_changes();
  };
  const knob = (event) => event.target.classList.contains("tfc-knob");
  draggable(holder, move, (event) => event.pointerType !== "touch" || knob(event));
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Attention over a sentence");
  const field = h("input", { type: "text", maxlength: 120, autocomplete: "off" });
  field.style.cssText =
    "width: 100%; box-sizing: border-box; padding: 0.3rem 0.5rem; font: inherit;" +
    "color: var(--tfc-ink); background: var(--tfc-paper);" +
    "border: 1px solid var(--tfc-soft); border-radius: 4px";
  field.dataset.lmSuppressShortcuts = "true";
  field.addEventListener("input", () => {
    model.set("sentence", field.value);
    model.save_changes();
  });
  const causal = h("button", { type: "button", class: "tfc-choice" }, "causal mask");
  causal.addEventListener("click", () => {
    model.set("causal", !model.get("causal"));
    model.save_changes();
  });
  const sliders = ["across", "up"].map((trait, i) => {
    const label = `query: ${model.get("axes")[i]}`;
    return slider(model, { trait, label, min: -3, max: 3, step: 0.1, format: (x) => number(x, 1) });
  });

  const left = h("div", { style: "cursor: crosshair" });
  const right = h("div", {});
  const halves = [["query and keys (drag q)", left], ["values, and their mix", right]].map(
    ([title, holder]) => h("div", {}, h("p", { class: "tfc-axis" }, title), holder),
  );
  const heads = [["word"], ["q·k/√2"], ["weight", 2]].map(([name, span = 1]) =>
    h("th", { scope: "col", colspan: span }, name),
  );
  const body = h("tbody", {});
  const table = h(
    "table",
    { class: "tfc-table" },
    h("caption", {}, "Press a word to let it ask, with its own query."),
    h("thead", {}, h("tr", {}, ...heads)),
    body,
  );
  const note = h("p", { class: "tfc-axis", style: "margin-top: 0.4rem" });
  box.append(
    h("label", { style: "display: block; margin-bottom: 0.6rem" }, "sentence", field),
    h("div", { class: "tfc-choices" }, causal),
    h("div", { class: "tfc-halves" }, ...halves),
    h("div", { class: "tfc-sliders", style: "margin-top: 0.6rem" }, ...sliders),
    h("div", { class: "tfc-wide" }, table),
    says,
    note,
  );
  drag(left, model);

  const ask = (i) => {
    const { query } = vectors(split(model.get("sentence"))[i], model.get("table"));
    model.set("place", i);
    model.set("across", query[0]);
    model.set("up", query[1]);
    model.save_changes();
  };
  let rows = [];
  let shown = null;
  redraw(model, TRAITS, left, (width) => {
    const [text, known, axes, across, up, wanted, on] = TRAITS.map((name) => model.get(name));
    const words = split(text);
    const place = Math.min(wanted, words.length - 1);
    if (field.value !== text) field.value = text;
    causal.setAttribute("aria-pressed", String(on));
    if (shown !== text) {
      rows = words.map((word, i) => makeRow(word, () => ask(i)));
      body.replaceChildren(...rows.map(({ row }) => row));
      shown = text;
    }
    const size = Math.max(160, Math.min(width, 320));
    if (!words.length) {
      left.replaceChildren(plane(size, REACH));
      right.replaceChildren(plane(size, REACH));
      note.textContent = "";
      say("Without a word there is nothing to attend to: type a sentence.");
      return;
    }
    const seen = on ? place + 1 : words.length;
    const { scores, weights, mix } = attend(words, known, [across, up], seen);
    const all = words.map((word) => vectors(word, known));
    const [keys, values] = ["key", "value"].map((kind) => all.map((word) => word[kind]));
    left.replaceChildren(keyPlane(words, keys, [across, up], weights, axes, size));
    right.replaceChildren(valuePlane(words, values, weights, mix, size));
    rows.forEach(({ show }, i) => show(i === place, i >= seen, scores[i], weights[i]));
    note.textContent = origin(words, known);
    say(sentence(words, place, seen, weights, mix));
  });
}

export default { render, attend, split, vectors };
