// Attention maps of several heads side by side; the row of one query is lit in all of them.
const TRAITS = ["tokens", "weights", "jobs", "query"];
const LETTER = 6.4; // pixels, of the labels
const [WIDE, GAP] = [280, 19]; // pixels, of the maps
const LEAST = 9; // a smaller cell has no label, but in the row that is lit

/** The key that each head looks at most, and its weight, for one query; key −1: all alike. */
function strongest(weights, query) {
  return weights.map((head) => {
    const [least, weight] = [Math.min(...head[query]), Math.max(...head[query])];
    const key = weight - least < 1e-6 && head[query].length > 1 ? -1 : head[query].indexOf(weight);
    return { key, weight };
  });
}

/** A token as a label: spaces can be seen, and what is long is cut. */
function short(token) {
  const seen = token.replace(/^ | $/g, "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return seen.length > 9 ? `${seen.slice(0, 8)}…` : seen;
}

function sentence(tokens, best, query) {
  const parts = best.map(({ key, weight }, head) => {
    const what = key < 0 ? "all alike" : `most at ${short(tokens[key])}`;
    return `head ${head} looks at ${what} (${weight.toFixed(2)})`;
  });
  return `Query “${short(tokens[query])}”, number ${query + 1}: ${parts.join("; ")}.`;
}

/** One map: queries down, keys across, the darker the nearer the weight is to `top`. */
function map(tokens, matrix, top, query, best, width) {
  const names = tokens.map(short);
  const margin = 8 + LETTER * Math.max(...names.map((name) => name.length));
  const cell = Math.min(30, (width - margin - 2) / tokens.length);
  const size = cell * tokens.length;
  const fits = cell >= LEAST;
  const letters = `font-size: ${Math.min(11, Math.max(cell, LEAST))}px; fill: var(--tfc-ink)`;
  const label = (i, lit, place) => {
    if (!fits && !lit) return [];
    const weight = lit ? "font-weight: 700" : "opacity: 0.8";
    return [s("text", { ...place, style: `${letters}; ${weight}` }, names[i])];
  };
  const rows = matrix.map((row, i) => {
    const cells = row.map((value, j) => {
      const at = { x: j * cell, y: i * cell, width: cell + 0.3, height: cell + 0.3 };
      const share = (value / top).toFixed(3);
      return s("rect", { ...at, style: `fill: var(--tfc-blue); fill-opacity: ${share}` });
    });
    return s("g", { opacity: i === query ? 1 : 0.6, }, ...cells);
  });
  const left = tokens.flatMap((_, i) =>
    label(i, i === query, { x: -4, y: (i + 0.5) * cell + 4, "text-anchor": "end" }),
  );
  const head = tokens.flatMap((_, j) => {
    const turn = `translate(${(j + 0.5) * cell + 4} -4) rotate(-90)`;
    return label(j, j === best.key, { transform: turn });
  });
  const line = (shape, stroke) =>
    s("rect", { ...shape, style: `fill: none; stroke: var(${stroke}); stroke-width: 2` });
  const lit = { x: -1, y: query * cell - 1, width: size + 2, height: cell + 2 };
  const most = { x: best.key * cell, y: query * cell, width: cell, height: cell };
  const all = [margin + size + 2, margin + size + 2];
  return s(
    "svg",
    { viewBox: `${-margin} ${-margin} ${all.join(" ")}`, width: all[0], height: all[1], "aria-hidden": "true" },
    s("rect", { x: 0, y: 0, width: size, height: size, style: "fill: none; stroke: var(--tfc-line)" }),
    ...rows,
    line(lit, "--tfc-ink"),
    ...(best.key < 0 ? [] : [line(most, "--tfc-orange")]),
    ...left,
    ...head,
  );
}

/** Pointing at a row of any map lights it in all. */
function point(holder, model) {
  const light = (event) => {
    const svg = event.target.closest("svg");
    if (!svg) return;
    const { top, height } = svg.getBoundingClientRect();
    const tokens = model.get("tokens").length;
    const [, start, , tall] = svg.getAttribute("viewBox").split(" ").map(Number);
    const down = (start + ((event.clientY - top) / height) * tall) / (tall + start - 2);
    const query = Math.floor(down * tokens);
    if (query < 0 || query >= tokens || query === model.get("query")) return;
    model.set("query", query);
    model.save_changes();
  };
  for (const kind of ["pointerdown", "pointermove"]) holder.addEventListener(kind, light);
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Attention maps of several heads");
  const count = model.get("tokens").length;
  const format = (i) => `${short(model.get("tokens")[i])} (${i + 1} of ${count})`;
  const field = { trait: "query", label: "query, the word that asks", min: 0, max: count - 1 };
  const maps = h("div", {});
  maps.style.cssText =
    `display: grid; align-items: end; gap: 0.9rem ${GAP}px; cursor: crosshair`;
  const sliders = h("div", { class: "tfc-sliders" }, slider(model, { ...field, step: 1, format }));
  box.append(sliders, maps, says);
  point(maps, model);

  redraw(model, TRAITS, maps, (width) => {
    const [tokens, weights, jobs, query] = TRAITS.map((trait) => model.get(trait));
    const best = strongest(weights, query);
    const narrow = tokens.length > 14 ? 250 : 176;
    const columns = Math.max(1, Math.floor((width + GAP) / (narrow + GAP)));
    maps.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const each = Math.min(WIDE, (width - GAP * (columns - 1)) / columns);
    const top = Math.max(...weights.flat(2)) || 1;
    const shown = weights.map((matrix, i) => {
      const { key, weight } = best[i];
      const title = h("p", { class: "tfc-axis" });
      title.append(h("strong", {}, `head ${i}`), jobs[i] ? `: ${jobs[i]}` : "");
      const told = h("p", { style: "margin: 0.2rem 0 0; font-size: 0.9rem" });
      told.append(
        `${short(tokens[query])} → `,
        h("strong", {}, key < 0 ? "all alike" : short(tokens[key])),
        ` ${weight.toFixed(2)}`,
      );
      return h("div", {}, title, map(tokens, matrix, top, query, best[i], each), told);
    });
    maps.replaceChildren(...shown);
    say(sentence(tokens, best, query));
  });
}

export default { render, strongest };
