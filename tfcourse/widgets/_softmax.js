// Softmax and its temperature, for the figures that turn it.
/** softmax(scores / temperature). */
function softmax(scores, temperature) {
  const best = Math.max(...scores);
  const powers = scores.map((score) => Math.exp((score - best) / temperature));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** The entropy of weights, in bits. */
function bits(weights) {
  return weights.reduce((sum, p) => sum - (p > 0 ? p * Math.log2(p) : 0), 0);
}

const number = (x, digits) =>
  x.toFixed(digits).replace(/^-(0\.0*)$/, "$1").replace("-", "−");
const two = (x) => number(x, 2);
const one = (x) => number(x, 1);

/** A model for a slider that shows a part of a trait, or the trait on another scale. */
function lens(model, trait, look, put) {
  return {
    get: () => look(model.get(trait)),
    set: (_, value) => model.set(trait, put(value)),
    on: (_, listener) => model.on(`change:${trait}`, listener),
    save_changes: () => model.save_changes(),
  };
}

/** The temperature, from 0.1 to 10, on a logarithmic scale. */
function temperatureSlider(model) {
  const put = (power) => Number((10 ** power).toPrecision(3));
  const field = { trait: "power", label: "temperature T", min: -1, max: 1, step: 0.05 };
  const format = (power) => String(put(power));
  return slider(lens(model, "temperature", Math.log10, put), { ...field, format });
}

function button(label, press) {
  const made = h("button", { type: "button", class: "tfc-choice" }, label);
  made.addEventListener("click", press);
  return made;
}
