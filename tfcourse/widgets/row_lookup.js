// A row of weights times a matrix: a one-hot row picks a row, any other mixes the rows.
const TRAITS = ["words", "matrix", "weights"];

/** The row of weights times the matrix, whose rows stand one below the other. */
function product(weights, matrix) {
  return matrix[0].map((_, column) =>
    matrix.reduce((sum, row, i) => sum + weights[i] * row[column], 0),
  );
}

/** What the product is: a mix, with the largest part first, or the one row that is picked. */
function sentence(words, weights) {
  const used = words.map((word, i) => ({ word, weight: weights[i] })).filter((w) => w.weight);
  if (!used.length) return "The product is a row of zeros: no row is asked for.";
  if (used.length === 1 && used[0].weight === 1)
    return `The product is the row of “${used[0].word}”, unchanged: a lookup.`;
  if (used.length === 1)
    return `The product is ${used[0].weight.toFixed(1)} times the row of “${used[0].word}”.`;
  used.sort((one, other) => other.weight - one.weight);
  const parts = used.map(({ word, weight }) => `${weight.toFixed(1)} of “${word}”`);
  const last = parts.pop();
  return `The product is a mix: ${parts.join(", ")} and ${last}.`;
}

const number = (value) => value.toFixed(1).replace(/^-0\.0$/, "0.0").replace("-", "−");

/** The slider of one weight; it sets its place in the list. */
function weightSlider(model, i) {
  const label = `weight of ${model.get("words")[i]}`;
  const range = { type: "range", min: 0, max: 1, step: 0.1, "aria-label": label };
  const input = h("input", range);
  input.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the arrow keys
  input.addEventListener("input", () => {
    model.set("weights", model.get("weights").with(i, Number(input.value)));
    model.save_changes();
  });
  return input;
}

/** A word, as a button that gives it all the weight. */
function wordButton(model, i) {
  const button = h("button", { type: "button", class: "tfc-pick" }, model.get("words")[i]);
  button.addEventListener("click", () => {
    model.set("weights", model.get("words").map((_, other) => Number(other === i)));
    model.save_changes();
  });
  return button;
}

/** A number in a cell, shaded by the weight of its row. */
function cell(value, weight) {
  const shade = `--tfc-share:${Math.round(45 * weight)}%`;
  return h("td", {}, h("span", { class: "tfc-cell", style: shade }, number(value)));
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A row of weights times a matrix");
  const words = model.get("words");
  const sliders = words.map((_, i) => weightSlider(model, i));
  const values = words.map(() => h("span", { class: "tfc-value", "aria-hidden": "true" }));
  const buttons = words.map((_, i) => wordButton(model, i));
  const columns = model.get("matrix")[0].length;
  const heads = h("tr", {}, ...["word", "weight"].map((t) => h("th", { scope: "col" }, t)));
  heads.append(h("th", { scope: "col", colspan: columns }, "its row of the matrix"));
  const rows = words.map((_, i) =>
    h("tr", {}, h("th", { scope: "row" }, buttons[i]), h("td", {}, sliders[i], values[i])),
  );
  const sum = h("tr", { class: "tfc-sum" });
  const parts = [h("thead", {}, heads), h("tbody", {}, ...rows), h("tfoot", {}, sum)];
  box.append(h("table", { class: "tfc-table tfc-lookup" }, ...parts), says);

  const draw = () => {
    const [, matrix, weights] = TRAITS.map((trait) => model.get(trait));
    rows.forEach((row, i) => {
      sliders[i].value = weights[i];
      sliders[i].setAttribute("aria-valuetext", weights[i].toFixed(1));
      values[i].textContent = weights[i].toFixed(1);
      const only = weights.every((weight, other) => weight === Number(other === i));
      buttons[i].setAttribute("aria-pressed", String(only));
      const cells = matrix[i].map((value) => cell(value, weights[i]));
      row.replaceChildren(row.children[0], row.children[1], ...cells);
    });
    const result = product(weights, matrix).map((value) => h("td", {}, number(value)));
    sum.replaceChildren(h("th", { scope: "row" }, "product"), h("td"), ...result);
    say(sentence(words, weights));
  };
  for (const trait of TRAITS) model.on(`change:${trait}`, draw);
  draw();
}

export default { render, product };
