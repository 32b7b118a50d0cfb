// The distribution of the next token at a temperature, before and after a cut.
const TRAITS = ["tokens", "cases", "chosen", "temperature", "top_k", "top_p"];
const SHOWN = 10; // tokens that have a row of their own
const ROW = 24;
const FEW = [1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 60, 80, 100, 200, 500, 1000];

/** The chances of all tokens at this temperature, and what top-k and top-p leave of them.
 * A `top_k` of 0 keeps all, as a `top_p` of 1 does. */
function next(logits, temperature, topK, topP) {
  const before = softmax(logits, temperature);
  const order = before.map((_, i) => i).sort((i, j) => logits[j] - logits[i] || i - j);
  const smallest = logits[order[Math.min(topK || order.length, order.length) - 1]];
  const inK = order.filter((i) => logits[i] >= smallest); // of equals at the border all
  const all = inK.reduce((sum, i) => sum + before[i], 0);
  const after = before.map(() => 0);
  let sum = 0;
  let kept = 0;
  for (const i of inK) {
    if (topP < 1 && sum / all >= topP) break;
    after[i] = before[i];
    sum += before[i];
    kept++;
  }
  return { before, after: after.map((p) => p / sum), order, kept };
}

/** A token as it is read: what has no face of its own gets one. */
function face(token) {
  const seen = token.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return seen.length > 18 ? `${seen.slice(0, 17)}…` : seen;
}

const percent = (p) => (p > 0 && p < 0.0005 ? "<0.1 %" : `${one(100 * p)} %`);

function verdict(tokens, logits, temperature, topK, topP) {
  const { before, after, order, kept } = next(logits, temperature, topK, topP);
  const [best] = order;
  const left = kept === 1 ? "1 token is" : `${kept} tokens are`;
  const cut = `temperature ${temperature}, top-k ${topK || "off"}, top-p ${two(topP)}`;
  const chance = `“${face(tokens[best])}” has ${percent(after[best])}, ${percent(before[best])} before the cut`;
  return `At ${cut}, ${left} left of ${tokens.length}. ${chance}. Entropy ${two(bits(after))} of ${two(bits(before))} bits.`;
}

const LOOKS = {
  before: "fill: none; stroke: var(--tfc-orange); stroke-dasharray: 4 3; stroke-width: 1.5",
  after: "fill: var(--tfc-blue); stroke: none",
};

/** A row for each of the likeliest tokens and one for the rest, `width` pixels in all. */
function picture(tokens, found, width, label) {
  const { before, after, order } = found;
  const [few, others] = [order.slice(0, SHOWN), order.slice(SHOWN)];
  const total = (chances) => others.reduce((sum, i) => sum + chances[i], 0);
  const rows = few.map((i) => [face(tokens[i]), before[i], after[i]]);
  if (others.length)
    rows.push([`${others.length} others`, total(before), total(after)]);
  const left = Math.min(150, 0.36 * width);
  const right = width - 62; // room for the number
  const bar = (p) => Math.max(p * (right - left), 0.5);
  const parts = rows.map(([name, was, is], row) => {
    const y = row * ROW + 4;
    const ink = `fill: var(--tfc-${is ? "ink" : "soft"})`;
    const letters = { y: y + 12, style: ink };
    return s(
      "g",
      { "data-kept": String(is > 0) },
      s("text", { x: left - 8, "text-anchor": "end", ...letters }, name),
      s("rect", { x: left, y: y + 2, width: bar(is), height: 13, style: LOOKS.after }),
      s("rect", { x: left, y, width: bar(was), height: 17, style: LOOKS.before }),
      s("text", { x: left + Math.max(bar(is), bar(was)) + 6, ...letters }, is ? percent(is) : "cut"),
    );
  });
  const height = rows.length * ROW + 4;
  const shape = { viewBox: `0 0 ${width} ${height}`, width, height };
  return s("svg", { ...shape, role: "img", "aria-label": label }, ...parts);
}

function legend() {
  const labels = { before: "softmax(scores / T)", after: "after the cut" };
  const entries = Object.entries(labels).map(([kind, label]) => {
    const box = { x: 1, y: 1, width: 24, height: 10, style: LOOKS[kind] };
    const sample = { width: 26, height: 12, "aria-hidden": "true" };
    return h("li", {}, s("svg", sample, s("rect", box)), label);
  });
  return h("ul", { class: "tfc-legend" }, ...entries);
}

/** Steps of top-k that are worth a stop, the last of them, all tokens, as 0. */
function topKSlider(model) {
  const stops = [...FEW.filter((k) => k < model.get("tokens").length), 0];
  const look = (k) => {
    const at = stops.findIndex((stop) => stop === 0 || stop >= k);
    return k ? at : stops.length - 1;
  };
  const field = { trait: "stop", label: "top-k", min: 0, max: stops.length - 1, step: 1 };
  const format = (at) => (stops[at] ? String(stops[at]) : "off");
  return slider(lens(model, "top_k", look, (at) => stops[at]), { ...field, format });
}

function prompts(model) {
  const made = model.get("cases").map(({ prompt }, i) => {
    const press = () => {
      model.set("chosen", i);
      model.save_changes();
    };
    return button(prompt, press);
  });
  const show = () =>
    made.forEach((each, i) => each.setAttribute("aria-pressed", String(i === model.get("chosen"))));
  const group = { class: "tfc-choices", role: "group", "aria-label": "prompt" };
  return { row: h("div", group, ...made), show };
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "The next token, and what is left to choose among");
  const { row, show } = prompts(model);
  const topP = { trait: "top_p", label: "top-p", min: 0.05, max: 1, step: 0.01, format: two };
  const plot = h("div", {});
  const sliders = [temperatureSlider(model), topKSlider(model), slider(model, topP)];
  box.append(row, h("div", { class: "tfc-sliders" }, ...sliders), plot, legend(), says);

  redraw(model, TRAITS, plot, (width) => {
    const [tokens, cases, chosen, ...how] = TRAITS.map((trait) => model.get(trait));
    const { logits } = cases[chosen];
    const sentence = verdict(tokens, logits, ...how);
    show();
    plot.replaceChildren(picture(tokens, next(logits, ...how), width, sentence));
    say(sentence);
  });
}

export default { render, next, face, verdict };
