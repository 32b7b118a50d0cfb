// Sinusoids as the hands of clocks: two positions, their numbers, and how alike they are.
const TRAITS = ["width", "base", "last", "position", "other"];
const [FACE, ROW] = [104, 19]; // of a clock as it is drawn; its picture may be scaled a little
const [LEAST, GAP] = [92, 6]; // pixels: the narrowest picture of a clock, and between two
const HEIGHT = 150;

/** How far the width / 2 hands have turned at a position, in radians, clockwise. */
function angles(position, width, base) {
  return Array.from({ length: width / 2 }, (_, i) => position / base ** ((2 * i) / width));
}

/** The tips of the hands: sine, how far right, and cosine, how far up, of each angle. */
function sinusoids(position, width, base) {
  return angles(position, width, base).flatMap((a) => [Math.sin(a), Math.cos(a)]);
}

/** The dot product of two positions' sinusoids: the sum of cos(lag · speed). */
function dot(position, other, width, base) {
  const there = sinusoids(other, width, base);
  return sinusoids(position, width, base).reduce((sum, x, i) => sum + x * there[i], 0);
}

const number = (x, digits = 2) => x.toFixed(digits).replace(/^-(0\.0*)$/, "$1").replace("-", "−");

/** Degrees with as many digits as tell two slow hands apart. */
const degrees = (speed) => `${Number(((speed * 180) / Math.PI).toPrecision(2))}°`;

function sentence(position, other, width, base) {
  const speeds = angles(1, width, base);
  const slow = speeds.length - 1;
  const last = slow ? ` and hand ${slow} by ${degrees(speeds[slow])}` : "";
  const step = `A step turns hand 0 by ${degrees(speeds[0])}${last}.`;
  const lag = Math.abs(position - other);
  const product = number(dot(position, other, width, base));
  if (!lag) return `${step} Position ${position} with itself: dot product ${product}, the most.`;
  const far = lag === 1 ? "1 step" : `${lag} steps`;
  const most = `${product} of at most ${number(width / 2)}`;
  return `${step} Positions ${position} and ${other} are ${far} apart: dot product ${most}.`;
}

/** A hand from the middle to its tip, clockwise from the top. */
function hand(angle, length, colour, look) {
  const tip = [length * Math.sin(angle), -length * Math.cos(angle)];
  return [
    s("line", { x1: 0, y1: 0, x2: tip[0], y2: tip[1], style: `stroke: var(${colour}); ${look}` }),
    s("circle", { cx: tip[0], cy: tip[1], r: 3.5, style: `fill: var(${colour})` }),
  ];
}

/** What the hand will sweep in the next step. */
function sweep(start, speed, radius) {
  const at = (angle) => `${radius * Math.sin(angle)} ${-radius * Math.cos(angle)}`;
  const arc = `A ${radius} ${radius} 0 ${speed > Math.PI ? 1 : 0} 1 ${at(start + speed)}`;
  const style = "fill: var(--tfc-blue); fill-opacity: 0.22";
  return s("path", { d: `M 0 0 L ${at(start)} ${arc} Z`, style });
}

/** A clock with both hands, and under it the two numbers of each position. */
function clock(i, positions, width, base) {
  const speed = angles(1, width, base)[i];
  const [now, then] = positions.map((p) => angles(p, width, base)[i]);
  const radius = FACE / 2 - 10;
  const ticks = Array.from({ length: 12 }, (_, hour) => {
    const [x, y] = [Math.sin((hour * Math.PI) / 6), -Math.cos((hour * Math.PI) / 6)];
    const inner = radius - (hour % 3 ? 3 : 6);
    return s("line", { x1: inner * x, y1: inner * y, x2: radius * x, y2: radius * y });
  });
  const face = s(
    "g",
    { transform: `translate(${FACE / 2} ${radius + 20})` },
    s("circle", { r: radius, style: "fill: none; stroke: var(--tfc-soft)" }),
    s("g", { style: "stroke: var(--tfc-soft)" }, ...ticks),
    sweep(now, speed, radius),
    ...hand(then, radius * 0.72, "--tfc-orange", "stroke-width: 3; stroke-dasharray: 5 3"),
    ...hand(now, radius * 0.95, "--tfc-blue", "stroke-width: 3"),
    s("circle", { r: 2.5, style: "fill: var(--tfc-ink)" }),
  );
  const top = 2 * radius + 46;
  const half = (FACE - 14) / 2;
  const middle = { "text-anchor": "middle", style: "fill: var(--tfc-ink); font-size: 12px" };
  const cells = ["--tfc-blue", "--tfc-orange"].flatMap((colour, row) => {
    const y = top + 16 + row * ROW;
    const values = sinusoids(positions[row], width, base).slice(2 * i, 2 * i + 2);
    const name = { x: 2, y: y + 14, style: `fill: var(${colour}); font-weight: 700` };
    return [
      s("text", name, "pr"[row]),
      ...values.flatMap((value, j) => {
        const x = 13 + j * half;
        const hue = value < 0 ? "--tfc-plum" : "--tfc-green";
        const fill = `fill: var(${hue}); fill-opacity: ${(0.4 * Math.abs(value)).toFixed(3)}`;
        return [
          s("rect", { x, y, width: half - 1, height: ROW - 1, style: fill }),
          s("text", { ...middle, x: x + half / 2, y: y + 14 }, number(value)),
        ];
      }),
    ];
  });
  const heads = ["sin", "cos"].map((name, j) =>
    s("text", { x: 13 + (j + 0.5) * half, y: top + 11, "text-anchor": "middle" }, name),
  );
  const title = { x: FACE / 2, y: 11, "text-anchor": "middle", style: "font-size: 12px" };
  const turn = { ...title, y: top - 7 };
  const height = top + 18 + 2 * ROW;
  return s(
    "svg",
    { viewBox: `0 0 ${FACE} ${height}`, "aria-hidden": "true", style: "width: 100%" },
    s("text", title, `hand ${i}`),
    face,
    s("text", turn, `${degrees(speed)} a step`),
    ...heads,
    ...cells,
  );
}

