// A command and its translation, token by token: where each token looked, and what comes of it.
const TRAITS = ["cases", "chosen", "head", "token"];
const END = "<end>";
const LETTER = 6.6; // pixels, of the labels
const TYPE = 12.5; // pixels: how high they are, at most as high as a column is wide
const LEAST = 10; // pixels: narrower columns have no label but the one that is lit

const tokensOf = ({ shell }) => [...shell.split(" ").filter(Boolean), END];
const wordsOf = ({ english }) => english.split(" ");

/** The weights of one head, or the mean of all for −1: a row for each token. */
function look(weights, head) {
  if (head >= 0) return weights[head];
  return weights[0].map((row, t) =>
    row.map((_, s) => weights.reduce((sum, one) => sum + one[t][s], 0) / weights.length),
  );
}

/** The words by their weight, the largest first; those that got a hundredth or more. */
function largest(row) {
  const order = row.map((_, s) => s).sort((one, other) => row[other] - row[one]);
  return order.filter((s) => row[s] >= 0.01);
}

const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;

/** What is in the folders of a change, all together. */
const total = (change) => change.reduce((sum, { count }) => sum + count, 0);

/** What a complete command does, in one sentence. */
function result({ fault, said, lines, added, taken, wanted, right }) {
  if (fault) return `That is no command: ${fault}`;
  const [more, fewer] = [total(added), total(taken)];
  const parts = [];
  if (lines) parts.push(lines === 1 ? `says “${said[0]}”` : `says ${lines} lines`);
  if (more) parts.push(`adds ${many(more, "name", "names")} to the folders`);
  if (fewer) parts.push(`takes ${many(fewer, "name", "names")} from them`);
  const does = parts.length ? parts.join(" and ") : "says nothing and changes nothing";
  const other = wanted ? `: that would be ${wanted}` : ".";
  const asked = right ? " This is what was asked for." : ` This is not what was asked for${other}`;
  return `The command ${does}.${right === null ? "" : asked}`;
}

function sentence(one, head, token) {
  const [tokens, words] = [tokensOf(one), wordsOf(one)];
  const row = look(one.weights, head)[token];
  const [first, ...rest] = largest(row);
  const twice = (word) => words.indexOf(word) !== words.lastIndexOf(word);
  const place = (s) => (twice(words[s]) ? `word ${s + 1}, ` : "");
  const told = (s) => `“${words[s]}” (${place(s)}${row[s].toFixed(2)})`;
  const then = rest.length ? `, then at ${told(rest[0])}` : "";
  const who = head < 0 ? "the heads look" : `head ${head} looks`;
  const where = first === undefined ? "" : `: ${who} most at ${told(first)}${then}`;
  const done = token === tokens.length - 1 ? ` ${result(one)}` : "";
  return `Token ${token + 1} of ${tokens.length}, ${tokens[token]}${where}.${done}`;
}

/** A token as a label: what is long is cut. */
const short = (text) => (text.length > 13 ? `${text.slice(0, 12)}…` : text);

/** The map: words of the command down, tokens across; those to come are faint. */
function map(words, tokens, matrix, token, width) {
  const longest = (names) => Math.max(...names.map((name) => short(name).length));
  const [left, top] = [8 + LETTER * longest(words), 8 + LETTER * longest(tokens)];
  const cell = Math.min(26, (width - left - 4) / tokens.length);
  const tall = Math.max(cell, 17);
  const [first] = largest(matrix[token]);
  const ink = (lit) => `fill: var(--tfc-ink); font-weight: ${lit ? 700 : 400}`;
  const rows = words.map((word, i) => {
    const lit = matrix[token][i] >= 0.1;
    const place = { x: -6, y: (i + 0.5) * tall + 4, "text-anchor": "end" };
    return s("text", { ...place, style: ink(lit), opacity: lit ? 1 : 0.75 }, short(word));
  });
  const columns = tokens.map((name, t) => {
    const cells = matrix[t].map((weight, i) => {
      const at = { x: t * cell, y: i * tall, width: cell + 0.3, height: tall + 0.3 };
      return s("rect", { ...at, style: `fill: var(--tfc-blue); fill-opacity: ${weight.toFixed(3)}` });
    });
    const high = cell >= LEAST ? Math.min(TYPE, cell) : TYPE;
    const turn = `translate(${(t + 0.5) * cell + high / 3} -6) rotate(-90)`;
    const shown = cell >= LEAST || t === token;
    const look = `${ink(t === token)}; font-size: ${high.toFixed(1)}px`;
    const label = shown ? [s("text", { transform: turn, style: look }, short(name))] : [];
    return s("g", { opacity: t > token ? 0.3 : 1, "data-token": t }, ...cells, ...label);
  });
  const [wide, high] = [cell * tokens.length, tall * words.length];
  const box = (shape, hue) =>
    s("rect", { ...shape, style: `fill: none; stroke: var(${hue}); stroke-width: 2` });
  const lit = box({ x: token * cell - 1, y: -1, width: cell + 2, height: high + 2 }, "--tfc-ink");
  const most = { x: token * cell, y: first * tall, width: cell, height: tall };
  const size = [left + wide + 2, top + high + 2];
  return s(
    "svg",
    { viewBox: `${-left} ${-top} ${size.join(" ")}`, width: size[0], height: size[1], "aria-hidden": "true" },
    s("rect", { x: 0, y: 0, width: wide, height: high, style: "fill: none; stroke: var(--tfc-line)" }),
    ...columns,
    lit,
    ...(first === undefined ? [] : [box(most, "--tfc-orange")]),
    ...rows,
  );
}

