// How large a gradient can be k steps back through h ← f(W h), W = ρ·[[1, s], [0, 1]].
const TRAITS = ["rho", "shear", "slope"];
const LAGS = 60;
const LOWEST = -10; // the vertical axis, in powers of ten
const HIGHEST = 6;
const HEIGHT = 300;

const CURVES = [
  { name: "exact", dash: "", label: "exact: ‖(f′W)ᵏ‖" },
  { name: "eigenvalue", dash: "7 5", label: "eigenvalue: (f′ρ)ᵏ" },
  { name: "bound", dash: "2 4", label: "bound: (f′σ)ᵏ, σ the largest singular value" },
];

function times([a, b, c, d], [e, f, g, i]) {
  return [a * e + b * g, a * f + b * i, c * e + d * g, c * f + d * i];
}

/** The largest singular value of a 2×2 matrix, given row by row. */
function spectralNorm([a, b, c, d]) {
  const spread = Math.hypot(a * a + b * b - c * c - d * d, 2 * (a * c + b * d));
  return Math.sqrt((a * a + b * b + c * c + d * d + spread) / 2);
}

/** The three curves at lags 0 … 60, and σ, the largest singular value of W. */
function gradientSizes(rho, shear, slope) {
  const factor = [slope * rho, slope * rho * shear, 0, slope * rho];
  const sizes = { exact: [], eigenvalue: [], bound: [] };
  let product = [1, 0, 0, 1];
  for (let lag = 0; lag <= LAGS; lag++) {
    sizes.exact.push(spectralNorm(product));
    sizes.eigenvalue.push((slope * rho) ** lag);
    sizes.bound.push(spectralNorm(factor) ** lag);
    product = times(factor, product);
  }
  return sizes;
}

function fate(size, rate, shear) {
  if (size < 1e-3) return "it has vanished";
  if (size > 1e3) return "it has exploded";
  if (rate < 1 - 1e-9) return "it fades, and vanishes further back";
  if (rate > 1 + 1e-9) return "it grows, and explodes further back";
  return shear ? "it grows in proportion to the lag" : "it neither fades nor grows";
}

/** The sentence under the picture. */
function verdict({ exact }, rate, shear) {
  const end = `At lag 50 the gradient is at most ${inWords(exact[50])} times its size now: `;
  const peak = exact.indexOf(Math.max(...exact));
  const hump = peak > 0 && peak < LAGS && exact[peak] > 1.005;
  const way = ` On the way it first grows to ${inWords(exact[peak])} times, at lag ${peak}.`;
  return `${end}${fate(exact[50], rate, shear)}.${hump ? way : ""}`;
}

/** The picture, `width` pixels wide, so that its letters keep their size on a phone. */
function picture(sizes, width, label) {
  const left = 46;
  const right = width - 12;
  const bottom = HEIGHT - 42;
  const x = (lag) => left + (lag / LAGS) * (right - left);
  const y = (power) => 12 + ((HIGHEST - power) / (HIGHEST - LOWEST)) * (bottom - 12);
  const clip = `tfc-clip-${Math.random().toString(36).slice(2)}`;

  const grid = s("g", { class: "tfc-grid" });
  for (let power = LOWEST; power <= HIGHEST; power += 2) {
    const line = { x1: left, x2: right, y1: y(power), y2: y(power) };
    grid.append(s("line", power ? line : { ...line, class: "tfc-zero" }));
    const at = { x: left - 6, y: y(power) + 4, "text-anchor": "end" };
    grid.append(s("text", at, powerOfTen(power)));
  }
  for (let lag = 0; lag <= LAGS; lag += 10) {
    grid.append(s("line", { x1: x(lag), x2: x(lag), y1: bottom, y2: bottom + 4 }));
    const at = { x: x(lag), y: bottom + 18, "text-anchor": "middle" };
    grid.append(s("text", at, String(lag)));
  }
  const middle = { x: (left + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" };
  grid.append(s("text", middle, "lag k, in steps back in time"));

  const curves = s("g", { "clip-path": `url(#${clip})` });
  for (const { name, dash } of CURVES.toReversed()) {
    const points = sizes[name].map((size, lag) => `${x(lag)},${y(Math.log10(size))}`);
    const look = { class: `tfc-curve tfc-${name}`, "stroke-dasharray": dash };
    curves.append(s("polyline", { points: points.join(" "), ...look }));
  }
  const spot = { cx: x(50), cy: y(Math.log10(sizes.exact[50])), r: 4.5 };
  curves.append(s("circle", { ...spot, class: "tfc-spot" }));

  const area = { x: left, y: 12, width: right - left, height: bottom - 12 };
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label },
    s("clipPath", { id: clip }, s("rect", area)),
    grid,
    curves,
  );
}

function legend() {
  const entries = CURVES.map(({ name, dash, label }) => {
    const line = { x1: 0, x2: 30, y1: 6, y2: 6, "stroke-dasharray": dash };
    const sample = { class: "tfc-sample", width: 30, height: 12, "aria-hidden": "true" };
    return h(
      "li",
      {},
      s("svg", sample, s("line", { ...line, class: `tfc-curve tfc-${name}` })),
      label,
    );
  });
  return h("ul", { class: "tfc-legend" }, ...entries);
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "How a gradient fades or grows with the lag");
  const two = (value) => value.toFixed(2);
  const one = (value) => value.toFixed(1);
  const fields = [
    { trait: "rho", label: "spectral radius ρ", min: 0.5, max: 1.5, step: 0.01, format: two },
    { trait: "shear", label: "shear s", min: 0, max: 3, step: 0.1, format: one },
    { trait: "slope", label: "mean slope f′", min: 0.3, max: 1, step: 0.01, format: two },
  ];
  const sliders = fields.map((field) => slider(model, field));
  const plot = h("div", { class: "tfc-plot" });
  const title = h("p", { class: "tfc-axis" }, "largest gradient, relative to its size now");
  box.append(h("div", { class: "tfc-sliders" }, ...sliders), title, plot, legend(), says);

  redraw(model, TRAITS, plot, (width) => {
    const [rho, shear, slope] = TRAITS.map((trait) => model.get(trait));
    const sizes = gradientSizes(rho, shear, slope);
    const sentence = verdict(sizes, rho * slope, shear);
    plot.replaceChildren(picture(sizes, width, sentence));
    say(sentence);
  });
}

export default { render, gradientSizes, verdict };
