// Byte pair encoding of a text that is typed, merge by merge, forward and back.
const TRAITS = ["tokenizer_merges", "text", "step"];
const LONGEST = 2000; // characters that can be typed
const WORDS =
  /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** GPT-2's pattern; `\s` is written out, for in JavaScript it means other characters. */
const split = (text) => text.match(WORDS) ?? [];

const run = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

/** The bytes in the order of their ids, and how vocabularies print them: a space is Ġ. */
const BYTES = [...run(33, 127), ...run(161, 173), ...run(174, 256), ...run(0, 33), ...run(127, 161), 173];
const FACES = BYTES.map((byte, id) => String.fromCharCode(id < 188 ? byte : 68 + id));
const ID_OF_BYTE = new Map(BYTES.map((byte, id) => [byte, id]));

/** The face of each id, and the rank of each pair that is merged. */
function learned(lines) {
  const faces = [...FACES];
  const ids = new Map(faces.map((face, id) => [face, id]));
  const size = faces.length + lines.length;
  const ranks = new Map();
  lines.forEach((line, rank) => {
    const [left, right] = line.split(" ");
    ranks.set(ids.get(left) * size + ids.get(right), rank);
    ids.set(left + right, faces.push(left + right) - 1);
  });
  return { faces, rankOf: (left, right) => ranks.get(left * size + right) ?? Infinity };
}

/** What happens to a text: its words, their bytes' ids, the steps, and for each byte the
 * step at which the border behind it goes (Infinity: it stays). */
function story(lines, text) {
  const { faces, rankOf } = learned(lines);
  const words = split(text).map((word) => {
    const ids = [...new TextEncoder().encode(word)].map((byte) => ID_OF_BYTE.get(byte));
    return { word, ids };
  });
  const rate = (piece, next) => {
    piece.rank = piece.last ? Infinity : rankOf(piece.id, next.id);
  };
  let pieces = words.flatMap(({ ids }) => ids.map((id, i) => ({ id, last: i === ids.length - 1 })));
  pieces.forEach((piece, i) => {
    piece.end = i;
    rate(piece, pieces[i + 1]);
  });
  const gone = pieces.map(() => Infinity);
  const steps = [];
  for (;;) {
    const rank = pieces.reduce((best, piece) => Math.min(best, piece.rank), Infinity);
    if (rank === Infinity) break;
    const at = pieces.findIndex((piece) => piece.rank === rank);
    const [left, right, id] = [pieces[at].id, pieces[at + 1].id, FACES.length + rank];
    const before = pieces.length;
    const kept = [];
    for (let i = 0; i < before; i++) {
      const piece = pieces[i];
      kept.push(piece);
      if (piece.rank !== rank) continue;
      const { end, last } = pieces[i + 1];
      gone[piece.end] = steps.length + 1;
      Object.assign(piece, { id, end, last });
      i++; // what is merged is not merged again: of "aaa" the first two
    }
    kept.forEach((piece, i) => {
      if (piece.id === id || (!piece.last && kept[i + 1].id === id)) rate(piece, kept[i + 1]);
    });
    pieces = kept;
    steps.push({ rank, left: faces[left], right: faces[right], id, before, after: kept.length });
  }
  return { words, steps, gone, faces, bytes: gone.length };
}

/** The pieces of each word after so many steps: new ones, and those that merge next. */
function pieces({ words, steps, gone, faces }, step) {
  let at = 0;
  return words.map(({ ids }) => {
    const found = [];
    let [born, joined] = [0, false];
    for (const byte of ids) {
      const leaves = gone[at++];
      if (leaves <= step) {
        born = Math.max(born, leaves);
        continue;
      }
      found.push([byte, born, leaves === step + 1 || joined]);
      joined = leaves === step + 1;
      born = 0;
    }
    return found.map(([byte, made, next]) => {
      const id = made ? steps[made - 1].id : byte;
      return { id, face: faces[id], fresh: made > 0 && made === step, next };
    });
  });
}

const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;

function sentence({ steps, bytes }, step) {
  if (!bytes) return "There is no text yet: type one.";
  const name = ({ rank, left, right }) => `merge ${rank + 1}, ${left} ${right} → ${left}${right}`;
  const next = step < steps.length ? ` Next: ${name(steps[step])}.` : "";
  const end = " No learned pair is left: these are the ids of the text.";
  if (!step) return `Every byte is a piece of its own: ${many(bytes, "piece", "pieces")}.${next || end}`;
  const { rank, left, right, id, before, after } = steps[step - 1];
  const what = `Merge ${rank + 1}: ${left} ${right} → ${left}${right}, id ${id}`;
  return `${what}; pieces ${before} → ${after}.${next || end}`;
}

/** A word as it is read: what has no face of its own gets one. */
function visible(word) {
  const known = { " ": "␣", "\n": "↵", "\t": "⇥" };
  const faces = [...word].map((sign) => {
    if (known[sign]) return known[sign];
    const hidden = /[\p{C}\p{Z}]/u.test(sign) && sign !== "\u200d"; // it joins emoji
    return hidden ? `U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}` : sign;
  });
  return faces.join("").replace(/^(␣?)(?=\p{M})/u, "$1◌"); // a mark needs something to stand on
}

