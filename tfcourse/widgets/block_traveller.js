// The vector of one token on its way through a block: station by station, pre- or post-norm.
const TRAITS = ["tokens", "names", "stations", "weights", "placement", "token", "station"];
const ROW = 60; // pixels, from one station to the next
const [STREAM, BRANCH, LEFT] = [15, 44, 64]; // pixels: where the two paths and the bars stand

const length = (vector) => Math.hypot(...vector);

/** The cosine of the angle between two vectors; NaN where one is zero. */
function cosine(one, other) {
  const dot = one.reduce((sum, x, i) => sum + x * other[i], 0);
  return dot / (length(one) * length(other));
}

/** What a station is: the way in, a norm, what a sub-layer adds, or a sum; and its path. */
function kinds(names) {
  const kind = names.map((name, i) => {
    if (i === 0) return "in";
    if (name.endsWith("adds")) return "adds";
    return name.startsWith("norm") ? "norm" : "sum";
  });
  const before = kind[1] === "norm"; // pre-norm: the norm stands on the branch
  const aside = (i) => kind[i] === "adds" || (kind[i] === "norm" && before);
  return kind.map((what, i) => ({ what, aside: aside(i) }));
}

const number = (x) =>
  Number.isNaN(x) ? "–" : x.toFixed(2).replace(/^-(0\.00)$/, "$1").replace("-", "−");

/** The tokens by their weight, the largest first; those that got a hundredth or more. */
function largest(weights) {
  const order = weights.map((_, i) => i).sort((one, other) => weights[other] - weights[one]);
  return order.filter((i) => weights[i] >= 0.01);
}

function sentence(tokens, names, vectors, weights, placement, token, station) {
  const [vector, name] = [vectors[station], names[station]];
  const where = `“${tokens[token]}”, ${placement}, station ${station + 1} of ${names.length}, ${name}`;
  const like = `cosine to the vector that came in ${number(cosine(vector, vectors[0]))}`;
  const took = largest(weights).slice(0, 2).map((i) => `${tokens[i]} (${number(weights[i])})`);
  const from = name === "attention adds" ? ` Attention took most from ${took.join(", then ")}.` : "";
  return `${where}: length ${number(length(vector))}, ${like}.${from}`;
}

/** The paths: the stream straight down, and beside it the way through norm and sub-layer. */
function paths(all) {
  const at = (i) => (i + 0.5) * ROW;
  const line = (d, hue) => s("path", { d, style: `fill: none; stroke: var(${hue}); stroke-width: 3` });
  const drawn = [line(`M${STREAM} ${at(0)}V${at(all.length - 1)}`, "--tfc-soft")];
  const ends = all.flatMap(({ what }, i) => (what === "sum" ? [i] : []));
  ends.forEach((end, number) => {
    let start = end - 1;
    while (all[start].aside) start -= 1;
    const hue = number ? "--tfc-plum" : "--tfc-green";
    const [from, to] = [at(start), at(end)];
    const out = `M${STREAM} ${from}C${STREAM} ${from + 30} ${BRANCH} ${from + 16} ${BRANCH} ${from + ROW}`;
    const back = `V${to - ROW}C${BRANCH} ${to - 16} ${STREAM} ${to - 30} ${STREAM} ${to}`;
    drawn.push(line(out + back, hue));
  });
  return drawn;
}

/** The sign of a station on its path: a ring, a box for a norm, a spot, or a plus. */
function sign({ what, aside }, y, hue) {
  const x = aside ? BRANCH : STREAM;
  const look = `fill: var(--tfc-paper); stroke: var(${hue}); stroke-width: 2.5`;
  if (what === "norm") return [s("rect", { x: x - 9, y: y - 7, width: 18, height: 14, rx: 3, style: look })];
  if (what === "adds") return [s("circle", { cx: x, cy: y, r: 9, style: `fill: var(${hue})` })];
  const ring = s("circle", { cx: x, cy: y, r: 9, style: look });
  if (what === "in") return [ring];
  return [ring, s("path", { d: `M${x - 5} ${y}h10M${x} ${y - 5}v10`, style: look })];
}

/** A vector as bars: up and orange above zero, down and blue below. */
function bars(vector, top, y, width) {
  const each = width / vector.length;
  const drawn = vector.map((x, i) => {
    const tall = Math.max(0.5, (19 * Math.abs(x)) / top);
    const place = { x: LEFT + i * each + 1, y: x < 0 ? y : y - tall };
    const hue = `fill: var(${x < 0 ? "--tfc-blue" : "--tfc-orange"})`;
    return s("rect", { ...place, width: Math.max(1, each - 2), height: tall, style: hue });
  });
  const zero = { x1: LEFT, x2: LEFT + width, y1: y, y2: y, style: "stroke: var(--tfc-soft)" };
  return [s("line", zero), ...drawn];
}

