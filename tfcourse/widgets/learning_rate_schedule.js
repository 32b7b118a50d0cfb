// A learning rate that rises and falls, and Adam's walk with it over a toy landscape.
const TRAITS = ["steps", "warm_up", "floor", "lr", "noise"];
const [COS, SIN] = [0.8, 0.6]; // the valleys lie askew
const [STEEP, FLAT] = [16, 3]; // how much they curve across, and along
const [DEEP, SHALLOW] = [[-0.4, -0.25], [0.4, 0.25]]; // where they are lowest
const [GAP, SOFT] = [0.3, 0.02]; // how much higher the second is; what rounds the pass
const START = [-0.1, 0.35];
const NOISES = 100;
const REACH = 1.2; // of the map, from its middle
const LEVELS = [0.02, 0.06, 0.15, 0.3, 0.45, 0.65, 1, 1.6, 2.4, 3.5, 5, 7];
const HEIGHT = 190; // of the picture of the rates

/** The learning rate at each step: up evenly, then half a cosine down. */
function schedule(steps, warmUp, floor, lr) {
  return Array.from({ length: steps }, (_, step) => {
    if (step < warmUp) return (lr * (step + 1)) / warmUp;
    const done = (step - warmUp) / Math.max(1, steps - warmUp);
    return lr * (floor + ((1 - floor) * (1 + Math.cos(Math.PI * done))) / 2);
  });
}

function valley(x, y, lowest) {
  const [dx, dy] = [x - lowest[0], y - lowest[1]];
  const [across, along] = [COS * dx - SIN * dy, SIN * dx + COS * dy];
  const height = (STEEP * across * across + FLAT * along * along) / 2;
  const [pull, drift] = [STEEP * across, FLAT * along];
  return [height, COS * pull + SIN * drift, COS * drift - SIN * pull];
}

/** The lower of two valleys, rounded where they meet: height, slope, whether the deep. */
function land(x, y) {
  const [deep, px, py] = valley(x, y, DEEP);
  const [shallow, ox, oy] = valley(x, y, SHALLOW);
  const apart = deep - (shallow + GAP);
  const round = Math.sqrt(apart * apart + SOFT);
  const share = (1 - apart / round) / 2;
  const height = (deep + (shallow + GAP) - round) / 2;
  return [height, share * px + (1 - share) * ox, share * py + (1 - share) * oy, apart < 0];
}

/** Noise of variance 1 by its number: sums of four numbers of a congruential generator. */
function noise(number) {
  let state = Math.imul(number, 2654435761); // multiplies modulo 2^32
  const next = () => {
    state = (Math.imul(1664525, state) + 1013904223) | 0;
    return (state >>> 0) / 4294967296;
  };
  const draw = () => (next() + next() + next() + next() - 2) * Math.sqrt(3);
  draw(); // the first ones warm it up
  draw();
  return draw;
}

/** Adam's walk: where it is before the first step and after each. */
function walk(rates, number) {
  const draw = noise(number);
  let [x, y] = START;
  let [mx, my, vx, vy, restM, restV] = [0, 0, 0, 0, 1, 1];
  const places = [[x, y]];
  for (const rate of rates) {
    const [, slopeX, slopeY] = land(x, y);
    const [gx, gy] = [slopeX + draw(), slopeY + draw()];
    [mx, my] = [0.9 * mx + (1 - 0.9) * gx, 0.9 * my + (1 - 0.9) * gy];
    [vx, vy] = [0.95 * vx + (1 - 0.95) * (gx * gx), 0.95 * vy + (1 - 0.95) * (gy * gy)];
    restM *= 0.9;
    restV *= 0.95;
    x -= (rate * (mx / (1 - restM))) / (Math.sqrt(vx / (1 - restV)) + 1e-8);
    y -= (rate * (my / (1 - restM))) / (Math.sqrt(vy / (1 - restV)) + 1e-8);
    places.push([x, y]);
  }
  return places;
}

const lowest = land(...DEEP)[0];

/** How far above the lowest point a walk ends, and whether in the deep valley. */
function end(places) {
  const [height, , , deep] = land(...places.at(-1));
  return { height: height - lowest, deep };
}

/** The mean end of the walks with all noises, and how many of them are in the deep valley. */
function overall(rates) {
  const ends = Array.from({ length: NOISES }, (_, i) => end(walk(rates, i + 1)));
  const total = ends.reduce((sum, { height }) => sum + height, 0);
  return { mean: total / NOISES, deep: ends.filter(({ deep }) => deep).length };
}

const CELLS = 60; // squares of the map, in each direction
const at = (i) => -REACH + (2 * REACH * i) / CELLS;

/** Heights above the lowest point at the corners of the squares. */
function heights() {
  const along = Array.from({ length: CELLS + 1 }, (_, i) => at(i));
  return along.map((x) => along.map((y) => land(x, y)[0] - lowest));
}

