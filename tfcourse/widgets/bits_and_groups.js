// A real weight matrix in fewer bits: the steps, the error, and what is truly stored.
const TRAITS = ["weights", "columns", "bits", "group", "symmetric", "clip", "row", "outlier"];
const BITS = [1, 2, 3, 4, 5, 6, 7, 8];
const [HEIGHT, BINS] = [190, 72]; // of the histogram
const CURVE = 250; // height of the second picture
const PLANTED = 4; // times the largest weight

/** The weights, two bytes each: the upper half of a float32, as bfloat16 keeps it. */
function decode(coded) {
  const bytes = Uint8Array.from(atob(coded), (sign) => sign.charCodeAt(0));
  const words = new Uint32Array(bytes.length / 2);
  words.forEach((_, i) => {
    words[i] = ((bytes[2 * i + 1] << 24) | (bytes[2 * i] << 16)) >>> 0;
  });
  return new Float32Array(words.buffer);
}

/** The row in the middle, where an outlier is planted. */
const middleRow = (weights, columns) => Math.floor(weights.length / columns / 2);

/** The same with a weight that is not the model's: the first of that row, far too large. */
function planted(weights, columns) {
  const changed = weights.slice();
  const largest = weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
  changed[middleRow(weights, columns) * columns] = PLANTED * largest;
  return changed;
}

/** The weights that are quantized. */
function weightsOf({ weights, columns, outlier }) {
  const plain = decode(weights);
  return outlier ? planted(plain, columns) : plain;
}

/** To the nearest whole number, halves to the even one, as IEEE 754 and PyTorch round. */
function nearest(x) {
  const up = Math.floor(x + 0.5);
  return up - x === 0.5 && up % 2 ? up - 1 : up;
}

/** A scale as float16 keeps it: rounded up, so that the largest weight still has a code. */
function half(x) {
  const power = Math.max(Math.floor(Math.log2(x)), -14);
  const unit = 2 ** (power - 10);
  return Math.max(Math.ceil(x / unit), 1) * unit;
}

/** The levels of one group: the size of a step, and the codes that there are. */
function grid(weights, start, end, { bits, symmetric, clip }) {
  let [low, high] = [0, 0]; // the range reaches 0, which must have a code of its own
  for (let i = start; i < end; i++) {
    if (weights[i] < low) low = weights[i];
    if (weights[i] > high) high = weights[i];
  }
  const round = Math.fround; // as the package computes, in float32
  const kept = (end) => round(round(clip) * end);
  if (symmetric) {
    const last = 2 ** (bits - 1) - 1;
    return { step: half(round(kept(Math.max(-low, high)) / last)), zero: 0, first: -last, last };
  }
  const last = 2 ** bits - 1;
  [low, high] = [kept(low), kept(high)];
  const step = half(round(round(high - low) / last));
  const zero = Math.min(last, nearest(round(-low / step)));
  return { step, zero, first: -zero, last: last - zero };
}

/** The code of a weight, less the code of 0. */
function code(weight, { step, first, last }) {
  return Math.min(last, Math.max(first, nearest(Math.fround(weight / step))));
}

/** Whether there is such a grid: symmetric ones have 2^(bits − 1) − 1 steps to each side. */
const exists = ({ bits, symmetric }) => bits > 1 || !symmetric;

/** The weights that come back, group by group; a `group` of 0 is all of them. */
function restored(weights, settings) {
  const size = settings.group || weights.length;
  const back = new Float32Array(weights.length);
  for (let start = 0; start < weights.length; start += size) {
    const levels = grid(weights, start, start + size, settings);
    for (let i = start; i < start + size; i++) back[i] = levels.step * code(weights[i], levels);
  }
  return back;
}

/** How far off the weights are that come back, as a share of them, by roots of mean squares. */
function share(weights, back) {
  let [wrong, all] = [0, 0];
  for (let i = 0; i < weights.length; i++) {
    wrong += (weights[i] - back[i]) ** 2;
    all += weights[i] ** 2;
  }
  return Math.sqrt(wrong / all);
}

/** The error, and bytes to store. */
function measure(weights, settings) {
  const { bits, group, symmetric } = settings;
  const count = group ? weights.length / group : 1;
  const packed = (n) => Math.ceil((n * bits) / 8);
  const parts = { codes: packed(weights.length), scales: 2 * count, zeros: symmetric ? 0 : packed(count) };
  const bytes = parts.codes + parts.scales + parts.zeros;
  return { error: share(weights, restored(weights, settings)), ...parts, bytes, bits: (8 * bytes) / weights.length };
}

