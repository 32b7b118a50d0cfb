// A first-order Markov model to edit: its table in per cent, and commands drawn from it.
const TRAITS = ["table", "seed"];
const COMMANDS = 5;
const LONGEST = 14; // words, for a table can go round in circles

/** Random numbers from 0 to 1, the same for the same seed (mulberry32). */
function dice(seed) {
  let state = (seed + 1) * 0x9e3779b9;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const total = (row) => row.reduce((sum, value) => sum + value, 0);

/** One command: words drawn row by row until the last word of the list. */
function draw(words, table, roll) {
  const command = [0];
  while (command.length < LONGEST) {
    const row = table[command.at(-1)];
    let left = roll() * total(row);
    const next = row.findIndex((value) => (left -= value) < 0);
    if (next < 0) return `${told(words, command)} (and nothing can follow)`;
    command.push(next);
    if (next === words.length - 1) return told(words, command);
  }
  return `${told(words, command)} …`;
}

/** The first commands that a seed draws. */
function drawn(words, table, seed, number) {
  const roll = dice(seed);
  return Array.from({ length: number }, () => draw(words, table, roll));
}

const told = (words, command) => command.map((id) => words[id]).join(" ");

/** What is wrong with the rows, in a sentence; "" where all sum to 100. */
function complaint(words, table) {
  const off = table.findIndex((row) => Math.abs(total(row) - 100) > 0.5);
  if (off < 0) return "";
  const sum = total(table[off]);
  if (sum === 0) return `The row of ${words[off]} holds only zeros: nothing can follow. `;
  const shown = Number(sum.toFixed(1));
  return `The row of ${words[off]} sums to ${shown}\u00a0%, not 100\u00a0%: it is divided by its sum. `;
}

function editor(model, words, row, column) {
  const label = `${words[column]} after ${words[row]}, per cent`;
  const input = h("input", { type: "number", min: 0, max: 100, step: 5, "aria-label": label });
  input.value = model.get("table")[row][column];
  input.addEventListener("input", () => {
    const table = model.get("table").map((numbers) => [...numbers]);
    table[row][column] = Math.max(0, Number(input.value) || 0);
    model.set("table", table);
    model.save_changes();
  });
  return input;
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A transition table to edit");
  const words = model.get("words");
  const seed = { trait: "seed", label: "seed of the dice", min: 0, max: 60, step: 1 };
  const cells = words.map((_, i) => words.map((_, j) => editor(model, words, i, j)));
  const sums = words.map(() => h("td", { class: "tfc-number" }));
  const head = ["now ↓ next →", ...words, "sum"].map((word) => h("th", { scope: "col" }, word));
  const rows = words.map((word, i) => {
    const fields = cells[i].map((input) => h("td", { class: "tfc-chance" }, input));
    return h("tr", {}, h("th", { scope: "row" }, word), ...fields, sums[i]);
  });
  const table = h(
    "table",
    { class: "tfc-table tfc-transitions" },
    h("thead", {}, h("tr", {}, ...head)),
    h("tbody", {}, ...rows),
  );
  const list = h("ol", { class: "tfc-drawn" });
  const scroll = h("div", { class: "tfc-wide" }, table);
  const sliders = h("div", { class: "tfc-sliders" }, slider(model, { ...seed, format: String }));
  box.append(scroll, sliders, list, says);

  redraw(model, TRAITS, scroll, () => {
    const numbers = model.get("table");
    numbers.forEach((row, i) => {
      const sum = total(row);
      sums[i].textContent = String(Number(sum.toFixed(1)));
      sums[i].classList.toggle("tfc-unsummed", Math.abs(sum - 100) > 0.5);
      row.forEach((value, j) => {
        const share = sum ? value / sum : 0;
        cells[i][j].style.setProperty("--tfc-chance-share", `${Math.round(45 * share)}%`);
        cells[i][j].classList.toggle("tfc-never", !value);
        if (Number(cells[i][j].value) !== value) cells[i][j].value = value;
      });
    });
    const commands = drawn(words, numbers, model.get("seed"), COMMANDS);
    list.replaceChildren(...commands.map((command) => h("li", {}, command)));
    say(`${complaint(words, numbers)}Seed ${model.get("seed")} draws first: ${commands[0]}.`);
  });
}

export default { render, drawn, complaint };