/** The whole way; stations that are still ahead are faint. */
function way(names, vectors, station, width) {
  const all = kinds(names);
  const top = Math.max(...vectors.flat().map(Math.abs)) || 1;
  const second = names.indexOf("attention adds") + 1;
  const rows = names.map((name, i) => {
    const y = i * ROW;
    const ink = `fill: var(--tfc-ink); font-weight: ${i === station ? 700 : 400}`;
    const like = `${width < 350 ? "len" : "length"} ${number(length(vectors[i]))} · cos ${number(cosine(vectors[i], vectors[0]))}`;
    const hue = !all[i].aside ? "--tfc-ink" : i <= second ? "--tfc-green" : "--tfc-plum";
    const faint = { opacity: i > station ? 0.45 : 1 };
    return s(
      "g",
      { style: "cursor: pointer" },
      s("rect", {
        ...{ x: LEFT - 5, y: y + 1, width: width - LEFT + 5, height: ROW - 2, rx: 4 },
        style: `fill: var(--tfc-blue); fill-opacity: ${i === station ? 0.12 : 0}`,
      }),
      s("text", { x: LEFT, y: y + 14, style: ink, ...faint }, name),
      s("text", { x: width - 4, y: y + 14, "text-anchor": "end", style: ink, ...faint }, like),
      s("g", faint, ...bars(vectors[i], top, y + 38, width - LEFT - 4)),
      ...sign(all[i], y + ROW / 2, hue),
    );
  });
  const tall = ROW * names.length;
  const shape = { viewBox: `0 0 ${width} ${tall}`, width, height: tall };
  return s("svg", { ...shape, "aria-hidden": "true" }, ...paths(all), ...rows);
}

/** A button for each choice; pressing one sets the trait to its value. */
function choices(model, trait, label, named) {
  const buttons = named.map(([name, value]) => {
    const button = h("button", { type: "button", class: "tfc-choice" }, name);
    button.addEventListener("click", () => {
      model.set(trait, value);
      model.save_changes();
    });
    return button;
  });
  const press = () =>
    buttons.forEach((button, i) =>
      button.setAttribute("aria-pressed", String(named[i][1] === model.get(trait))),
    );
  const holder = h("div", { class: "tfc-choices", role: "group", "aria-label": label }, ...buttons);
  return { holder, buttons, press };
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "A vector on its way through a block");
  const tokens = model.get("tokens");
  const placements = ["pre-norm", "post-norm"];
  const kind = choices(model, "placement", "where the norm stands", placements.map((p) => [p, p]));
  const who = choices(model, "token", "token", tokens.map((token, i) => [token, i]));
  const shares = who.buttons.map((button) => {
    const share = h("span", { "aria-hidden": "true", style: "font-size: 0.8em" });
    button.append(" ", share);
    return share;
  });
  const format = (i) => {
    const names = model.get("names")[model.get("placement")];
    return `${names[i]} (${i + 1} of ${names.length})`;
  };
  const last = model.get("names")[placements[0]].length - 1;
  const field = { trait: "station", label: "station", min: 0, max: last, step: 1, format };
  const moved = slider(model, field);
  const [, value, input] = moved.children;
  const view = h("div", {});
  box.append(
    kind.holder,
    h("p", { class: "tfc-axis" }, "the token that travels; green: how much attention takes from each"),
    who.holder,
    h("div", { class: "tfc-sliders" }, moved),
    view,
    says,
  );
  view.addEventListener("click", (event) => {
    const svg = event.target.closest("svg");
    if (!svg) return;
    const { top, height } = svg.getBoundingClientRect();
    const station = Math.floor(((event.clientY - top) / height) * (last + 1));
    model.set("station", Math.min(last, Math.max(0, station)));
    model.save_changes();
  });

  redraw(model, TRAITS, view, (width) => {
    const [, names, stations, weights, placement, token, station] = TRAITS.map((t) => model.get(t));
    const vectors = stations[placement].map((every) => every[token]);
    const taken = weights[placement][token];
    value.textContent = format(station);
    input.setAttribute("aria-valuetext", format(station));
    kind.press();
    who.press();
    who.buttons.forEach((button, i) => {
      const share = Math.round(70 * taken[i]);
      button.style.background = `color-mix(in srgb, var(--tfc-green) ${share}%, var(--tfc-paper))`;
      shares[i].textContent = taken[i] < 0.005 ? "" : number(taken[i]);
    });
    view.replaceChildren(way(names[placement], vectors, station, width));
    say(sentence(tokens, names[placement], vectors, taken, placement, token, station));
  });
}

export default { render, cosine, kinds, sentence };