/** Segments of the line on which the landscape has a height, found square by square. */
function contour(level, high = heights()) {
  const segments = [];
  for (let i = 0; i < CELLS; i++)
    for (let j = 0; j < CELLS; j++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const above = corners.map(([a, b]) => high[a][b] - level);
      if (above.every((one) => one < 0) || above.every((one) => one >= 0)) continue;
      const crossed = corners.flatMap(([a, b], k) => {
        const [from, to] = [above[k], above[(k + 1) % 4]];
        if (from < 0 === to < 0) return [];
        const [c, d] = corners[(k + 1) % 4];
        const share = from / (from - to);
        return [[at(a) + share * (at(c) - at(a)), at(b) + share * (at(d) - at(b))]];
      });
      for (let k = 0; k + 1 < crossed.length; k += 2) segments.push(crossed.slice(k, k + 2));
    }
  return segments;
}

let lines = null; // the contours as paths in the units of the landscape, made once
function contours() {
  const high = lines ? [] : heights();
  lines ??= LEVELS.map((level) =>
    contour(level, high)
      .map(([[a, b], [c, d]]) => `M${a.toFixed(3)} ${b.toFixed(3)}L${c.toFixed(3)} ${d.toFixed(3)}`)
      .join(""),
  );
  return lines;
}

const number = (x, digits = 3) => x.toFixed(digits).replace(/^-(0\.0*)$/, "$1").replace("-", "−");

/** The name of a valley, below it on the map or above. */
function name(text, [x, y], side) {
  const look = "font-size: 0.09px; fill: var(--tfc-soft); stroke: var(--tfc-paper); stroke-width: 0.03; paint-order: stroke";
  return s("text", { x: x + 0.4 * side, y: -y - 0.55 * side, "text-anchor": "middle", style: look }, text);
}

/** The landscape from above, a walk over it from the square to the disc. */
function map(places, colour, label) {
  const clip = `tfc-clip-${Math.random().toString(36).slice(2)}`;
  const points = places.map(([x, y]) => `${x.toFixed(4)},${(-y).toFixed(4)}`).join(" ");
  const thin = { fill: "none", "vector-effect": "non-scaling-stroke" };
  const [x, y] = places.at(-1);
  const whole = { x: -REACH, y: -REACH, width: 2 * REACH, height: 2 * REACH };
  return s(
    "svg",
    { viewBox: `${-REACH} ${-REACH} ${2 * REACH} ${2 * REACH}`, width: "100%", role: "img", "aria-label": label },
    s("clipPath", { id: clip }, s("rect", whole)),
    s("rect", { ...whole, ...thin, style: "stroke: var(--tfc-line)" }),
    s(
      "g",
      { "clip-path": `url(#${clip})` },
      ...contours().map((d, i) =>
        s("path", { d, ...thin, transform: "scale(1 -1)", style: `stroke: var(--tfc-soft); stroke-opacity: ${0.75 - 0.045 * i}` }),
      ),
      s("polyline", { points, ...thin, style: `stroke: var(${colour}); stroke-width: 1.4; stroke-opacity: 0.85` }),
      s("rect", { x: START[0] - 0.03, y: -START[1] - 0.03, width: 0.06, height: 0.06, style: "fill: var(--tfc-ink)" }),
      name("deep", DEEP, -1),
      name("shallow", SHALLOW, 1),
      s("circle", { cx: x, cy: -y, r: 0.04, style: `fill: var(${colour}); stroke: var(--tfc-paper); stroke-width: 0.015` }),
    ),
  );
}

