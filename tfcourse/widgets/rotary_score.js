// A query and a key turned by their positions, and their score against the distance.
const TRAITS = ["query", "key", "width", "base", "query_position", "key_position", "pair"];
const LAST = 63; // position
const WIDTHS = [2, 4, 8, 16, 32];
const [DIAL, HEIGHT] = [76, 210]; // of a dial as it is drawn, and of the curve
const [LEAST, GAP] = [68, 5]; // pixels: the narrowest picture of a dial, and between two

/** The pairs of a query and a key: how long, and how far apart, and what a step turns. */
function pairs(query, key, width, base) {
  return Array.from({ length: width / 2 }, (_, i) => {
    const [q, k] = [query, key].map((vector) => vector.slice(2 * i, 2 * i + 2));
    return {
      q: Math.atan2(q[1], q[0]), // the direction of the query, not yet turned
      k: Math.atan2(k[1], k[0]),
      sizes: [Math.hypot(...q), Math.hypot(...k)],
      speed: base ** ((-2 * i) / width),
    };
  });
}

/** What each pair adds to the score of a query at p and a key at r: what p − r decides. */
function parts(given, p, r) {
  return given.map(({ q, k, sizes, speed }) => {
    const apart = q + p * speed - (k + r * speed);
    return sizes[0] * sizes[1] * Math.cos(apart);
  });
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** The score of the turned vectors, by the numbers themselves: turn both, then multiply. */
function score(query, key, width, base, p, r) {
  const turn = (vector, place) =>
    Array.from({ length: width / 2 }, (_, i) => {
      const [x, y] = vector.slice(2 * i, 2 * i + 2);
      const angle = place / base ** ((2 * i) / width);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      return [x * cos - y * sin, x * sin + y * cos];
    }).flat();
  const turned = turn(key, r);
  return total(turn(query, p).map((x, i) => x * turned[i]));
}

const number = (x, digits = 2) => x.toFixed(digits).replace(/^-(0\.0*)$/, "$1").replace("-", "−");
const two = (x) => number(x);

/** A number of steps or degrees in words, short. */
const short = (x) => (x < 1000 ? Number(x.toPrecision(2)) : Math.round(x)).toLocaleString("en");

function sentence(given, p, r, pair) {
  const all = parts(given, p, r);
  const most = total(given.map(({ sizes }) => sizes[0] * sizes[1]));
  const lag = number(p - r, 0);
  const first = `Query at ${p}, key at ${r}, lag ${lag}: score ${two(total(all))} of at most ${two(most)}.`;
  if (pair < 0) return `${first} Any two positions with this lag have it.`;
  const { sizes, speed } = given[pair];
  const share = `Pair ${pair} adds ${two(all[pair])} of at most ${two(sizes[0] * sizes[1])}`;
  const turn = `${short((speed * 180) / Math.PI)}° a step, once round in ${short((2 * Math.PI) / speed)} steps`;
  return `${first} ${share}; it turns by ${turn}.`;
}

/** One pair as a dial: the query and the key, anticlockwise from the right. */
function dial(one, i, { p, r, part, longest, lit }) {
  const radius = DIAL / 2 - 5;
  const arrow = (angle, size, colour, look) => {
    const [x, y] = [Math.cos(angle), -Math.sin(angle)].map((a) => (a * radius * size) / longest);
    return [
      s("line", { x1: 0, y1: 0, x2: x, y2: y, style: `stroke: var(${colour}); ${look}` }),
      s("circle", { cx: x, cy: y, r: 3, style: `fill: var(${colour})` }),
    ];
  };
  const rim = lit
    ? "fill: var(--tfc-plum); fill-opacity: 0.14; stroke: var(--tfc-plum); stroke-width: 2.5"
    : "fill: transparent; stroke: var(--tfc-soft)";
  const face = s(
    "g",
    { transform: `translate(${DIAL / 2} ${DIAL / 2})` },
    s("circle", { r: radius, style: rim }),
    ...arrow(one.k + r * one.speed, one.sizes[1], "--tfc-orange", "stroke-width: 3; stroke-dasharray: 5 3"),
    ...arrow(one.q + p * one.speed, one.sizes[0], "--tfc-blue", "stroke-width: 3"),
  );
  const at = { x: DIAL / 2, "text-anchor": "middle" };
  const bold = `fill: var(--tfc-ink); font-size: 12px; font-weight: ${lit ? 700 : 400}`;
  const look = { "aria-hidden": "true", style: "width: 100%; cursor: pointer" };
  return s(
    "svg",
    { viewBox: `0 0 ${DIAL} ${DIAL + 30}`, "data-pair": i, ...look },
    face,
    s("text", { ...at, y: DIAL + 10, style: "font-size: 11.5px" }, `pair ${i}`),
    s("text", { ...at, y: DIAL + 25, style: bold }, two(part)),
  );
}

/** Columns for `count` dials, so that the rows are filled as evenly as they can be. */
function columns(count, wide) {
  const most = Math.max(1, Math.floor((wide + GAP) / (LEAST + GAP)));
  return Math.ceil(count / Math.ceil(count / most));
}

const across = (wide) => [40, wide - 10]; // from lag −63 to lag 63, in pixels

/** The score against the lag, the chosen pair's part of it, and a spot at the lag set. */
function curve(given, p, r, pair, wide, label) {
  const lags = Array.from({ length: 2 * LAST + 1 }, (_, i) => i - LAST);
  const most = total(given.map(({ sizes }) => sizes[0] * sizes[1])) || 1;
  const each = lags.map((lag) => parts(given, lag, 0));
  const sums = each.map(total);
  const lit = pair < 0 ? [] : each.map((all) => all[pair]);
  const least = Math.min(...sums, ...lit) < -most / 2 ? -most : -most / 2;
  const [left, right] = across(wide);
  const [top, bottom] = [10, HEIGHT - 36];
  const x = (lag) => left + ((lag + LAST) / (2 * LAST)) * (right - left);
  const y = (value) => top + ((most - value) / (most - least)) * (bottom - top);
  const grid = s("g", { class: "tfc-grid" });
  for (const level of [least, 0, most / 2, most]) {
    const line = { x1: left, x2: right, y1: y(level), y2: y(level) };
    grid.append(s("line", level ? line : { ...line, class: "tfc-zero" }));
    const at = { x: left - 6, y: y(level) + 4, "text-anchor": "end" };
    grid.append(s("text", at, number(level, Number.isInteger(level) ? 0 : 1)));
  }
  grid.append(s("line", { x1: x(0), x2: x(0), y1: top, y2: bottom, class: "tfc-zero" }));
  for (let lag = -60; lag <= 60; lag += 20) {
    const at = { x: x(lag), y: bottom + 16, "text-anchor": "middle" };
    grid.append(s("text", at, number(lag, 0)));
  }
  const middle = { x: (left + right) / 2, y: HEIGHT - 4, "text-anchor": "middle" };
  grid.append(s("text", middle, "lag p − r (below 0 the key comes later)"));
  const line = (values, look) => {
    const points = values.map((value, i) => `${x(lags[i])},${y(value)}`).join(" ");
    return s("polyline", { points, class: "tfc-curve", ...look });
  };
  const dashed = { style: "stroke: var(--tfc-plum)", "stroke-dasharray": "5 3" };
  const spot = { cx: x(p - r), cy: y(total(parts(given, p, r))), r: 5, class: "tfc-spot" };
  return s(
    "svg",
    { viewBox: `0 0 ${wide} ${HEIGHT}`, width: wide, height: HEIGHT, role: "img", "aria-label": label },
    grid,
    ...(lit.length ? [line(lit, dashed)] : []),
    line(sums, { style: "stroke: var(--tfc-blue); stroke-width: 2.6" }),
    s("circle", spot),
  );
}

/** The key, and where it must the query, moved so that they are `lag` apart. */
function placed(p, lag) {
  const query = Math.min(LAST, Math.max(0, p, lag), LAST + lag);
  return [query, query - lag];
}

/** A press or a drag on the curve sets the lag: the key moves. */
function point(holder, model) {
  const move = (event) => {
    const { left, width } = holder.getBoundingClientRect();
    const [start, end] = across(width);
    const share = (event.clientX - left - start) / (end - start);
    const lag = Math.min(LAST, Math.max(-LAST, Math.round((2 * share - 1) * LAST)));
    const [p, r] = placed(model.get("query_position"), lag);
    model.set("query_position", p);
    model.set("key_position", r);
    model.save_changes();
  };
  draggable(holder, move);
}

function baseSlider(model) {
  const put = (power) => Number((10 ** power).toPrecision(3));
  const field = { trait: "power", label: "base", min: 0.5, max: 6, step: 0.25 };
  const format = (power) => put(power).toLocaleString("en");
  return slider(lens(model, "base", Math.log10, put), { ...field, format });
}

/** The slider of the lit pair; none at its left end, and no more than there are pairs. */
function pairSlider(model) {
  const field = { trait: "pair", label: "pair that is lit", min: -1, step: 1 };
  const format = (pair) => (pair < 0 ? "none" : String(pair));
  const made = slider(model, { ...field, max: model.get("width") / 2 - 1, format });
  return { made, fit: (count) => made.querySelector("input").setAttribute("max", count - 1) };
}

function button(label, press) {
  const made = h("button", { type: "button", class: "tfc-choice" }, label);
  made.addEventListener("click", press);
  return made;
}

/** Moves query and key together, as far as both can go. */
function both(model, step) {
  const places = ["query_position", "key_position"].map((trait) => model.get(trait) + step);
  if (places.some((place) => place < 0 || place > LAST)) return;
  model.set("query_position", places[0]);
  model.set("key_position", places[1]);
  model.save_changes();
}

function legend() {
  const labels = { "--tfc-blue": "score, all pairs", "--tfc-plum": "the lit pair’s part" };
  const entries = Object.entries(labels).map(([colour, label]) => {
    const dash = colour === "--tfc-plum" ? { "stroke-dasharray": "5 3" } : {};
    const line = { x1: 0, x2: 30, y1: 6, y2: 6, ...dash, class: "tfc-curve" };
    const sample = { width: 30, height: 12, "aria-hidden": "true" };
    return h("li", {}, s("svg", sample, s("line", { ...line, style: `stroke: var(${colour})` })), label);
  });
  return h("ul", { class: "tfc-legend" }, ...entries);
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "The score of a turned query and a turned key");
  const range = { min: 0, max: LAST, step: 1, format: String };
  const sliders = [
    slider(model, { trait: "query_position", label: "query at p", ...range }),
    slider(model, { trait: "key_position", label: "key at r", ...range }),
  ];
  const lit = pairSlider(model);
  const held = Math.min(model.get("query").length, model.get("key").length);
  const widths = WIDTHS.filter((width) => width <= held).map((width) => {
    const made = button(`width ${width}`, () => {
      model.set("pair", Math.min(model.get("pair"), width / 2 - 1));
      model.set("width", width);
      model.save_changes();
    });
    return { made, show: (now) => made.setAttribute("aria-pressed", String(now === width)) };
  });
  const moves = [["both a step back", -1], ["both a step on", 1]].map(([label, step]) =>
    button(label, () => both(model, step)),
  );
  const dials = h("div", {});
  dials.addEventListener("click", (event) => {
    const found = event.target.closest("[data-pair]");
    if (!found) return;
    const pair = Number(found.dataset.pair);
    model.set("pair", pair === model.get("pair") ? -1 : pair);
    model.save_changes();
  });
  const plot = h("div", { style: "cursor: crosshair; touch-action: pan-y" });
  const below = { style: "margin-top: 0.8rem" };
  const titles = [
    "each pair, and what it adds: query solid, key dashed",
    "score of query and key (press to set the lag)",
  ].map((text) => h("p", { class: "tfc-axis", ...below }, text));
  box.append(
    h("div", { class: "tfc-sliders" }, ...sliders),
    h("div", { class: "tfc-choices" }, ...moves),
    titles[0],
    dials,
    titles[1],
    plot,
    legend(),
    h("div", { class: "tfc-sliders", ...below }, baseSlider(model), lit.made),
    h("div", { class: "tfc-choices" }, ...widths.map(({ made }) => made)),
    says,
  );
  point(plot, model);

  redraw(model, TRAITS, plot, (wide) => {
    const [query, key, width, base, p, r, chosen] = TRAITS.map((trait) => model.get(trait));
    const given = pairs(query, key, width, base);
    const pair = Math.min(chosen, given.length - 1);
    const all = parts(given, p, r);
    const longest = Math.max(...given.flatMap(({ sizes }) => sizes)) || 1;
    const told = sentence(given, p, r, pair);
    dials.style.cssText =
      `display: grid; gap: 0.3rem ${GAP}px; justify-content: space-between;` +
      `grid-template-columns: repeat(${columns(given.length, wide)}, minmax(0, ${DIAL}px))`;
    dials.replaceChildren(
      ...given.map((one, i) => dial(one, i, { p, r, part: all[i], longest, lit: i === pair })),
    );
    plot.replaceChildren(curve(given, p, r, pair, wide, told));
    lit.fit(given.length);
    for (const { show } of widths) show(width);
    say(told);
  });
}

export default { render, pairs, parts, score, placed, sentence };
