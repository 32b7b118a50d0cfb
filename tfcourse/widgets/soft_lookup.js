// A dictionary that answers with a mixture: every value, weighted by how well its key fits.
const TRAITS = ["entries", "angle", "sharpness"];
const RADIUS = 92; // of the circle on which keys and query lie, in drawing units

function unit(angle) {
  const radians = (angle * Math.PI) / 180;
  return [Math.cos(radians), Math.sin(radians)];
}

/** The scores q·k of keys at these angles, and their softmax at this sharpness. */
function lookUp(angles, query, sharpness) {
  const [qx, qy] = unit(query);
  const scores = angles.map((angle) => {
    const [kx, ky] = unit(angle);
    return qx * kx + qy * ky;
  });
  const best = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(sharpness * (score - best)));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return { scores, weights: powers.map((power) => power / total) };
}

const percent = (weight) => `${Math.round(100 * weight)}\u00a0%`;

/** "72 % Paris, 25 % Rome, 3 % Tokyo": the mixture, largest part first. */
function mixture(entries, weights) {
  const parts = entries.map(([, value], i) => ({ value, weight: weights[i] }));
  parts.sort((one, other) => other.weight - one.weight);
  const named = parts.filter(({ weight }) => weight >= 0.005);
  return named.map(({ weight, value }) => `${percent(weight)} ${value}`).join(", ");
}

function arrow(angle) {
  const [x, y] = unit(angle);
  const line = { x1: 0, y1: 0, x2: x * (RADIUS - 10), y2: -y * (RADIUS - 10) };
  const turn = `translate(${x * RADIUS} ${-y * RADIUS}) rotate(${-angle})`;
  const head = { d: "M0 0L-14 -6.5L-14 6.5Z", transform: turn };
  return s("g", { class: "tfc-arrow" }, s("line", line), s("path", head));
}

/** Keys as arrows, thicker with their weight, and the query with a knob to drag. */
function circle(entries, angle, weights) {
  const keys = entries.map(([name, , degrees], i) => {
    const [x, y] = unit(degrees);
    const at = { x: x * (RADIUS + 14), y: -y * (RADIUS + 14) + 4 };
    const side = Math.abs(x) < 0.35 ? "middle" : x > 0 ? "start" : "end";
    return s(
      "g",
      { class: `tfc-key tfc-entry-${i}`, style: `stroke-width:${2 + 5 * weights[i]}` },
      arrow(degrees),
      s("text", { ...at, "text-anchor": side }, name),
    );
  });
  const [x, y] = unit(angle).map((part) => part * RADIUS * 0.7);
  return s(
    "svg",
    { viewBox: "-170 -125 340 250", class: "tfc-circle", "aria-hidden": "true" },
    s("circle", { r: RADIUS, class: "tfc-rim" }),
    ...keys,
    s("line", { x1: 0, y1: 0, x2: x, y2: -y, class: "tfc-query" }),
    s("circle", { r: 7, class: "tfc-hub" }),
    s("circle", { cx: x, cy: -y, r: 11, class: "tfc-knob" }),
    s("text", { x, y: 4 - y, "text-anchor": "middle", class: "tfc-q" }, "q"),
  );
}

function table(entries, scores, weights, sharpness) {
  const rows = entries.map(([key, value], i) => {
    const bar = h("span", { class: "tfc-bar", style: `width:${100 * weights[i]}%` });
    return h(
      "tr",
      { class: `tfc-entry-${i}` },
      h("th", { scope: "row" }, key),
      h("td", { class: "tfc-number" }, scores[i].toFixed(2).replace("-", "−")),
      h("td", { class: "tfc-track" }, h("span", {}, bar)),
      h("td", { class: "tfc-number" }, weights[i].toFixed(2)),
      h("td", {}, value),
    );
  });
  const heads = [["key"], ["q·k"], ["weight", 2], ["value"]].map(([name, span = 1]) =>
    h("th", { scope: "col", colspan: span }, name),
  );
  return h(
    "table",
    { class: "tfc-table" },
    h("caption", {}, `weights = softmax(${sharpness} · q·k)`),
    h("thead", {}, h("tr", {}, ...heads)),
    h("tbody", {}, ...rows),
  );
}

/** The answer as one bar: each value's share, in its colour. */
function answer(weights) {
  const shares = weights.map((weight, i) =>
    h("span", { class: `tfc-bar tfc-entry-${i}`, style: `width:${100 * weight}%` }),
  );
  return h("div", { class: "tfc-answer", "aria-hidden": "true" }, ...shares);
}

/** Dragging the query arrow turns it. */
function drag(holder, model) {
  const turn = (event) => {
    const { left, top, width, height } = holder.firstChild.getBoundingClientRect();
    const across = event.clientX - left - width / 2;
    const up = top + height / 2 - event.clientY;
    const angle = (Math.atan2(up, across) * 180) / Math.PI;
    model.set("angle", (Math.round(angle) + 360) % 360);
    model.save_changes();
  };
  holder.addEventListener("pointerdown", (event) => {
    if (!event.target.classList.contains("tfc-knob")) return;
    holder.setPointerCapture(event.pointerId);
    holder.addEventListener("pointermove", turn);
  });
  for (const end of ["pointerup", "pointercancel"])
    holder.addEventListener(end, () => holder.removeEventListener("pointermove", turn));
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A soft dictionary lookup");
  const degrees = (angle) => `${angle}°`;
  const sliders = [
    { trait: "angle", label: "direction of the query", min: 0, max: 359, step: 1, format: degrees },
    { trait: "sharpness", label: "sharpness", min: 0, max: 20, step: 0.5, format: String },
  ].map((field) => slider(model, field));
  const left = h("div", { class: "tfc-dial" });
  const right = h("div", {});
  const halves = h("div", { class: "tfc-halves" }, left, right);
  const mixed = h("div", {});
  box.append(h("div", { class: "tfc-sliders" }, ...sliders), halves, mixed, says);
  drag(left, model);

  redraw(model, TRAITS, left, () => {
    const [entries, angle, sharpness] = TRAITS.map((trait) => model.get(trait));
    const angles = entries.map(([, , degrees]) => degrees);
    const { scores, weights } = lookUp(angles, angle, sharpness);
    left.replaceChildren(circle(entries, angle, weights));
    right.replaceChildren(table(entries, scores, weights, sharpness));
    mixed.replaceChildren(answer(weights));
    say(`The answer is a mixture: ${mixture(entries, weights)}.`);
  });
}

export default { render, lookUp };