/** The rates of both walks by step. */
function picture(rates, lr, wide, label) {
  const [left, right, top, bottom] = [44, wide - 12, 10, HEIGHT - 36];
  const steps = rates.length;
  const x = (step) => left + (step / steps) * (right - left);
  const y = (rate) => bottom - (rate / (1.05 * lr)) * (bottom - top);
  const grid = s("g", { class: "tfc-grid" });
  for (const share of [0, 0.5, 1]) {
    const line = { x1: left, x2: right, y1: y(share * lr), y2: y(share * lr) };
    grid.append(s("line", share ? line : { ...line, class: "tfc-zero" }));
    const at = { x: left - 6, y: y(share * lr) + 4, "text-anchor": "end" };
    grid.append(s("text", at, share ? inWords(share * lr) : "0"));
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const at = { x: x(share * steps), y: bottom + 16, "text-anchor": "middle" };
    grid.append(s("text", at, String(Math.round(share * steps))));
  }
  grid.append(s("text", { x: (left + right) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "step"));
  const points = rates.map((rate, step) => `${x(step)},${y(rate)}`).join(" ");
  const steady = { x1: left, x2: right, y1: y(lr), y2: y(lr), class: "tfc-curve" };
  return s(
    "svg",
    { viewBox: `0 0 ${wide} ${HEIGHT}`, width: wide, height: HEIGHT, role: "img", "aria-label": label },
    grid,
    s("line", { ...steady, style: "stroke: var(--tfc-orange)", "stroke-dasharray": "7 5" }),
    s("polyline", { points, class: "tfc-curve", style: "stroke: var(--tfc-blue); stroke-width: 2.6" }),
  );
}

const percent = (share) => `${Math.round(100 * share)}%`;

/** The sentence under the picture: what the schedule is, and where the walk ends. */
function sentence({ steps, warm_up: warmUp, floor, lr, noise: given }, mine, steady) {
  const where = ({ height, deep }) =>
    `${number(height)} above the lowest point, in the ${deep ? "deep" : "shallow"} valley`;
  const rise = warmUp ? `${warmUp} of ${steps} steps of warm-up` : `No warm-up in ${steps} steps`;
  return (
    `${rise}, a rate of ${inWords(lr)} at most, at the end ${percent(floor)} of it. ` +
    `With noise ${given} the walk ends ${where(mine)}; at the full rate throughout, ${where(steady)}.`
  );
}

/** A model for a slider that shows a trait on another scale. */
function lens(model, trait, look, put) {
  return {
    get: () => look(model.get(trait)),
    set: (_, value) => model.set(trait, put(value)),
    on: (_, listener) => model.on(`change:${trait}`, listener),
    save_changes: () => model.save_changes(),
  };
}

function sliders(model) {
  const put = (power) => Number((10 ** power).toPrecision(2));
  const rate = { trait: "power", label: "highest rate", min: -2, max: -0.3, step: 0.1 };
  const spread = lens(model, "lr", Math.log10, put);
  return [
    slider(model, { trait: "warm_up", label: "warm-up, in steps", min: 0, max: 100, step: 5, format: String }),
    slider(model, { trait: "floor", label: "rate at the end", min: 0, max: 1, step: 0.05, format: percent }),
    slider(spread, { ...rate, format: (power) => inWords(put(power)) }),
    slider(model, { trait: "steps", label: "steps", min: 20, max: 400, step: 10, format: String }),
    slider(model, { trait: "noise", label: "number of the noise", min: 1, max: NOISES, step: 1, format: String }),
  ];
}

/** The two walks in numbers: this noise, and all of them. */
function table() {
  const row = (label, colour) => {
    const cells = Array.from({ length: 3 }, () => h("td", { class: "tfc-number" }));
    const head = h("th", { scope: "row", style: `color: var(${colour})` }, label);
    return { cells, element: h("tr", {}, head, ...cells) };
  };
  const rows = [row("full rate", "--tfc-orange"), row("schedule", "--tfc-blue")];
  const heads = ["walk", "ends, this noise", `mean of ${NOISES}`, "of them in the deep"];
  const titles = heads.map((text, i) => {
    const look = { style: `text-align: ${i ? "right" : "left"} !important; white-space: normal` };
    return h("th", { scope: "col", ...look }, text);
  });
  const element = h(
    "table",
    { class: "tfc-table", style: "margin-top: 0.6rem" },
    h("thead", {}, h("tr", {}, ...titles)),
    h("tbody", {}, ...rows.map(({ element }) => element)),
  );
  return { element, rows };
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A learning rate that rises and falls, and a walk with it");
  const plot = h("div", { class: "tfc-plot" });
  const maps = ["the full rate throughout", "with the schedule"].map((title) => {
    const holder = h("div", {});
    return { holder, column: h("div", {}, h("p", { class: "tfc-axis" }, title), holder) };
  });
  const numbers = table();
  box.append(
    h("div", { class: "tfc-sliders" }, ...sliders(model)),
    h("p", { class: "tfc-axis" }, "learning rate by step: the schedule, and dashed the full rate throughout"),
    plot,
    h("div", { class: "tfc-halves", style: "margin-top: 0.6rem" }, ...maps.map(({ column }) => column)),
    numbers.element,
    says,
  );
  const known = [{}, {}]; // what all noises gave for the last rates of each walk
  const every = (rates, i) => {
    const key = rates.join();
    if (known[i].key !== key) known[i] = { key, ...overall(rates) };
    return known[i];
  };
  redraw(model, TRAITS, plot, (wide) => {
    const given = Object.fromEntries(TRAITS.map((trait) => [trait, model.get(trait)]));
    const rates = schedule(given.steps, given.warm_up, given.floor, given.lr);
    const both = [rates.map(() => given.lr), rates];
    const ways = both.map((each) => walk(each, given.noise));
    const ends = ways.map(end);
    const told = sentence(given, ends[1], ends[0]);
    plot.replaceChildren(picture(rates, given.lr, wide, "the learning rate by step"));
    ways.forEach((places, i) => {
      const { mean, deep } = every(both[i], i);
      const { height } = ends[i];
      const label = `a walk that ends ${number(height)} above the lowest point`;
      maps[i].holder.replaceChildren(map(places, ["--tfc-orange", "--tfc-blue"][i], label));
      [number(height), number(mean), deep].forEach((value, k) => {
        numbers.rows[i].cells[k].textContent = String(value);
      });
    });
    say(told);
  });
}

export default { render, schedule, walk, end, overall, contour, sentence };