const CODE = "font-family: ui-monospace, monospace; font-size: 0.85rem; overflow-wrap: anywhere";

/** Some lines of code, and how many more there are. */
function listed(title, lines, count, sign = "") {
  const left = count - lines.length;
  const shown = lines.map((line) => h("div", { style: `${CODE}; padding-left: 1.2em; text-indent: -1.2em` }, sign + line));
  const more = left ? [h("p", { class: "tfc-axis" }, `and ${left} more`)] : [];
  return h("div", {}, h("p", { class: "tfc-axis" }, title), ...shown, ...more);
}

/** What the complete command says, and what it adds to and takes from the folders. */
function outcome(one) {
  if (one.fault) return [listed("no command", [one.fault], 1)];
  const parts = one.lines ? [listed("what it says", one.said, one.lines)] : [];
  for (const [change, sign] of [[one.added, "+ "], [one.taken, "− "]])
    for (const { folder, count, names } of change) {
      const title = h("p", { class: "tfc-axis" }, h("strong", {}, folder), `: ${sign}${count}`);
      const part = listed("", names, count, sign);
      part.firstChild.replaceWith(title);
      parts.push(part);
    }
  return parts.length ? parts : [h("p", { class: "tfc-axis" }, "It says nothing and changes nothing.")];
}

/** A field for a command of one's own, which Python translates. */
function asking(model, wait) {
  const field = h("input", { type: "text", maxlength: 200, autocomplete: "off", spellcheck: "false" });
  const look =
    "box-sizing: border-box; padding: 0.3rem 0.5rem; font: inherit; color: var(--tfc-ink);" +
    "background: var(--tfc-paper); border: 1px solid var(--tfc-soft); border-radius: 4px";
  field.style.cssText = `${look}; width: 100%`;
  field.dataset.lmSuppressShortcuts = "true";
  const button = h("button", { type: "button", class: "tfc-choice" }, "translate");
  const ask = () => {
    if (!field.value.trim()) return;
    wait();
    model.send({ sentence: field.value });
  };
  button.addEventListener("click", ask);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") ask();
  });
  const label = h("label", { style: "flex: 1 1 12rem" }, "a command of your own", field);
  return h("div", { class: "tfc-choices", style: "align-items: end" }, label, button);
}

