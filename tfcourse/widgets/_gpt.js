// A GPT that keeps its keys and values, and its tokenizer: tfcourse.gpt and tfcourse.bpe.

const damaged = (why) => new Error(`the model’s file is cut short or damaged: ${why}`);

/** The bytes that are written in base64. */
function fromBase64(text) {
  let signs;
  try {
    signs = atob(text);
  } catch {
    throw damaged("it is no base64");
  }
  return Uint8Array.from(signs, (sign) => sign.charCodeAt(0));
}

const KINDS = { I8: Int8Array, F32: Float32Array };

/** What tfcourse.data.packed packed: the numbers by name, in float32, and what is told of them. */
function unpack(bytes) {
  const size = bytes.length < 8 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const start = 8 + size;
  if (!size || start > bytes.length) throw damaged(`it ends after ${bytes.length} bytes`);
  let header, about;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    about = JSON.parse(header.__metadata__.about);
  } catch {
    throw damaged("its first part cannot be read");
  }
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__");
  const end = entries.reduce((last, [, { data_offsets }]) => Math.max(last, data_offsets[1]), 0) + start;
  if (bytes.length !== end) throw damaged(`it has ${bytes.length} of ${end} bytes`);
  const kept = new Map();
  for (const [name, { dtype, data_offsets }] of entries) {
    if (!KINDS[dtype]) throw damaged(`${name} holds ${dtype}`);
    const [from, to] = data_offsets.map((offset) => offset + start);
    kept.set(name, new KINDS[dtype](bytes.slice(from, to).buffer));
  }
  const tensors = new Map();
  for (const [name, numbers] of kept) {
    const scales = kept.get(`${name}.scale`);
    if (!name.endsWith(".scale")) tensors.set(name, scales ? unquantized(numbers, scales) : numbers);
  }
  return { about, tensors };
}

/** Whole numbers times the scale of their row. */
function unquantized(codes, scales) {
  const columns = codes.length / scales.length;
  const weight = new Float32Array(codes.length);
  for (let row = 0, at = 0; row < scales.length; row++)
    for (const end = at + columns; at < end; at++) weight[at] = codes[at] * scales[row];
  return weight;
}

/** Text to ids and back; `bytes` are those of the first 256 ids, `merges` pairs of ids. */
function makeTokenizer({ pattern, bytes, merges }) {
  // `\s` means other characters in JavaScript than in Python's tokenizer
  const words = new RegExp(pattern.replaceAll("\\s", "\\p{White_Space}"), "gu");
  const pieces = bytes.map((byte) => [byte]);
  const idOfByte = new Map(bytes.map((byte, id) => [byte, id]));
  const size = bytes.length + merges.length;
  const merged = new Map(); // by both ids: the id that they become; smaller ones were learned first
  for (const [left, right] of merges) {
    merged.set(left * size + right, pieces.length);
    pieces.push([...pieces[left], ...pieces[right]]);
  }

  function encodeWord(word) {
    let ids = Array.from(new TextEncoder().encode(word), (byte) => idOfByte.get(byte));
    for (;;) {
      let id = Infinity;
      for (let i = 1; i < ids.length; i++) {
        const found = merged.get(ids[i - 1] * size + ids[i]);
        if (found < id) id = found;
      }
      if (id === Infinity) return ids;
      const [left, right] = merges[id - bytes.length];
      const kept = [];
      for (let i = 0; i < ids.length; i++) {
        const pair = ids[i] === left && ids[i + 1] === right;
        kept.push(pair ? id : ids[i]);
        if (pair) i++;
      }
      ids = kept;
    }
  }

  const known = new Map();
  function idsOf(word) {
    let ids = known.get(word);
    if (ids) return ids;
    if (known.size > 1 << 14) known.clear();
    known.set(word, (ids = encodeWord(word)));
    return ids;
  }
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // which keeps the mark
  return {
    pieces,
    encode: (text) => (text.match(words) ?? []).flatMap(idsOf),
    decode: (ids) => decoder.decode(Uint8Array.from(ids.flatMap((id) => pieces[id]))),
  };
}

