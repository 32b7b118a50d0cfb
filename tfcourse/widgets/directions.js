// Words as points in space: directions that are added to some of them, seen from all round.
const TRAITS = ["words", "starts", "directions", "first", "second", "turn", "tilt"];
const HUES = ["tfc-entry-0", "tfc-entry-3"]; // of the words that move
const STEPS = ["tfc-entry-1", "tfc-entry-2"]; // of the two directions

const plus = (point, direction, amount) => point.map((x, i) => x + amount * direction[i]);
const distance = (one, other) => Math.hypot(...one.map((x, i) => x - other[i]));
const rounded = (x) => x.toFixed(1).replace("-0.0", "0.0").replace("-", "−");

/** Where a point is seen: across, up, and how near, from `turn` degrees round, `tilt` up. */
function project([x, y, z], turn, tilt) {
  const [a, e] = [turn, tilt].map((degrees) => (degrees * Math.PI) / 180);
  const towards = x * Math.cos(a) + y * Math.sin(a);
  return [
    y * Math.cos(a) - x * Math.sin(a),
    z * Math.cos(e) - towards * Math.sin(e),
    towards * Math.cos(e) + z * Math.sin(e),
  ];
}

/** The way of one word: its place, after the first direction, and after the second. */
function journey(words, start, directions, amounts) {
  const path = [words.find(([name]) => name === start).slice(1)];
  directions.forEach(([, ...direction], i) => path.push(plus(path[i], direction, amounts[i])));
  return path;
}

function nearestWord(words, point) {
  const far = words.map(([, ...place]) => distance(place, point));
  return words[far.indexOf(Math.min(...far))][0];
}

function sentence(words, starts, directions, amounts, turn, tilt) {
  const added = directions.map(([name], i) => ` + ${amounts[i].toFixed(1)} · ${name}`).join("");
  const told = starts.map((start) => {
    const end = journey(words, start, directions, amounts).at(-1);
    return `${start}${added} = (${end.map(rounded).join(", ")}), nearest to “${nearestWord(words, end)}”`;
  });
  return `${told.join("; ")}. Seen from ${turn}° round and ${tilt}° up.`;
}

/** The picture, `width` pixels wide, so that its letters keep their size on a phone. */
function space(words, starts, directions, amounts, turn, tilt, width) {
  const height = Math.min(width * 0.85, 340);
  const places = words.map(([, ...place]) => place);
  const ends = [0, 1, 2].map((i) => {
    const along = places.map((place) => place[i]);
    return [Math.min(...along), Math.max(...along)];
  });
  const middle = ends.map(([low, high]) => (low + high) / 2);
  const reach = Math.max(...places.map((place) => distance(place, middle)));
  const floor = ends[2][0] - 0.3 * reach;
  const unit = (0.45 * Math.min(height, width - 90)) / reach;
  const at = (point) => {
    const from = point.map((x, i) => x - middle[i]);
    const [across, up, near] = project(from, turn, tilt);
    return [across * unit, -up * unit, near];
  };
  const line = (from, to, attributes) => {
    const [[x1, y1], [x2, y2]] = [at(from), at(to)];
    return s("line", { x1, y1, x2, y2, ...attributes });
  };

  const ground = s("g", { class: "tfc-grid" });
  for (let i = -2; i <= 2; i++) {
    const [x, y] = [middle[0] + (i / 2) * reach, middle[1] + (i / 2) * reach];
    ground.append(line([x, middle[1] - reach, floor], [x, middle[1] + reach, floor], {}));
    ground.append(line([middle[0] - reach, y, floor], [middle[0] + reach, y, floor], {}));
  }

  const dots = words.map(([name, ...place]) => {
    const [x, y, near] = at(place);
    const hue = HUES[starts.indexOf(name)] ?? "tfc-space-other";
    const side = x < 0 ? "end" : "start";
    return [
      near,
      s(
        "g",
        { class: `tfc-space-word ${hue}` },
        line(place, [place[0], place[1], floor], { class: "tfc-space-stem" }),
        s("circle", { cx: x, cy: y, r: Math.max(3, 5 + near / reach) }),
        s("text", { x: x + (x < 0 ? -9 : 9), y: y + 4, "text-anchor": side }, name),
      ),
    ];
  });
  dots.sort(([one], [other]) => one - other);

  const steps = starts.flatMap((start) => {
    const path = journey(words, start, directions, amounts);
    const [x, y] = at(path.at(-1));
    return [
      ...directions.map((_, i) =>
        line(path[i], path[i + 1], { class: `tfc-space-step ${STEPS[i]}` }),
      ),
      s("circle", { cx: x, cy: y, r: 7, class: `tfc-space-goal ${HUES[starts.indexOf(start)]}` }),
    ];
  });

  return s(
    "svg",
    {
      viewBox: `${-width / 2} ${-height / 2} ${width} ${height}`,
      width,
      height,
      class: "tfc-space",
      "aria-hidden": "true",
    },
    ground,
    ...dots.map(([, dot]) => dot),
    ...steps,
  );
}

/** Turn the space by drawing it with mouse or finger. */
function turnByHand(holder, model) {
  let from = null;
  holder.addEventListener("pointerdown", (event) => {
    from = [event.clientX, event.clientY, model.get("turn"), model.get("tilt")];
    holder.setPointerCapture(event.pointerId);
  });
  holder.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y, turn, tilt] = from;
    model.set("turn", (((Math.round(turn - (event.clientX - x) / 2) % 360) + 360) % 360));
    const up = Math.round(tilt + (event.clientY - y) / 2);
    model.set("tilt", Math.min(90, Math.max(-90, up)));
    model.save_changes();
  });
  for (const end of ["pointerup", "pointercancel"])
    holder.addEventListener(end, () => (from = null));
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Words and directions in space");
  const degrees = (angle) => `${angle}°`;
  const times = (amount) => amount.toFixed(1);
  const fields = model.get("directions").map(([name], i) => {
    return { trait: ["first", "second"][i], label: `add ${name}`, min: 0, max: 1.5, step: 0.1, format: times };
  });
  fields.push(
    { trait: "turn", label: "turn", min: 0, max: 359, step: 1, format: degrees },
    { trait: "tilt", label: "tilt", min: -90, max: 90, step: 1, format: degrees },
  );
  const sliders = fields.map((field) => slider(model, field));
  const view = h("div", { class: "tfc-space-view" });
  box.append(h("div", { class: "tfc-sliders" }, ...sliders), view, says);
  turnByHand(view, model);

  redraw(model, TRAITS, view, (width) => {
    const [words, starts, directions, ...rest] = TRAITS.map((trait) => model.get(trait));
    const [first, second, turn, tilt] = rest;
    const all = [words, starts, directions, [first, second], turn, tilt];
    view.replaceChildren(space(...all, width));
    say(sentence(...all));
  });
}

export default { render, project, journey };
