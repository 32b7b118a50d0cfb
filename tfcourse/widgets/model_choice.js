// Questions about a task, and what follows for the choice of a model.
const CHOICE_HEADS = {
  place: "where it runs",
  kind: "kind",
  objective: "trained to find",
  size: "size",
  input: "long inputs",
  examples: "your examples",
  facts: "your facts",
  last: "short list",
};

/** [[decision, advice, reason]]: of each decision the first rule whose answers all fit. */
function advice(rules, answers) {
  const found = new Map();
  for (const [decision, when, what, why] of rules) {
    const fits = Object.entries(when).every(([name, answer]) => answers[name] === answer);
    if (fits && !found.has(decision)) found.set(decision, [decision, what, why]);
  }
  return [...found.values()];
}

/** What an answer has changed: the rows that are not what they were. */
function changed(before, now) {
  const old = new Map(before.map(([decision, what]) => [decision, what]));
  return now.filter(([decision, what]) => old.get(decision) !== what);
}

function spoken(rows) {
  return rows.map(([decision, what]) => `${CHOICE_HEADS[decision]}: ${what}`).join("; ");
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Questions about a task, and the model that they lead to");
  const buttons = [];
  const asked = model.get("questions").map(([name, question, choices]) => {
    const offered = choices.map(([answer, label]) => {
      const button = h("button", { type: "button", class: "tfc-choice" }, label);
      button.addEventListener("click", () => {
        model.set("answers", { ...model.get("answers"), [name]: answer });
        model.save_changes();
      });
      buttons.push([button, name, answer]);
      return button;
    });
    return h(
      "div",
      { class: "tfc-question", role: "group", "aria-label": question },
      h("span", { "aria-hidden": "true" }, question),
      h("div", { class: "tfc-choices" }, ...offered),
    );
  });
  const body = h("tbody", {});
  const columns = ["decision", "look for", "because"].map((text) => h("th", { scope: "col" }, text));
  const head = h("thead", {}, h("tr", {}, ...columns));
  const table = h("table", { class: "tfc-table tfc-advice" }, head, body);
  box.append(...asked, says, table);

  let before = null;
  redraw(model, ["answers"], table, () => {
    const answers = model.get("answers");
    const rows = advice(model.get("rules"), answers);
    for (const [button, name, answer] of buttons)
      button.setAttribute("aria-pressed", String(answers[name] === answer));
    const fresh = new Set(before ? changed(before, rows).map(([decision]) => decision) : []);
    body.replaceChildren(
      ...rows.map(([decision, what, why]) =>
        h(
          "tr",
          fresh.has(decision) ? { class: "tfc-advice-new" } : {},
          h("th", { scope: "row" }, CHOICE_HEADS[decision]),
          h("td", {}, what),
          h("td", {}, why),
        ),
      ),
    );
    if (!before) say(`Now ${spoken(rows.slice(0, 2))}.`);
    else if (fresh.size) say(`Now ${spoken(rows.filter(([decision]) => fresh.has(decision)))}.`);
    else if (JSON.stringify(rows) !== JSON.stringify(before)) say("Another reason, the same advice.");
    before = rows;
  });
}

export default { render, advice, changed };