/** out = W x: a row of W after the other, each times x. */
function multiply(out, weight, x) {
  const columns = x.length;
  const fours = columns - (columns % 4);
  for (let row = 0; row < out.length; row++) {
    const start = row * columns;
    let [a, b, c, d] = [0, 0, 0, 0]; // four sums, for the processor to do at once
    for (let i = 0; i < fours; i += 4) {
      const at = start + i;
      a += weight[at] * x[i];
      b += weight[at + 1] * x[i + 1];
      c += weight[at + 2] * x[i + 2];
      d += weight[at + 3] * x[i + 3];
    }
    for (let i = fours; i < columns; i++) a += weight[start + i] * x[i];
    out[row] = a + b + (c + d);
  }
  return out;
}

/** Scores become weights that sum to one, in place. */
function softmax(scores) {
  let top = -Infinity;
  for (const score of scores) if (score > top) top = score;
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += scores[i] = Math.exp(scores[i] - top);
  for (let i = 0; i < scores.length; i++) scores[i] /= sum;
  return scores;
}

/** out = gain x / sqrt(mean of x² + eps). */
function normalize(out, x, gain) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * x[i];
  const factor = 1 / Math.sqrt(sum / x.length + 1e-5);
  for (let i = 0; i < x.length; i++) out[i] = gain[i] * x[i] * factor;
  return out;
}

const SUPPORTED = { norm: "rms", activation: "swiglu", position: "rotary", bias: false };

/** A causal transformer that reads one token after the other and remembers each. */
class Reader {
  constructor(config, tensors) {
    for (const [name, value] of Object.entries(SUPPORTED))
      if (config[name] !== value) throw new Error(`a model with ${name} ${config[name]} cannot be run here`);
    const { vocab_size: n, context_length: t, d_model: d, d_ff: f, n_heads, n_kv_heads, n_layers, base } = config;
    const width = d / n_heads;
    const narrow = n_kv_heads * width; // of all keys, or values
    const take = (name, length) => {
      const numbers = tensors.get(name);
      if (numbers?.length !== length) throw damaged(`${name} has ${numbers?.length ?? "no"} numbers, not ${length}`);
      return numbers;
    };
    this.config = config;
    this.embedding = take("embedding.weight", n * d);
    this.head = config.tied ? this.embedding : take("head.weight", n * d);
    this.gain = take("stack.norm.gain", d);
    this.layers = Array.from({ length: n_layers }, (_, i) => {
      const part = (name, length) => take(`stack.blocks.${i}.${name}`, length);
      return {
        attentionGain: part("attention.norm.gain", d),
        qkv: part("attention.module.qkv.linear.weight", (d + 2 * narrow) * d),
        out: part("attention.module.out.weight", d * d),
        feedForwardGain: part("feed_forward.norm.gain", d),
        expand: part("feed_forward.module.expand.weight", 2 * f * d),
        contract: part("feed_forward.module.contract.weight", d * f),
        queries: new Float32Array(t * d), // kept for whoever asks where a token looked
        keys: new Float32Array(t * narrow),
        values: new Float32Array(t * narrow),
      };
    });
    this.last = new Float32Array(t * d); // what leaves the stack, at each position
    this.periods = Array.from({ length: width / 2 }, (_, i) => Math.fround(base ** ((2 * i) / width)));
    this.turns = []; // the cosine and sine of each pair, at the position that is read
    this.ids = [];
    this.work = { x: d, h: d, qkv: d + 2 * narrow, mixed: d, added: d, wide: 2 * f, narrow: f, scores: n };
    for (const [name, length] of Object.entries(this.work)) this.work[name] = new Float32Array(length);
  }

  /** Forget all but the first tokens. */
  rewind(length) {
    this.ids.length = Math.min(length, this.ids.length);
  }

  /** Read one more token: one pass through the layers. */
  feed(id) {
    const place = this.ids.length;
    const { context_length: limit, d_model: d } = this.config;
    if (place === limit) throw new Error(`the model sees ${limit} tokens at most`);
    const { x, h, added, wide, narrow } = this.work;
    x.set(this.embedding.subarray(id * d, (id + 1) * d));
    this.turns = this.periods.map((period) => {
      const angle = Math.fround(place / period);
      return [Math.cos(angle), Math.sin(angle)];
    });
    for (const layer of this.layers) {
      this.attend(layer, place, normalize(h, x, layer.attentionGain));
      multiply(added, layer.out, this.work.mixed);
      for (let i = 0; i < d; i++) x[i] += added[i];
      multiply(wide, layer.expand, normalize(h, x, layer.feedForwardGain));
      for (let i = 0, f = narrow.length; i < f; i++) narrow[i] = (wide[i] / (1 + Math.exp(-wide[i]))) * wide[f + i];
      multiply(added, layer.contract, narrow);
      for (let i = 0; i < d; i++) x[i] += added[i];
    }
    normalize(this.last.subarray(place * d, (place + 1) * d), x, this.gain);
    this.ids.push(id);
  }

