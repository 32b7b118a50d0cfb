// What a step of generation costs at least: memory and time, by model, texts, bits and card.
const TRAITS = ["models", "cards", "model", "card", "count", "length", "batch", "weight_bits", "cache_bits"];
const LENGTHS = Array.from({ length: 11 }, (_, i) => 128 << i); // to 131 072
const BATCHES = Array.from({ length: 10 }, (_, i) => 1 << i); // to 512

/** How many weights a model has in all, and how many of them a token is multiplied with. */
function weights(shape) {
  const { n_layers, d_model, n_heads, n_kv_heads, d_head, d_ff, vocab_size, tied } = shape;
  const { n_dense = n_layers, n_experts = 0, n_used = 0, n_shared = 0, d_expert = 0 } = shape;
  const attention = shape.attention ?? 2 * (n_heads + n_kv_heads) * d_head * d_model;
  const expert = 3 * d_model * d_expert; // a feed-forward with a gate has three matrices
  const table = vocab_size * d_model;
  const routing = (n_layers - n_dense) * (n_experts * d_model + n_shared * expert);
  const always = n_layers * attention + n_dense * 3 * d_model * d_ff + routing + table;
  const routed = (n_layers - n_dense) * n_experts * expert;
  const share = n_experts ? n_used / n_experts : 0;
  return { total: always + routed + (tied ? 0 : table), used: always + routed * share, always, routed, share };
}

/** Those that a step reads: of the experts, as many as tokens that choose by chance come to. */
function weightsRead(shape, batch) {
  const { always, routed, share } = weights(shape);
  return always + routed * (1 - (1 - share) ** batch);
}

/** The positions that all layers of a model keep together, for a text of this length. */
function kept({ n_layers, n_local = 0, window = 0 }, length) {
  return (n_layers - n_local) * length + n_local * Math.min(length, window);
}

/** The numbers that a layer keeps for one position, and its operations with them in a step. */
function position({ n_heads, n_kv_heads, d_head, d_latent, d_rotated }) {
  if (d_latent) return { numbers: d_latent + d_rotated, flops: 2 * n_heads * (2 * d_latent + d_rotated) };
  return { numbers: 2 * n_kv_heads * d_head, flops: 4 * n_heads * d_head };
}

/** Bytes, operations and seconds of one step, in which each text of the batch gets a token. */
function cost(shape, [, flopsPerSecond, bandwidth, memory], { count, length, batch, weight_bits, cache_bits }) {
  const { numbers, flops } = position(shape);
  const perText = (numbers * kept(shape, length) * cache_bits) / 8;
  const weightBytes = (weights(shape).total * weight_bits) / 8;
  const readBytes = (weightsRead(shape, batch) * weight_bits) / 8;
  const work = batch * (2 * weights(shape).used + flops * kept(shape, length));
  const reading = [readBytes, batch * perText].map((bytes) => bytes / (bandwidth * count));
  const computing = work / (flopsPerSecond * count);
  const left = memory * count - weightBytes;
  return {
    weights: weightBytes,
    cache: batch * perText,
    memory: memory * count,
    fits: batch * perText <= left,
    most: Math.max(0, Math.floor(left / perText)),
    flops: work,
    bytes: readBytes + batch * perText,
    reading,
    computing,
    seconds: Math.max(reading[0] + reading[1], computing),
    perToken: (numbers * shape.n_layers * cache_bits) / 8,
  };
}

/** 0.01471 s as "14.7 ms"; three digits. */
function withUnit(value, units) {
  const found = units.find(([, size]) => Math.abs(value) >= size * 0.9995) ?? units.at(-1);
  return `${spaced(Number((value / found[1]).toPrecision(3)))} ${found[0]}`;
}
const inSeconds = (t) => withUnit(t, [["s", 1], ["ms", 1e-3], ["µs", 1e-6], ["ns", 1e-9]]);
const inBytes = (n) => withUnit(n, [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3], ["B", 1]]);
const spaced = (n) => String(n).replace(/^\d{5,}/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, "\u202f"));
const rounded = (n) => spaced(Number(n.toPrecision(3)));

function sentence(shape, card, given) {
  const found = cost(shape, card, given);
  const { count, batch, length } = given;
  const cards = count > 1 ? `${count} × ${card[0]}` : `one ${card[0]}`;
  const need = inBytes(found.weights + found.cache);
  const fits = found.fits ? "fits" : "does not fit";
  const memory = `${shape.name} with ${batch > 1 ? `${batch} texts` : "one text"} of ${spaced(length)} tokens needs ${need}: it ${fits} into ${inBytes(found.memory)}, ${cards}.`;
  const most = found.most ? `There is room for ${spaced(found.most)} such texts.` : "There is no room for a single text.";
  const [arithmetic, reading] = [found.computing, found.reading[0] + found.reading[1]];
  const why =
    reading > arithmetic
      ? `reading ${found.reading[1] > found.reading[0] ? "the cache" : "the weights"} takes longest`
      : "the arithmetic takes longest";
  const rate = found.fits ? `A step takes at least ${inSeconds(found.seconds)}, ${rounded(batch / found.seconds)} tokens a second: ${why}.` : "";
  const long = length > shape.context_length ? `The model was made for ${spaced(shape.context_length)} tokens.` : "";
  return [memory, found.fits && batch === found.most ? "" : most, rate, long].filter(Boolean).join(" ");
}