/** Scales for: the whole matrix, a row, and ever smaller parts of one. */
function groupings(columns) {
  const parts = [2, 4, 8, 16, 32].map((n) => columns / n);
  return [0, columns, ...parts.filter((size) => Number.isInteger(size) && size >= 8)];
}

/** Every number of bits with every grouping, the rest as it is set. */
function everySetting(weights, columns, { symmetric, clip }) {
  return groupings(columns).flatMap((group) =>
    BITS.map((bits) => ({ bits, group, symmetric, clip }))
      .filter(exists)
      .map((settings) => ({ ...settings, ...measure(weights, settings), width: settings.bits })),
  );
}

const digits = (x) => String(Number(x.toPrecision(3)));
const percent = (share) => `${digits(100 * share)}\u00a0%`;
const signed = (x) => digits(x).replace("-", "−");
const counted = (n) => String(n).replace(/^\d{5,}/, (text) => text.replace(/\B(?=(\d{3})+$)/g, "\u202f"));

/** What shares a scale, in words. */
function sharing(group, columns) {
  if (!group) return "the matrix";
  return group === columns ? "each row" : `${group} weights`;
}

const inBits = (bits) => (bits === 1 ? "1 bit" : `${bits} bits`);

/** Of all settings the one with the least error that needs no more room than this. */
function better(all, found) {
  const fitting = all.filter(({ bytes }) => bytes <= found.bytes);
  const best = fitting.reduce((a, b) => (b.error < a.error ? b : a), found);
  return best.error < 0.995 * found.error ? best : null;
}

/** The weights that are looked at: the first group of the row, or all. */
function looked(weights, columns, { group, row }) {
  const start = group ? row * columns : 0;
  return weights.subarray(start, start + (group || weights.length));
}

function sentence(weights, columns, settings, all) {
  const { bits, group, symmetric, clip, row } = settings;
  const part = looked(weights, columns, settings);
  const where = group ? ` in row ${row}` : "";
  const how = `${inBits(bits)}, ${symmetric ? "symmetric" : "affine"}, one scale for ${sharing(group, columns)}`;
  if (!exists(settings)) {
    const largest = part.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
    return `${how}: there is no such grid. A step${where} would be ${digits(clip * largest)} / (2⁰ − 1). Take the affine one.`;
  }
  const found = measure(weights, settings);
  const own = share(...[weights, restored(weights, settings)].map((all) => all.subarray(row * columns, (row + 1) * columns)));
  const { step } = grid(part, 0, part.length, settings);
  const cut = clip < 1 ? `, clipped at ${percent(clip)} of the range` : "";
  const best = better(all, found);
  const instead = best
    ? ` Better in no more room: ${inBits(best.width)} with one scale for ${sharing(best.group, columns)}, ${percent(best.error)}.`
    : " No other of these settings is better in as little room.";
  return `${how}${cut}: ${found.bits.toFixed(3)} true bits a weight, an error of ${percent(found.error)}, of row ${row} alone ${percent(own)}. A step${where} is ${digits(step)}.${instead}`;
}

/** What the figure finds out about one setting. */
function look(given) {
  const weights = weightsOf(given);
  const all = everySetting(weights, given.columns, given);
  const reach = weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
  return {
    all,
    restored: exists(given) ? [...restored(weights, given)] : [],
    histogram: histogram(weights, given.columns, given, reach),
    told: sentence(weights, given.columns, given, all),
  };
}

/** The weights of the group that is looked at, in bins, and how many fall on each level. */
function histogram(weights, columns, settings, reach) {
  const part = looked(weights, columns, settings);
  const bins = Array(BINS).fill(0);
  for (const w of part) bins[Math.min(BINS - 1, Math.floor(((w + reach) / (2 * reach)) * BINS))]++;
  if (!exists(settings)) return { bins, levels: [], step: 0, size: part.length };
  const levels = grid(part, 0, part.length, settings);
  const held = Array(levels.last - levels.first + 1).fill(0);
  for (const w of part) held[code(w, levels) - levels.first]++;
  const named = held.map((count, i) => ({ at: levels.step * (levels.first + i), count }));
  return { bins, levels: named, step: levels.step, size: part.length };
}

