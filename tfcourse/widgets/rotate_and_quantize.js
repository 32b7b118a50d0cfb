// Turn a vector, take the nearest point of a grid, turn back: the error, and all errors.
const TRAITS = ["codebooks", "angle", "turn", "bits"];
const COUNT = 1000; // random turns
const APART = 3; // degrees between the turns of the picture
const [LOW, HIGH, BINS] = [0.001, 2, 66]; // errors that are drawn
const [STRIP, AXIS] = [74, 40]; // heights

/** Numbers of a normal distribution: Numerical Recipes' generator, and Box and Muller. */
function normals(count, seed) {
  let state = seed;
  const uniform = () => {
    state = (1664525 * state + 1013904223) % 2 ** 32;
    return (state + 0.5) / 2 ** 32;
  };
  const drawn = [];
  while (drawn.length < count) {
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    drawn.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return drawn;
}

function unit(vector) {
  const length = Math.hypot(...vector);
  return vector.map((x) => x / length);
}

const known = new Map();

/** Where random turns take a vector: any direction is as likely as any other. */
function turned(d) {
  const draw = (numbers) => Array.from({ length: COUNT }, (_, i) => unit(numbers.slice(i * d, (i + 1) * d)));
  if (!known.has(d)) known.set(d, draw(normals(COUNT * d, d)));
  return known.get(d);
}

/** A vector of length 1 at this angle to the first axis; the other coordinates share the rest. */
function vector(d, degrees) {
  const others = d === 2 ? [1] : unit(normals(d, d).slice(1));
  const [along, across] = [Math.cos, Math.sin].map((f) => f((degrees * Math.PI) / 180));
  return [along, ...others.map((x) => x * across)];
}

/** The value of the codebook that is nearest to each coordinate. */
function nearest(y, codebook) {
  return y.map((x) => {
    let code = 0;
    while (code < codebook.length - 1 && x > (codebook[code] + codebook[code + 1]) / 2) code++;
    return codebook[code];
  });
}

/** 2^bits values at equal distances, from the least to the greatest coordinate, 0 among them. */
function ownGrid(y, bits) {
  const [low, high] = [Math.min(0, ...y), Math.max(0, ...y)];
  const last = 2 ** bits - 1;
  const step = (high - low) / last;
  const zero = Math.round(-low / step);
  return y.map((x) => step * (Math.min(last, Math.max(0, Math.round(x / step) + zero)) - zero));
}

const mean = (errors) => errors.reduce((sum, e) => sum + e, 0) / errors.length;

/** The squared error; of a vector of length 1, so as a share of its square. */
const wrong = (y, back) => y.reduce((sum, x, i) => sum + (x - back[i]) ** 2, 0);

/** The errors of all turns in order, and what comes of the vector that is not turned. */
function measure({ d, values }, bits, degrees) {
  const codebook = values[bits - 1];
  const plain = (angle) => {
    const x = vector(d, angle);
    return wrong(x, nearest(x, codebook));
  };
  const errors = turned(d)
    .map((y) => wrong(y, nearest(y, codebook)))
    .sort((a, b) => a - b);
  const x = vector(d, degrees);
  return {
    d,
    errors,
    mean: mean(errors),
    nine: [errors[COUNT / 20], errors[COUNT - 1 - COUNT / 20]],
    plain: plain(degrees),
    own: wrong(x, ownGrid(x, bits)),
    worst: Math.max(...Array.from({ length: 361 }, (_, i) => plain(i / 2))),
  };
}

const rotate = ([x, y], degrees) => {
  const [cos, sin] = [Math.cos, Math.sin].map((f) => f((degrees * Math.PI) / 180));
  return [cos * x - sin * y, sin * x + cos * y];
};

/** Two coordinates: turned, on the grid, and turned back. */
function trip(angle, turn, codebook) {
  const x = rotate([1, 0], angle);
  const y = rotate(x, turn);
  const code = nearest(y, codebook);
  const back = rotate(code, -turn);
  return { x, y, code, back, error: wrong(x, back) };
}

/** What comes back for turns all around, and its mean error. */
function all(angle, codebook) {
  const trips = Array.from({ length: 360 / APART }, (_, i) => trip(angle, i * APART, codebook));
  return { trips, mean: mean(trips.map(({ error }) => error)) };
}

const digits = (e) => e.toFixed(e >= 0.0995 ? 2 : e >= 0.00995 || e < 0.00005 ? 3 : 4);

function sentence({ angle, turn, bits }, found, codebook) {
  const here = trip(angle, turn, codebook);
  const plain = trip(angle, 0, codebook);
  const share = Math.round(100 * Math.cos((angle * Math.PI) / 180) ** 2);
  const many = found.at(-1);
  const bit = bits === 1 ? "1 bit" : `${bits} bits`;
  return (
    `The first coordinate holds ${share}\u00a0% of the square. Two coordinates, ${bit} each: not turned, the squared error is ${digits(plain.error)}; turned by ${turn}°, ${digits(here.error)}; on average over all turns, ${digits(all(angle, codebook).mean)}. ` +
    `${many.d} coordinates: not turned ${digits(many.plain)}, or ${digits(many.own)} on a grid of its own; turned, nine times of ten from ${digits(many.nine[0])} to ${digits(many.nine[1])}.`
  );
}

const SIDE = 130; // half a side of a picture, where a length of 1 is 100

/** A picture of the plane around `centre`, so many times enlarged. */
function plane(centre = [0, 0], zoom = 1) {
  const at = ([x, y]) => [100 * zoom * (x - centre[0]), 100 * zoom * (centre[1] - y)];
  const line = (from, to, look) => {
    const [[x1, y1], [x2, y2]] = [at(from), at(to)];
    return s("line", { x1, y1, x2, y2, class: look });
  };
  const dot = (place, look, r) => {
    const [cx, cy] = at(place);
    return s("circle", { cx, cy, r, class: look });
  };
  const letter = (place, text) => {
    const [x, y] = at(place);
    return s("text", { x, y: y + 4, "text-anchor": "middle", class: "tfc-ball-letter" }, text);
  };
  const square = (...parts) => {
    const size = { viewBox: `${-SIDE} ${-SIDE} ${2 * SIDE} ${2 * SIDE}`, class: "tfc-ball", "aria-hidden": "true" };
    return s("svg", size, dot([0, 0], "tfc-rim", 100 * zoom), ...parts);
  };
  return { line, dot, letter, square };
}

/** The grid, and the turned vector with the point that is nearest to it. */
function onTheGrid({ x, y, code }, codebook) {
  const { line, dot, letter, square } = plane();
  const borders = codebook.slice(1).map((value, i) => (value + codebook[i]) / 2);
  const far = SIDE / 100;
  const lines = borders.flatMap((b) => [line([b, -far], [b, far], ""), line([-far, b], [far, b], "")]);
  const points = codebook.flatMap((a) => codebook.map((b) => dot([a, b], "tfc-ball-point", 3)));
  const further = (place) => place.map((part) => 1.15 * part);
  return square(
    s("g", { class: "tfc-ball-borders" }, ...lines),
    ...points,
    line([0, 0], x, "tfc-ball-before"),
    line([0, 0], y, "tfc-ball-vector"),
    line(y, code, "tfc-ball-error"),
    dot(code, "tfc-ball-back", 6),
    letter(further(x), "x"),
    letter(further(y), "Rx"),
  );
}

/** Around the tip of the vector: what comes back by this turn, by all, and without one. */
function backAgain({ x, back }, turns, plain) {
  const radius = Math.sqrt(turns.mean);
  const zoom = SIDE / 100 / (2.2 * radius);
  const { line, dot, letter, square } = plane(x, zoom);
  return square(
    dot(x, "tfc-ball-mean", 100 * zoom * radius),
    ...turns.trips.map((one) => dot(one.back, "tfc-ball-other", 2)),
    line([0, 0], x, "tfc-ball-vector"),
    line(x, back, "tfc-ball-error"),
    dot(plain.back, "tfc-ball-plain", 6),
    dot(back, "tfc-ball-back", 6),
    letter(x.map((part) => part * (1 + 0.25 * radius)), "x"),
  );
}

const place = (e) => Math.log(Math.min(HIGH, Math.max(LOW, e)) / LOW) / Math.log(HIGH / LOW);

/** The errors of all turns as a histogram, one strip for each number of coordinates. */
function strips(found, here, width, label) {
  const [left, right] = [8, width - 8];
  const x = (e) => left + place(e) * (right - left);
  const parts = found.flatMap(({ d, errors, mean, plain, own, worst }, row) => {
    const bottom = (row + 1) * STRIP;
    const bins = Array(BINS).fill(0);
    for (const e of errors) bins[Math.min(BINS - 1, Math.floor(place(e) * BINS))]++;
    const most = Math.max(...bins);
    const bar = (right - left) / BINS;
    const tall = STRIP - 30;
    return [
      ...bins.map((n, i) =>
        s("rect", { x: left + i * bar, y: bottom - (n / most) * tall, width: bar - 0.5, height: (n / most) * tall, class: "tfc-ball-bin" }),
      ),
      s("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "tfc-ball-floor" }),
      s("line", { x1: x(worst), x2: x(worst), y1: bottom - tall, y2: bottom, class: "tfc-ball-worst" }),
      s("line", { x1: x(mean), x2: x(mean), y1: bottom - tall - 3, y2: bottom + 4, class: "tfc-ball-line" }),
      s("circle", { cx: x(plain), cy: bottom - 9, r: 6, class: "tfc-ball-plain" }),
      ...(d === 2 ? [s("circle", { cx: x(here.error), cy: bottom - 9, r: 6, class: "tfc-ball-back" })] : []),
      s("rect", { x: x(own) - 5, y: bottom - 32, width: 10, height: 10, class: "tfc-ball-own" }),
      s("text", { x: left, y: bottom - tall - 8 }, `${d} coordinates`),
    ];
  });
  const floor = found.length * STRIP;
  const ticks = [0.001, 0.01, 0.1, 1].map((e) =>
    s("text", { x: x(e), y: floor + 18, "text-anchor": e === LOW ? "start" : "middle" }, String(e)),
  );
  const middle = { x: (left + right) / 2, y: floor + 34, "text-anchor": "middle" };
  const size = { viewBox: `0 0 ${width} ${floor + AXIS}`, width, height: floor + AXIS };
  return s(
    "svg",
    { ...size, role: "img", "aria-label": label },
    ...parts,
    ...ticks,
    s("text", middle, "squared error of a vector of length 1"),
  );
}

function legend() {
  const [middle, box] = [{ cx: 11, cy: 7, r: 5 }, { x: 6, y: 2, width: 10, height: 10 }];
  const upright = { x1: 11, x2: 11, y1: 0, y2: 14 };
  const entries = [
    ["turned, this turn", s("circle", { ...middle, class: "tfc-ball-back" })],
    ["random turns", s("rect", { x: 0, y: 2, width: 22, height: 11, class: "tfc-ball-bin" })],
    ["their mean", s("line", { ...upright, class: "tfc-ball-line" })],
    ["not turned", s("circle", { ...middle, class: "tfc-ball-plain" })],
    ["not turned, a grid of its own", s("rect", { ...box, class: "tfc-ball-own" })],
    ["not turned, the worst angle", s("line", { ...upright, class: "tfc-ball-worst" })],
  ].map(([label, shape]) => h("li", {}, s("svg", { width: 22, height: 14, "aria-hidden": "true" }, shape), label));
  return h("ul", { class: "tfc-legend" }, ...entries);
}

function table(found) {
  const rows = [
    ["turned: on average", ({ mean }) => digits(mean)],
    ["one turn of 20 is below", ({ nine }) => digits(nine[0])],
    ["one turn of 20 is above", ({ nine }) => digits(nine[1])],
    ["not turned", ({ plain }) => digits(plain)],
    ["not turned, a grid of its own", ({ own }) => digits(own)],
    ["not turned, the worst angle", ({ worst }) => digits(worst)],
  ].map(([name, write]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      ...found.map((one) => h("td", { class: "tfc-number" }, write(one))),
    ),
  );
  const heads = ["squared error, coordinates:", ...found.map(({ d }) => d)].map((name, i) =>
    h("th", { scope: "col", class: i ? "tfc-number" : "" }, String(name)),
  );
  return h("table", { class: "tfc-table tfc-ball-table" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
}

/** Who drags in the first picture moves the turned vector, and so the vector. */
function drag(holder, model) {
  const move = (event) => {
    const box = holder.querySelector("svg").getBoundingClientRect();
    const across = event.clientX - box.left - box.width / 2;
    const up = box.top + box.height / 2 - event.clientY;
    const degrees = Math.round((Math.atan2(up, across) * 180) / Math.PI);
    model.set("angle", (degrees - model.get("turn") + 720) % 360);
    model.save_changes();
  };
  holder.addEventListener("pointerdown", (event) => {
    holder.setPointerCapture(event.pointerId);
    holder.addEventListener("pointermove", move);
    move(event);
  });
  for (const end of ["pointerup", "pointercancel"])
    holder.addEventListener(end, () => holder.removeEventListener("pointermove", move));
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Turn, quantize, turn back");
  const around = { min: 0, max: 359, step: 1, format: (degrees) => `${degrees}°` };
  const sliders = [
    slider(model, { trait: "angle", label: "angle of the vector", ...around }),
    slider(model, { trait: "turn", label: "turned by", ...around }),
    slider(model, { trait: "bits", label: "bits of a coordinate", min: 1, max: 4, step: 1, format: String }),
  ];
  const [first, second, plot, counts] = Array.from({ length: 4 }, () => h("div", {}));
  const halves = [
    ["turned, to the nearest point of the grid", first],
    ["turned back, near the tip: this turn, and all", second],
  ].map(([title, picture]) => h("div", {}, h("p", { class: "tfc-axis" }, title), picture));
  first.classList.add("tfc-ball-drag");
  says.classList.add("tfc-ball-says");
  box.append(
    h("div", { class: "tfc-sliders" }, ...sliders),
    h("div", { class: "tfc-halves" }, ...halves),
    says,
    plot,
    legend(),
    counts,
  );
  drag(first, model);

  redraw(model, TRAITS, plot, (width) => {
    const given = Object.fromEntries(TRAITS.map((trait) => [trait, model.get(trait)]));
    const { angle, turn, bits } = given;
    const found = given.codebooks.map((book) => measure(book, bits, angle));
    const flat = given.codebooks[0].values[bits - 1];
    const here = trip(angle, turn, flat);
    const told = sentence(given, found, flat);
    first.replaceChildren(onTheGrid(here, flat));
    second.replaceChildren(backAgain(here, all(angle, flat), trip(angle, 0, flat)));
    plot.replaceChildren(strips(found, here, width, told));
    counts.replaceChildren(table(found));
    say(told);
  });
}

export default { render, normals, vector, measure, trip, all, sentence };
