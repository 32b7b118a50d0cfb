// What every figure of the course shares. Python puts this text in front of each module.

/** An element: h("p", {class: "tfc-say"}, "text", child). */
function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for the elements of an SVG picture. */
function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return fill(element, attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes))
    element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The box around a figure, and the sentence in it that screen readers announce. */
function frame(root, title) {
  const says = h("p", { class: "tfc-says", role: "status", "aria-live": "polite" });
  const box = h("div", { class: "tfc", role: "group", "aria-label": title });
  root.replaceChildren(box);
  return {
    box,
    say(text) {
      if (says.textContent !== text) says.textContent = text;
    },
    says,
  };
}

/** A labelled slider bound to one trait of the model; `format` writes its value. */
function slider(model, { trait, label, min, max, step, format }) {
  const input = h("input", { type: "range", min, max, step });
  input.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the arrow keys
  const output = h("span", { class: "tfc-value", "aria-hidden": "true" });
  const show = () => {
    const text = format(model.get(trait));
    input.value = model.get(trait);
    input.setAttribute("aria-valuetext", text);
    output.textContent = text;
  };
  input.addEventListener("input", () => {
    model.set(trait, Number(input.value));
    model.save_changes();
  });
  model.on(`change:${trait}`, show);
  show();
  return h("label", { class: "tfc-slider" }, h("span", {}, label), output, input);
}

/** Draw now, when one of the traits changes, and when the width of the box does. */
function redraw(model, traits, box, draw) {
  let width = 0;
  for (const trait of traits) model.on(`change:${trait}`, () => draw(width));
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now && now !== width) draw((width = now));
  }).observe(box);
  draw((width = Math.round(box.getBoundingClientRect().width) || 640));
}

/** 0.0052 as "0.0052", 5.2e-9 as "5.2·10⁻⁹". */
function inWords(value) {
  if (value >= 0.001 && value < 10000) return String(Number(value.toPrecision(2)));
  const [digits, power] = value.toExponential(1).split("e");
  return `${digits}·${powerOfTen(Number(power))}`;
}

function powerOfTen(power) {
  const raised = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴" };
  Object.assign(raised, { 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" });
  return "10" + [...String(power)].map((sign) => raised[sign]).join("");
}