/** A list to choose from, bound to one trait: options are [value, text]. */
function list(model, trait, label, options) {
  const input = h("select", {}, ...options.map(([value, text]) => h("option", { value }, text)));
  input.dataset.lmSuppressShortcuts = "true";
  const show = () => {
    input.value = String(model.get(trait));
  };
  input.addEventListener("change", () => {
    model.set(trait, Number(input.value));
    model.save_changes();
  });
  model.on(`change:${trait}`, show);
  show();
  return h("label", { class: "tfc-serve-list" }, h("span", {}, label), input);
}

/** A slider over values that are not evenly spaced. */
function scale(model, trait, label, values) {
  const nearest = (value) => values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best] - value) ? i : best), 0);
  const places = {
    get: () => nearest(model.get(trait)),
    set: (_, place) => model.set(trait, values[place]),
    save_changes: () => model.save_changes(),
    on: (event, listener) => model.on(event, listener),
  };
  const format = () => spaced(model.get(trait));
  return slider(places, { trait, label, min: 0, max: values.length - 1, step: 1, format });
}

/** One bar of parts, [class, share of the whole]. */
function bar(parts) {
  const drawn = parts.map(([look, share]) => {
    const part = h("span", { class: `tfc-bar tfc-serve-${look}` });
    part.style.width = `${(100 * share).toFixed(2)}%`;
    return part;
  });
  return h("div", { class: "tfc-serve-bar", "aria-hidden": "true" }, ...drawn);
}

function bars(found) {
  const { weights: fixed, cache, memory, reading, computing } = found;
  const needed = Math.max(memory, fixed + cache);
  const holder = bar([["weights", fixed / needed], ["cache", cache / needed]]);
  const edge = h("span", { class: "tfc-serve-edge" });
  edge.style.left = `${(100 * memory) / needed}%`;
  holder.append(edge);
  const longest = Math.max(reading[0] + reading[1], computing);
  const rows = [
    [`memory: ${inBytes(fixed)} of weights, ${inBytes(cache)} of cache; the line: ${inBytes(memory)}`, holder],
    [
      `reading in a step: ${inSeconds(reading[0])} for weights, ${inSeconds(reading[1])} for the cache`,
      bar([["weights", reading[0] / longest], ["cache", reading[1] / longest]]),
    ],
    [`arithmetic in a step: ${inSeconds(computing)}`, bar([["flops", computing / longest]])],
  ];
  return rows.flatMap(([label, drawn]) => [h("p", { class: "tfc-axis" }, label), drawn]);
}

function render({ model, el }) {
  const { box, says, say } = frame(el, "What a step of generation costs");
  const names = (items, name) => items.map((item, i) => [i, name(item)]);
  const numbers = (values, text) => values.map((value) => [value, text(value)]);
  const bits = (values) => numbers(values, (n) => `${n} bits`);
  const lists = h(
    "div",
    { class: "tfc-serve-lists" },
    list(model, "model", "model", names(model.get("models"), (shape) => shape.name)),
    list(model, "card", "card", names(model.get("cards"), ([name]) => name)),
    list(model, "count", "how many cards", numbers([1, 2, 4, 8, 16], String)),
    list(model, "weight_bits", "weights in", bits([16, 8, 4])),
    list(model, "cache_bits", "cache in", bits([16, 8, 4, 2])),
  );
  const sliders = h(
    "div",
    { class: "tfc-sliders" },
    scale(model, "length", "tokens in each text", LENGTHS),
    scale(model, "batch", "texts at once", BATCHES),
  );
  const view = h("div", {});
  const rows = [
    ["a token in the cache, in all layers", ({ perToken }) => `${inBytes(perToken)} = ${rounded(perToken / 1024)} KiB`],
    ["room for so many of these texts", ({ most }) => spaced(most)],
    ["operations for each byte read", ({ flops, bytes }) => rounded(flops / bytes)],
    ["operations for each byte, the card", (_, [, flops, bandwidth]) => rounded(flops / bandwidth)],
    ["tokens a second, at most, all texts", ({ seconds, fits }, __, batch) => (fits ? rounded(batch / seconds) : "–")],
    ["tokens a second, each text", ({ seconds, fits }) => (fits ? rounded(1 / seconds) : "–")],
  ].map(([name, write]) => ({ name, write, cell: h("td", { class: "tfc-number" }) }));
  const lines = rows.map(({ name, cell }) => h("tr", {}, h("th", { scope: "row" }, name), cell));
  const table = h("table", { class: "tfc-table tfc-serve-table" }, h("tbody", {}, ...lines));
  says.classList.add("tfc-serve-says");
  box.append(lists, sliders, says, view, table);

  redraw(model, TRAITS, view, () => {
    const given = Object.fromEntries(TRAITS.map((trait) => [trait, model.get(trait)]));
    const [shape, card] = [given.models[given.model], given.cards[given.card]];
    const found = cost(shape, card, given);
    view.replaceChildren(...bars(found));
    for (const { write, cell } of rows) cell.textContent = write(found, card, given.batch);
    say(sentence(shape, card, given));
  });
}

export default { render, weights, cost, sentence };