  /** Attention of the token at `place`, the last one; its mix of values goes to work.mixed. */
  attend(layer, place, h) {
    const { d_model: d, n_heads, n_kv_heads } = this.config;
    const width = d / n_heads;
    const narrow = n_kv_heads * width;
    const qkv = multiply(this.work.qkv, layer.qkv, h);
    for (let start = 0; start < d + narrow; start += width) this.turn(qkv, start);
    layer.queries.set(qkv.subarray(0, d), place * d);
    layer.keys.set(qkv.subarray(d, d + narrow), place * narrow);
    layer.values.set(qkv.subarray(d + narrow), place * narrow);
    const { mixed } = this.work;
    mixed.fill(0);
    for (let head = 0; head < n_heads; head++) {
      const weights = this.weights(layer, head, place);
      const shared = Math.floor((head * n_kv_heads) / n_heads) * width;
      for (let s = 0; s <= place; s++) {
        const from = s * narrow + shared;
        for (let i = 0; i < width; i++) mixed[head * width + i] += weights[s] * layer.values[from + i];
      }
    }
  }

  /** Turn one head of a query or key by its position: entry i pairs with i + width / 2. */
  turn(vector, start) {
    const half = this.turns.length;
    for (let i = 0; i < half; i++) {
      const [cos, sin] = this.turns[i];
      const [x, y] = [vector[start + i], vector[start + half + i]];
      vector[start + i] = x * cos - y * sin;
      vector[start + half + i] = x * sin + y * cos;
    }
  }

  /** How much the token at `place` takes from each up to itself, in one head of a layer. */
  weights(layer, head, place) {
    const { d_model: d, n_heads, n_kv_heads } = this.config;
    const width = d / n_heads;
    const narrow = n_kv_heads * width;
    const shared = Math.floor((head * n_kv_heads) / n_heads) * width;
    const scores = new Float32Array(place + 1);
    const from = place * d + head * width;
    for (let s = 0; s <= place; s++) {
      const to = s * narrow + shared;
      let score = 0;
      for (let i = 0; i < width; i++) score += layer.queries[from + i] * layer.keys[to + i];
      scores[s] = score / Math.sqrt(width);
    }
    return softmax(scores);
  }

  /** The scores of all tokens as the one after `place`. The next call writes over them. */
  scores(place) {
    const d = this.config.d_model;
    return multiply(this.work.scores, this.head, this.last.subarray(place * d, (place + 1) * d));
  }
}

/** A tokenizer and a model from the bytes of their file. */
function open(bytes) {
  const { about, tensors } = unpack(bytes);
  return { tokenizer: makeTokenizer(about), reader: new Reader(about.config, tensors) };
}

/** How likely each token is at a temperature; at 0 the likeliest has all. */
function chances(scores, temperature) {
  if (temperature > 0) return softmax(Float64Array.from(scores, (score) => score / temperature));
  const best = scores.indexOf(scores.reduce((top, score) => Math.max(top, score), -Infinity));
  return Float64Array.from(scores, (_, id) => (id === best ? 1 : 0));
}

/** One id by its chance; `random` gives a number from 0 to below 1. */
function draw(given, random = Math.random) {
  let left = random();
  let id = -1;
  for (let i = 0; i < given.length; i++) {
    if (!given[i]) continue;
    id = i;
    left -= given[i];
    if (left < 0) break;
  }
  return id;
}

/** Where what the model sees begins: of a text that is too long the first quarters go, one
 * after the other, so that not every new token makes it read everything again. */
function windowStart(length, limit) {
  const quarter = Math.max(1, Math.floor(limit / 4));
  return length <= limit ? 0 : Math.ceil((length - limit) / quarter) * quarter;
}