/** The weights in grey, the levels as lines, both as shares of the group for a unit of width. */
function steps(weights, columns, settings, width) {
  const reach = 1.02 * weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
  const { bins, levels, step, size } = histogram(weights, columns, settings, reach);
  const [left, right, top, bottom] = [6, width - 6, 8, HEIGHT - 40];
  const x = (w) => left + ((w + reach) / (2 * reach)) * (right - left);
  const bin = (2 * reach) / BINS;
  const most = Math.max(...bins) / bin / size;
  const high = (count, wide) => Math.min(1, count / wide / size / most) * (bottom - top);
  const shapes = bins.map((count, i) =>
    s("rect", {
      x: x(-reach + i * bin),
      y: bottom - high(count, bin),
      width: (right - left) / BINS - 0.5,
      height: high(count, bin),
      class: "tfc-bits-weights",
    }),
  );
  const thick = Math.max(0.6, Math.min(3, ((x(step) - x(0)) || 1) / 4));
  const lines = levels.map(({ at, count }) =>
    s("line", {
      x1: x(at),
      x2: x(at),
      y1: bottom + 6,
      y2: bottom - (count ? Math.max(2, high(count, step)) : 0),
      class: "tfc-bits-level",
      style: `stroke-width: ${thick.toFixed(2)}`,
    }),
  );
  const ticks = [-reach, 0, reach].map((w, i) => {
    const anchor = ["start", "middle", "end"][i];
    return s("text", { x: x(w), y: HEIGHT - 20, "text-anchor": anchor }, signed(w));
  });
  const middle = { x: (left + right) / 2, y: HEIGHT - 4, "text-anchor": "middle" };
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, "aria-hidden": "true" },
    ...shapes,
    s("line", { x1: left, x2: right, y1: bottom, y2: bottom, style: "stroke: var(--tfc-soft)" }),
    ...lines,
    ...ticks,
    s("text", middle, "weight"),
  );
}

const [MOST, LEAST] = [2, 0.001]; // errors that the second picture has room for