function drawn({ word }, found) {
  const boxes = found.map(({ id, face, fresh, next }) => {
    const look = `tfc-piece${fresh ? " tfc-piece-new" : ""}${next ? " tfc-piece-next" : ""}`;
    return h("span", { class: look }, face, " ", h("small", {}, String(id)));
  });
  return h("li", {}, h("bdi", {}, visible(word)), h("div", { class: "tfc-pieces" }, ...boxes));
}

/** Buttons that go through the steps; `goTo` is called with where to. */
function buttons(goTo, now, count) {
  const made = [
    ["first", "|◀", () => 0],
    ["back", "◀", () => now() - 1],
    ["play", "", null],
    ["next merge", "▶", () => now() + 1],
    ["last", "▶|", count],
  ].map(([name, sign, to]) => {
    const face = h("span", { "aria-hidden": "true" }, sign && `${sign} `);
    return { name, to, button: h("button", { type: "button", class: "tfc-choice" }, face, name) };
  });
  let timer = null;
  const show = () => {
    for (const { to, button } of made) {
      const stuck = to ? to() === now() || to() < 0 || to() > count() : !count();
      button.setAttribute("aria-disabled", String(stuck));
      button.style.opacity = stuck ? 0.5 : 1;
      if (!to) button.textContent = timer ? "pause" : "play";
    }
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    show();
  };
  const holder = h("div", { class: "tfc-choices" }, ...made.map(({ button }) => button));
  const tick = () => {
    if (holder.isConnected && now() < count()) goTo(now() + 1);
    if (!holder.isConnected || now() >= count()) stop();
  };
  const play = () => {
    if (timer || !count()) return stop();
    if (now() === count()) goTo(0);
    timer = setInterval(tick, Math.max(100, Math.min(1000, 20000 / count()))); // 200 steps: 20 s
    show();
  };
  for (const { to, button } of made)
    button.addEventListener("click", () => {
      if (!to) return play();
      const place = to();
      stop();
      if (place >= 0 && place <= count()) goTo(place);
    });
  return { holder, show, stop };
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "Byte pair encoding, merge by merge");
  says.style.margin = "0 0 0.7rem"; // it stands above the pieces, beside the buttons
  let [merges, text, told] = [null, null, null];
  const read = () => {
    const given = [model.get("tokenizer_merges"), model.get("text")];
    if (given[0] !== merges || given[1] !== text) {
      [merges, text] = given;
      told = story(merges, text);
    }
    return told;
  };
  const count = () => read().steps.length;
  const now = () => Math.min(model.get("step"), count());
  const goTo = (step) => {
    model.set("step", step);
    model.save_changes();
  };

  let typed = null; // the text in the field
  const field = h("textarea", { class: "tfc-text", rows: 2, maxlength: LONGEST, spellcheck: "false" });
  field.dataset.lmSuppressShortcuts = "true";
  const walk = buttons(goTo, now, count);
  field.addEventListener("input", () => {
    const stay = now() === count() && count() > 0; // who stands at the end sees the end
    walk.stop();
    model.set("text", field.value);
    goTo(stay ? count() : 0);
  });
  const format = () => `${now()} of ${count()}`;
  const moved = slider(model, { trait: "step", label: "merges that are applied", min: 0, max: count(), step: 1, format });
  const [, value, input] = moved.children;
  input.addEventListener("input", walk.stop);
  const view = h("ol", { class: "tfc-words", tabindex: 0, "aria-label": "words and their pieces" });
  const numbers = ["bytes", "words", "pieces", "bytes per piece"].map((name) => {
    const cell = h("td", {});
    return { head: h("th", { scope: "col" }, name), cell };
  });
  const table = h(
    "table",
    { class: "tfc-table" },
    h("thead", {}, h("tr", {}, ...numbers.map(({ head }) => head))),
    h("tbody", {}, h("tr", {}, ...numbers.map(({ cell }) => cell))),
  );
  box.append(
    h("label", { style: "display: block; margin-bottom: 0.6rem" }, "a text of your own", field),
    walk.holder,
    h("div", { class: "tfc-sliders" }, moved),
    says,
    h("p", { class: "tfc-axis" }, "each word, its pieces and their ids; filled: made by this merge; dashed: to be merged next"),
    view,
    table,
  );

  redraw(model, TRAITS, view, () => {
    const step = now();
    if (typed !== text && field.value !== text) field.value = text;
    typed = text;
    input.max = count();
    input.value = step;
    value.textContent = format();
    input.setAttribute("aria-valuetext", format());
    const found = pieces(told, step);
    const total = found.flat().length;
    const ratio = total ? (told.bytes / total).toFixed(2) : "–";
    [told.bytes, told.words.length, total, ratio].forEach((number, i) => {
      numbers[i].cell.textContent = String(number);
    });
    view.replaceChildren(...told.words.map((word, i) => drawn(word, found[i])));
    walk.show();
    say(sentence(told, step));
  });
  return walk.stop;
}

export default { render, split, story, pieces, sentence, visible };