/** A select control bound to the trait `chosen`. */
function choosing(model) {
  const select = h("select", { "aria-label": "command" });
  select.style.cssText =
    "width: 100%; padding: 0.3rem; font: inherit; color: var(--tfc-ink);" +
    "background: var(--tfc-paper); border: 1px solid var(--tfc-soft); border-radius: 4px";
  select.dataset.lmSuppressShortcuts = "true";
  select.addEventListener("change", () => {
    const chosen = Number(select.value);
    model.set("token", tokensOf(model.get("cases")[chosen]).length - 1);
    model.set("chosen", chosen);
    model.save_changes();
  });
  return select;
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A command and its translation");
  const live = model.get("live") && typeof model.send === "function";
  const select = choosing(model);
  const heads = h("div", { class: "tfc-choices", role: "group", "aria-label": "cross-attention of the last layer" });
  const field = { trait: "token", label: "token that is written", min: 0, max: 1, step: 1 };
  const format = (t) => {
    const tokens = tokensOf(model.get("cases")[model.get("chosen")]);
    return `${tokens[Math.min(t, tokens.length - 1)]} (${Math.min(t, tokens.length - 1) + 1} of ${tokens.length})`;
  };
  const moved = slider(model, { ...field, format });
  const [, value, input] = moved.children;
  const english = h("p", { class: "tfc-sentence", style: "margin: 0 0 0.5rem" });
  const shell = h("p", { class: "tfc-sentence", style: `margin: 0 0 0.7rem; ${CODE}` });
  const view = h("div", { style: "cursor: pointer" });
  const after = h("div", { class: "tfc-halves", style: "align-items: start; margin-top: 0.6rem" });
  const note = live
    ? asking(model, () => say("Python translates … (if no answer comes, run the figure’s cell again)"))
    : h("p", { class: "tfc-axis" }, "These were recorded. In JupyterLab a command of your own can be typed here.");
  const answer = live ? [says] : []; // beside the field: trouble must not go unseen
  if (live) says.style.margin = "0 0 0.6rem";
  box.append(
    note,
    ...answer,
    h("label", { style: "display: block; margin-bottom: 0.6rem" }, "command", select),
    h("p", { class: "tfc-axis" }, "the cross-attention of the last layer:"),
    heads,
    h("div", { class: "tfc-sliders" }, moved),
    h("p", { class: "tfc-axis" }, "what is read; blue: where this token looks"),
    english,
    h("p", { class: "tfc-axis" }, "what is written"),
    shell,
    h("p", { class: "tfc-axis" }, "the words that are read ↓, the tokens that are written →"),
    view,
    after,
    ...(live ? [] : [says]),
  );
  const step = (event) => {
    const column = event.target.closest("[data-token]");
    if (!column) return;
    model.set("token", Number(column.dataset.token));
    model.save_changes();
  };
  for (const holder of [shell, view]) holder.addEventListener("click", step);

  let shown = null; // the cases in the select control
  redraw(model, TRAITS, view, (width) => {
    const [cases, chosen, wanted, at] = TRAITS.map((trait) => model.get(trait));
    const one = cases[Math.min(chosen, cases.length - 1)];
    const [words, tokens] = [wordsOf(one), tokensOf(one)];
    const head = Math.min(wanted, one.weights.length - 1);
    const token = Math.min(at, tokens.length - 1);
    const matrix = look(one.weights, head);
    if (shown !== cases) {
      shown = cases;
      select.replaceChildren(...cases.map((c, i) => h("option", { value: i }, c.english)));
      const names = ["mean of the heads", ...one.weights.map((_, i) => `head ${i}`)];
      heads.replaceChildren(
        ...names.map((name, i) => {
          const button = h("button", { type: "button", class: "tfc-choice" }, name);
          button.addEventListener("click", () => {
            model.set("head", i - 1);
            model.save_changes();
          });
          return button;
        }),
      );
    }
    select.value = String(chosen);
    [...heads.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i - 1 === head)));
    input.max = tokens.length - 1;
    input.value = token;
    value.textContent = format(token);
    input.setAttribute("aria-valuetext", format(token));
    english.replaceChildren(
      ...words.map((word, i) => {
        const share = Math.round(50 * matrix[token][i]);
        const look = `padding: 0.05rem 0.3rem; border-radius: 4px; background: color-mix(in srgb, var(--tfc-blue) ${share}%, var(--tfc-paper))`;
        return h("span", { style: look }, word);
      }),
    );
    shell.replaceChildren(
      ...tokens.map((name, t) => {
        const lit = t === token ? "font-weight: 700; border-bottom: 2px solid var(--tfc-orange)" : "";
        const look = `cursor: pointer; ${t > token ? "color: var(--tfc-soft)" : ""}; ${lit}`;
        return h("span", { "data-token": t, style: look }, name);
      }),
    );
    view.replaceChildren(map(words, tokens, matrix, token, width));
    const done = token === tokens.length - 1;
    const waits = h("p", { class: "tfc-axis" }, "The command runs once it is complete.");
    after.replaceChildren(...(done ? outcome(one) : [waits]));
    say(sentence(one, head, token));
  });
  model.on("change:answered", () => {
    const [trouble, ...now] = ["trouble", "cases", "chosen", "head", "token"].map((trait) => model.get(trait));
    const [cases, chosen, head, token] = now;
    say(trouble ? `No translation: ${trouble}` : sentence(cases[chosen], head, token));
  });
}

export default { render, look, result, sentence };
