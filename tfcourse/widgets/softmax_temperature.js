// Softmax of a few scores at a temperature, beside the scores divided by their sum.
const TRAITS = ["scores", "temperature"];
const [FEWEST, MOST] = [3, 5]; // scores
const HEIGHT = 230;

/** The scores divided by their sum; null where that sum is 0. */
function rescaled(scores) {
  const total = scores.reduce((sum, score) => sum + score, 0);
  return Math.abs(total) < 1e-9 ? null : scores.map((score) => score / total);
}

const listed = (values) => values.map(two).join(", ");

function verdict(scores, temperature) {
  const weights = softmax(scores, temperature);
  const most = Math.log2(scores.length);
  const entropy = `${two(bits(weights))} of at most ${two(most)} bits of entropy`;
  const soft = `Softmax at temperature ${temperature} gives ${listed(weights)}: ${entropy}.`;
  const shares = rescaled(scores);
  if (!shares) return `${soft} The scores sum to 0: rescaling would divide by it.`;
  const wrong = shares.some((share) => share < 0) ? ", which are no weights" : "";
  return `${soft} Rescaling gives ${listed(shares)}${wrong}, at any temperature.`;
}

const LOOKS = {
  softmax: "fill: var(--tfc-blue); stroke: var(--tfc-blue)",
  rescaled: "fill: none; stroke: var(--tfc-orange); stroke-dasharray: 4 3",
};

/** Two bars for each score, `width` pixels in all. */
function picture(scores, temperature, width, label) {
  const weights = softmax(scores, temperature);
  const shares = rescaled(scores);
  const lowest = scores.some((score) => score < 0) ? -1 : 0;
  const [left, top, bottom] = [34, 18, HEIGHT - (lowest ? 40 : 24)];
  const y = (value) => top + ((1 - value) / (1 - lowest)) * (bottom - top);
  const group = (width - left) / scores.length;
  const bar = Math.min(40, 0.4 * group);
  const letters = `fill: var(--tfc-ink); font-size: ${group < 70 ? 10.5 : 12.5}px`;

  const grid = s("g", { class: "tfc-grid" });
  for (let level = lowest; level <= 1; level += 0.5) {
    const line = { x1: left, x2: width, y1: y(level), y2: y(level) };
    grid.append(s("line", level ? line : { ...line, class: "tfc-zero" }));
    const at = { x: left - 6, y: y(level) + 4, "text-anchor": "end" };
    grid.append(s("text", at, one(level)));
  }
  const parts = scores.flatMap((score, i) => {
    const middle = left + (i + 0.5) * group;
    const draw = (value, x, kind) => {
      const end = Math.min(1, Math.max(lowest, value)); // a share can lie far outside
      const [high, low] = [y(Math.max(end, 0)), y(Math.min(end, 0))];
      const size = { x, y: high, width: bar, height: Math.max(low - high, 0.5) };
      const at = { x: x + bar / 2, "text-anchor": "middle", y: value < 0 ? low + 14 : high - 5 };
      return [
        s("rect", { ...size, rx: 2, style: `${LOOKS[kind]}; stroke-width: 1.5` }),
        s("text", { ...at, style: letters }, two(value)),
      ];
    };
    const at = { x: middle, y: HEIGHT - 4, "text-anchor": "middle" };
    return [
      ...draw(weights[i], middle - bar - 2, "softmax"),
      ...(shares ? draw(shares[i], middle + 2, "rescaled") : []),
      s("text", at, one(score)),
    ];
  });
  const shape = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT };
  return s("svg", { ...shape, role: "img", "aria-label": label }, grid, ...parts);
}

function legend() {
  const labels = { softmax: "softmax(scores / T)", rescaled: "score / sum of the scores" };
  const entries = Object.entries(labels).map(([kind, label]) => {
    const box = { x: 1, y: 1, width: 24, height: 10, style: LOOKS[kind] };
    const sample = { width: 26, height: 12, "aria-hidden": "true" };
    return h("li", {}, s("svg", sample, s("rect", box)), label);
  });
  return h("ul", { class: "tfc-legend" }, ...entries);
}

function scoreSlider(model, i) {
  const look = (scores) => scores[i] ?? 0;
  const put = (value) => model.get("scores").with(i, value);
  const field = { trait: "score", label: `score ${i + 1}`, min: -3, max: 5, step: 0.1 };
  return slider(lens(model, "scores", look, put), { ...field, format: one });
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Softmax and its temperature");
  const change = (scores) => {
    if (scores.length < FEWEST || scores.length > MOST) return;
    model.set("scores", scores);
    model.save_changes();
  };
  const more = button("add a score", () => change([...model.get("scores"), 0]));
  const fewer = button("remove the last", () => change(model.get("scores").slice(0, -1)));
  const scores = Array.from({ length: MOST }, (_, i) => scoreSlider(model, i));
  const plot = h("div", {});
  const title = h("p", { class: "tfc-axis" }, "↑ weight, → score");
  box.append(
    h("div", { class: "tfc-sliders" }, temperatureSlider(model)),
    title,
    plot,
    legend(),
    h("div", { class: "tfc-sliders", style: "margin-top: 0.8rem" }, ...scores),
    h("div", { class: "tfc-choices" }, more, fewer),
    says,
  );

  redraw(model, TRAITS, plot, (width) => {
    const [numbers, temperature] = TRAITS.map((trait) => model.get(trait));
    const sentence = verdict(numbers, temperature);
    plot.replaceChildren(picture(numbers, temperature, width, sentence));
    scores.forEach((label, i) => (label.style.display = i < numbers.length ? "" : "none"));
    more.setAttribute("aria-disabled", String(numbers.length >= MOST));
    fewer.setAttribute("aria-disabled", String(numbers.length <= FEWEST));
    for (const each of [more, fewer])
      each.style.opacity = each.getAttribute("aria-disabled") === "true" ? 0.5 : 1;
    say(sentence);
  });
}

export default { render, softmax, rescaled, bits, verdict };
