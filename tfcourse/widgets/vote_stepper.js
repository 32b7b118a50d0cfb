// Pairs of words vote for the next word, step by step, with and without a mask.
const TRAITS = ["commands", "chosen", "place", "masked", "mask"];

/** {"earlier last": {next: count}} over all commands. */
function countPairs(commands) {
  const counts = {};
  for (const words of commands.map((command) => command.split(" ")))
    for (let t = 1; t < words.length - 1; t++)
      for (const word of new Set(words.slice(0, t))) {
        const after = (counts[`${word} ${words[t]}`] ??= {});
        after[words[t + 1]] = (after[words[t + 1]] ?? 0) + 1;
      }
  return counts;
}

/** The ballots after `place` words: [{word, open, votes}], in the order of the words. */
function ballots(commands, chosen, place, mask) {
  const read = commands[chosen].split(" ").slice(0, place);
  const last = read.at(-1);
  const counts = countPairs(commands);
  return [...new Set(read.slice(0, -1))].map((word) => {
    const after = counts[`${word} ${last}`] ?? {};
    const sum = Object.values(after).reduce((one, other) => one + other, 0);
    const votes = Object.entries(after).map(([next, count]) => [next, count / sum]);
    return { word, open: !mask?.[last] || mask[last].includes(word), votes: Object.fromEntries(votes) };
  });
}

/** {next: votes of the pairs that are let through}; those without a vote too. */
function tally(cast) {
  const sums = {};
  for (const { open, votes } of cast)
    for (const [next, vote] of Object.entries(votes))
      sums[next] = (sums[next] ?? 0) + (open ? vote : 0);
  return sums;
}

const short = (value) => String(Number(value.toFixed(2)));

function verdict(sums, last) {
  const order = Object.entries(sums).sort(([, one], [, other]) => other - one);
  const [[best, most], second] = order;
  if (!second) return `After “${last}” every pair votes for ${best}: ${short(most)} to 0.`;
  const [next, fewer] = second;
  const tie = Math.abs(most - fewer) < 1e-9;
  const result = tie ? `a tie of ${best} and ${next}` : `${best} wins over ${next}`;
  return `After “${last}”: ${result}, ${short(most)} to ${short(fewer)}.`;
}

function sentence(words, place, cast) {
  const shut = new Set(cast.filter(({ open }) => !open).map(({ word }) => word));
  const marked = words.map((word, i) => {
    let look = "tfc-heard-later";
    if (i === place - 1) look = "tfc-heard-last";
    else if (i < place) look = shut.has(word) ? "tfc-masked" : "tfc-heard-before";
    return h("span", { class: `tfc-heard ${look}` }, word);
  });
  return h("p", { class: "tfc-sentence", "aria-hidden": "true" }, ...marked);
}

function table(cast, sums, last) {
  const nexts = Object.keys(sums);
  const most = Math.max(...Object.values(sums), 1);
  const bar = (value, scale) =>
    h("span", {}, h("span", { class: "tfc-bar tfc-entry-0", style: `width:${(100 * value) / scale}%` }));
  const rows = cast.map(({ word, open, votes }) =>
    h(
      "tr",
      open ? {} : { class: "tfc-masked" },
      h("th", { scope: "row", ...(open ? {} : { "aria-label": `${word}, ${last}: masked` }) }, `${word}, ${last}`),
      ...nexts.flatMap((next) => [
        h("td", { class: "tfc-number" }, open ? short(votes[next] ?? 0) : "–"),
        h("td", { class: "tfc-track" }, bar(open ? (votes[next] ?? 0) : 0, 1)),
      ]),
    ),
  );
  const totals = nexts.flatMap((next) => [
    h("td", { class: "tfc-number" }, short(sums[next])),
    h("td", { class: "tfc-track" }, bar(sums[next], most)),
  ]);
  const heads = nexts.map((next) => h("th", { scope: "col", colspan: 2 }, next));
  return h(
    "table",
    { class: "tfc-table tfc-votes" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "pair"), ...heads)),
    h("tbody", {}, ...rows),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "all together"), ...totals)),
  );
}

/** A labelled button that is pressed or not. */
function toggle(model, label, isOn, press) {
  const button = h("button", { type: "button", class: "tfc-choice" }, label);
  button.addEventListener("click", () => {
    press();
    model.save_changes();
  });
  return { button, show: () => button.setAttribute("aria-pressed", String(isOn())) };
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Pairs of words vote for the next word");
  const commands = model.get("commands");
  const longest = Math.min(...commands.map((command) => command.split(" ").length)) - 1;
  const steps = { trait: "place", label: "words read", min: 2, max: longest, step: 1 };
  const toggles = commands.map((command, i) => {
    const names = command.split(" ").filter((word) => !commands[1 - i].split(" ").includes(word));
    const chosen = () => model.get("chosen") === i;
    return toggle(model, `the ${names[0]}’s command`, chosen, () => model.set("chosen", i));
  });
  const masked = () => model.get("masked");
  toggles.push(toggle(model, "mask", masked, () => model.set("masked", !masked())));
  const buttons = h("div", { class: "tfc-choices" }, ...toggles.map(({ button }) => button));
  const sliders = h("div", { class: "tfc-sliders" }, slider(model, { ...steps, format: String }));
  const shown = h("div", { class: "tfc-wide", tabindex: 0, role: "group", "aria-label": "votes" });
  const told = h("div", {});
  box.append(buttons, sliders, told, shown, says);

  redraw(model, TRAITS, shown, () => {
    const [all, chosen, place, on, mask] = TRAITS.map((trait) => model.get(trait));
    const words = all[chosen].split(" ");
    const cast = ballots(all, chosen, place, on ? mask : null);
    const sums = tally(cast);
    for (const { show } of toggles) show();
    told.replaceChildren(sentence(words, place, cast));
    shown.replaceChildren(table(cast, sums, words[place - 1]));
    say(verdict(sums, words[place - 1]));
  });
}

export default { render, ballots, tally, verdict };