/** Columns for `count` clocks, so that the rows are filled as evenly as they can be. */
function columns(count, wide) {
  const most = Math.max(1, Math.floor((wide + GAP) / (LEAST + GAP)));
  return Math.ceil(count / Math.ceil(count / most));
}

/** The dot product against the distance, with a spot at the one that is set. */
function curve(position, other, width, base, last, wide, label) {
  const products = Array.from({ length: last + 1 }, (_, lag) => dot(lag, 0, width, base));
  const most = width / 2;
  const least = Math.min(0, Math.floor(Math.min(...products)));
  const [left, right, top, bottom] = [34, wide - 10, 10, HEIGHT - 36];
  const x = (lag) => left + (lag / last) * (right - left);
  const y = (value) => top + ((most - value) / (most - least)) * (bottom - top);
  const grid = s("g", { class: "tfc-grid" });
  for (const level of new Set([least, 0, most / 2, most])) {
    const line = { x1: left, x2: right, y1: y(level), y2: y(level) };
    grid.append(s("line", level ? line : { ...line, class: "tfc-zero" }));
    const at = { x: left - 6, y: y(level) + 4, "text-anchor": "end" };
    grid.append(s("text", at, number(level, Number.isInteger(level) ? 0 : 1)));
  }
  const step = last > 40 ? 10 : 5;
  for (let lag = 0; lag <= last; lag += step) {
    const at = { x: x(lag), y: bottom + 16, "text-anchor": "middle" };
    grid.append(s("text", at, String(lag)));
  }
  const middle = { x: (left + right) / 2, y: HEIGHT - 4, "text-anchor": "middle" };
  grid.append(s("text", middle, "steps between the two positions"));
  const points = products.map((value, lag) => `${x(lag)},${y(value)}`).join(" ");
  const lag = Math.abs(position - other);
  return s(
    "svg",
    { viewBox: `0 0 ${wide} ${HEIGHT}`, width: wide, height: HEIGHT, role: "img", "aria-label": label },
    grid,
    s("polyline", { points, class: "tfc-curve tfc-exact" }),
    s("circle", { cx: x(lag), cy: y(products[lag]), r: 5, class: "tfc-spot" }),
  );
}

/** A button that moves both positions, and is dim where they cannot go on. */
function both(model, label, step) {
  const made = h("button", { type: "button", class: "tfc-choice" }, label);
  const stuck = () =>
    ["position", "other"].some((trait) => {
      const next = model.get(trait) + step;
      return next < 0 || next > model.get("last");
    });
  made.addEventListener("click", () => {
    if (stuck()) return;
    for (const trait of ["position", "other"]) model.set(trait, model.get(trait) + step);
    model.save_changes();
  });
  const show = () => {
    made.setAttribute("aria-disabled", String(stuck()));
    made.style.opacity = stuck() ? 0.5 : 1;
  };
  return { made, show };
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Positions as the hands of clocks");
  const fields = [
    { trait: "position", label: "position p (solid hands)" },
    { trait: "other", label: "position r (dashed hands)" },
  ];
  const range = { min: 0, max: model.get("last"), step: 1, format: String };
  const sliders = fields.map((field) => slider(model, { ...field, ...range }));
  const buttons = [both(model, "both a step back", -1), both(model, "both a step on", 1)];
  const clocks = h("div", {});
  const plot = h("div", { style: "margin-top: 0.7rem" });
  const title = h("p", { class: "tfc-axis", style: "margin-top: 0.9rem" });
  title.textContent = "dot product of the two rows of numbers";
  box.append(
    h("div", { class: "tfc-sliders" }, ...sliders),
    h("div", { class: "tfc-choices" }, ...buttons.map(({ made }) => made)),
    clocks,
    title,
    plot,
    says,
  );

  redraw(model, TRAITS, plot, (wide) => {
    const [width, base, last, position, other] = TRAITS.map((trait) => model.get(trait));
    const told = sentence(position, other, width, base);
    const faces = Array.from({ length: width / 2 }, (_, i) =>
      clock(i, [position, other], width, base),
    );
    const across = columns(faces.length, wide);
    clocks.style.cssText =
      `display: grid; gap: 0.5rem ${GAP}px; justify-content: space-between;` +
      `grid-template-columns: repeat(${across}, minmax(0, ${FACE + 8}px))`;
    clocks.replaceChildren(...faces);
    plot.replaceChildren(curve(position, other, width, base, last, wide, told));
    for (const { show } of buttons) show();
    say(told);
  });
}

export default { render, angles, sinusoids, dot, sentence };