/** Every setting as a dot: true bits and error. The grouping that is set is a line. */
function tradeOff(all, settings, width, label) {
  const [left, right, top, bottom] = [46, width - 12, 10, CURVE - 42];
  const x = (bits) => left + ((bits - 1) / 9) * (right - left);
  const down = (error) => Math.log(MOST / Math.max(error, LEAST)) / Math.log(MOST / LEAST);
  const y = (error) => top + down(error) * (bottom - top);
  const lines = s("g", { class: "tfc-grid" });
  for (const error of [1, 0.1, 0.01, 0.001]) {
    lines.append(s("line", { x1: left, x2: right, y1: y(error), y2: y(error) }));
    lines.append(s("text", { x: left - 6, y: y(error) + 4, "text-anchor": "end" }, percent(error)));
  }
  for (let bits = 1; bits <= 10; bits++)
    lines.append(s("text", { x: x(bits), y: bottom + 18, "text-anchor": "middle" }, String(bits)));
  const middle = { x: (left + right) / 2, y: CURVE - 6, "text-anchor": "middle" };
  lines.append(s("text", middle, "true bits a weight, all counted"));
  const dots = all.map((found) => s("circle", { cx: x(found.bits), cy: y(found.error), r: 2.2, class: "tfc-bits-other" }));
  const mine = all.filter(({ group }) => group === settings.group);
  const points = mine.map((found) => `${x(found.bits)},${y(found.error)}`).join(" ");
  const now = mine.filter((found) => found.width === settings.bits);
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${CURVE}`, width, height: CURVE, role: "img", "aria-label": label },
    lines,
    ...dots,
    s("polyline", { points, class: "tfc-curve tfc-bits-mine" }),
    ...now.map((found) => s("circle", { cx: x(found.bits), cy: y(found.error), r: 6, class: "tfc-spot" })),
  );
}

function button(label, press) {
  const made = h("button", { type: "button", class: "tfc-choice" }, label);
  made.addEventListener("click", press);
  return made;
}

/** Buttons that give a trait one of some values, and show which it has. */
function choices(model, trait, options) {
  return options.map(([label, value, otherwise]) => {
    const press = () => {
      model.set(trait, model.get(trait) === value && otherwise !== undefined ? otherwise : value);
      model.save_changes();
    };
    const made = button(label, press);
    const show = () => made.setAttribute("aria-pressed", String(model.get(trait) === value));
    model.on(`change:${trait}`, show);
    show();
    return made;
  });
}

function groupSlider(model, columns) {
  const stops = groupings(columns);
  const look = (group) => Math.max(0, stops.indexOf(group));
  const field = { trait: "stop", label: "one scale for", min: 0, max: stops.length - 1, step: 1 };
  const format = (at) => sharing(stops[at], columns);
  return slider(lens(model, "group", look, (at) => stops[at]), { ...field, format });
}

function legend() {
  const entries = [
    ["the weights of the group", "tfc-bits-weights"],
    ["how many become one level", "tfc-bits-level"],
  ].map(([label, look]) => {
    const sample = { width: 22, height: 12, "aria-hidden": "true" };
    const shape =
      look === "tfc-bits-level"
        ? s("line", { x1: 11, x2: 11, y1: 0, y2: 12, class: look, style: "stroke-width: 3" })
        : s("rect", { x: 0, y: 1, width: 22, height: 10, class: look });
    return h("li", {}, s("svg", sample, shape), label);
  });
  return h("ul", { class: "tfc-legend" }, ...entries);
}

function table(found, count) {
  const rows = [
    ["codes", found.codes],
    ["scales, 16 bits each", found.scales],
    ["zero points", found.zeros],
    ["together", found.bytes],
    ["the weights in bfloat16", 2 * count],
  ].map(([name, bytes]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      h("td", { class: "tfc-number" }, counted(bytes)),
      h("td", { class: "tfc-number" }, ((8 * bytes) / count).toFixed(3)),
    ),
  );
  const heads = ["to be stored", "bytes", "bits a weight"].map((name, i) =>
    h("th", { scope: "col", class: i ? "tfc-number" : "" }, name),
  );
  return h("table", { class: "tfc-table tfc-bits-table" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A weight matrix in fewer bits");
  const columns = model.get("columns");
  const rows = decode(model.get("weights")).length / columns;
  const sliders = [
    slider(model, { trait: "bits", label: "bits of a code", min: 1, max: 8, step: 1, format: String }),
    slider(model, { trait: "row", label: "row that is looked at", min: 0, max: rows - 1, step: 1, format: String }),
    groupSlider(model, columns),
    slider(model, { trait: "clip", label: "range that is kept", min: 0.3, max: 1, step: 0.05, format: percent }),
  ];
  const buttons = [
    ...choices(model, "symmetric", [["symmetric", true], ["affine", false]]),
    ...choices(model, "outlier", [["plant an outlier", true, false]]),
  ];
  const [title, plot, curve, counts] = [h("p", { class: "tfc-axis" }), h("div", {}), h("div", {}), h("div", {})];
  says.classList.add("tfc-bits-says");
  box.append(
    h("div", { class: "tfc-choices" }, ...buttons),
    h("div", { class: "tfc-sliders" }, ...sliders),
    says,
    title,
    plot,
    legend(),
    h("p", { class: "tfc-axis tfc-bits-below" }, "error, as a share of the weights; dots: all bits with all groupings; line: this grouping"),
    curve,
    counts,
  );

  let [known, dots] = ["", []];
  redraw(model, TRAITS, plot, (width) => {
    const given = Object.fromEntries(TRAITS.map((trait) => [trait, model.get(trait)]));
    const weights = weightsOf(given);
    const key = [given.symmetric, given.clip, given.outlier, given.weights].join();
    if (key !== known) [known, dots] = [key, everySetting(weights, given.columns, given)];
    const told = sentence(weights, given.columns, given, dots);
    const size = given.group || weights.length;
    title.textContent = given.group
      ? `the ${size === given.columns ? "" : `first ${size} `}weights of row ${given.row}${given.outlier && given.row === middleRow(weights, given.columns) ? ", with the outlier" : ""}`
      : `all ${counted(size)} weights`;
    plot.replaceChildren(steps(weights, given.columns, given, width));
    curve.replaceChildren(tradeOff(dots, given, width, told));
    counts.replaceChildren(exists(given) ? table(measure(weights, given), weights.length) : "");
    say(told);
  });
}

export default { render, half, look };
