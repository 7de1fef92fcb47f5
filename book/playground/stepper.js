// The decoder, a step at a time, over the step graph of a release; see vec2slug_lib/inference/steppers.py.

import { BOS, EOS, FIRST, HYPHEN } from "./vocabulary.js";

/** @typedef {import("onnxruntime-common").InferenceSession} Session */
/** @typedef {typeof import("onnxruntime-common")} Runtime */

/**
 * What a search asks of one row of logits.
 * @typedef {object} Scores
 * @property {number} eos
 * @property {number} hyphen
 * @property {number} total log of the subwords' summed exponentials
 * @property {number[]} best the largest logits of subwords, in order
 * @property {number[]} tokens whose they are
 * @property {Float32Array} subwords all of them
 */

/**
 * @typedef {object} Shape
 * @property {number} input_dim
 * @property {number} embed_dim
 * @property {number} num_heads
 * @property {number} num_layers
 * @property {number} vocab_size
 * @property {number} [head_dim]
 */

/**
 * @param {Runtime} runtime
 * @param {ArrayBuffer} graph
 * @returns {Promise<Session>}
 */
export function openSession(runtime, graph) {
  // Products of bytes stay as the graph has them; see vec2slug_lib/release/step_graph.py.
  const extra = { session: { disable_quant_qdq: "1" } };
  return runtime.InferenceSession.create(graph, { executionProviders: ["wasm"], extra });
}

export class CachedStepper {
  /**
   * @param {Runtime} runtime
   * @param {Session} session
   * @param {Shape} shape the part `model` of model.json
   */
  constructor(runtime, session, shape) {
    this.runtime = runtime;
    this.session = session;
    this.shape = shape;
    this.width = 0;
    const layers = [...Array(shape.num_layers).keys()];
    this.layers = layers.flatMap((i) => [`keys_${i}`, `values_${i}`]);
    /** @type {Float32Array[]} one a layer and kind, [heads, nodes, w] */
    this.caches = [];
    this.nodes = 0;
    this.position = 0;
    /** @type {number[][]} the nodes that a row descends from */
    this.seen = [];
    /** @type {Float32Array} */
    this.topic = new Float32Array();
    /** @type {Float32Array} of the bag-of-words head, one a token */
    this.wordLogits = new Float32Array();
  }

  /**
   * Begin with a vector.
   * @param {Float32Array} vector
   * @param {number} width best subwords of each row that the search will ask for
   * @returns {Promise<Scores[]>} of the one row after <bos>
   */
  async start(vector, width) {
    const { embed_dim: d, head_dim: headed, vocab_size: size } = this.shape;
    this.width = Math.min(width, size - FIRST);
    // No graph is asked to multiply nothing: a node that nobody sees stands for the past.
    this.caches = this.layers.map(() => new Float32Array(d));
    this.nodes = 1;
    this.position = 1;
    this.topic = new Float32Array();
    const outputs = await this.run(vector, [BOS], [[1], [1, 2]]);
    if (headed) this.wordLogits = /** @type {Float32Array} */ (outputs.word_logits.data);
    this.seen = [[1, 2]];
    return this.scores(outputs, 1);
  }

  /**
   * Go on from the row `parents[i]` with the token `tokens[i]`.
   * @param {number[]} parents
   * @param {number[]} tokens
   * @returns {Promise<Scores[]>}
   */
  async step(parents, tokens) {
    this.forget(parents.map((parent) => this.seen[parent]));
    this.seen = this.seen.map((nodes, i) => [...nodes, this.nodes + i]);
    this.position++;
    const outputs = await this.run(new Float32Array(), tokens, this.seen);
    return this.scores(outputs, tokens.length);
  }

  /**
   * Keep only the nodes that the rows descend from.
   * @param {number[][]} seen
   */
  forget(seen) {
    const live = [...new Set(seen.flat())].sort((a, b) => a - b);
    const place = new Map(live.map((node, i) => [node, i]));
    this.seen = seen.map((nodes) => nodes.map((node) => place.get(node) ?? 0));
    const { num_heads: heads, embed_dim: d } = this.shape;
    const [w, nodes] = [d / heads, this.nodes];
    this.caches = this.caches.map((cache) => {
      const cut = new Float32Array(heads * live.length * w);
      for (let head = 0, at = 0; head < heads; head++) {
        for (const node of live) {
          const from = (head * nodes + node) * w;
          cut.set(cache.subarray(from, from + w), at);
          at += w;
        }
      }
      return cut;
    });
    this.nodes = live.length;
  }

  /**
   * One call of the graph; its new nodes enter the caches.
   * @param {Float32Array} vector or nothing
   * @param {number[]} ids
   * @param {number[][]} seen what each slot sees, itself included
   */
  async run(vector, ids, seen) {
    const { input_dim, embed_dim: d, num_heads: heads, head_dim: headed } = this.shape;
    const { nodes } = this;
    const [slots, all] = [seen.length, nodes + seen.length];
    const mask = new Float32Array(slots * all).fill(-Infinity);
    seen.forEach((sees, slot) => sees.forEach((node) => (mask[slot * all + node] = 0)));
    const begun = vector.length / input_dim;
    /** @type {Record<string, import("onnxruntime-common").Tensor>} */
    const feeds = {
      src_embedding: this.floats(vector, [begun, input_dim]),
      token_ids: this.integers(ids),
      positions: this.integers([this.position]),
      mask: this.floats(mask, [1, 1, slots, all]),
      width: this.integers([this.width]),
    };
    if (headed) feeds.topic = this.floats(this.topic, [this.topic.length / d, d]);
    this.layers.forEach((name, i) => {
      feeds[name] = this.floats(this.caches[i], [1, heads, nodes, d / heads]);
    });
    const outputs = await this.session.run(feeds);
    this.layers.forEach((name, i) => {
      const fresh = /** @type {Float32Array} */ (outputs[`new_${name}`].data);
      this.caches[i] = appended(this.caches[i], fresh, heads);
    });
    this.nodes = all;
    if (headed) this.topic = /** @type {Float32Array} */ (outputs.new_topic.data);
    return outputs;
  }

  /**
   * @param {import("onnxruntime-common").InferenceSession.OnnxValueMapType} outputs
   * @param {number} rows
   * @returns {Scores[]}
   */
  scores(outputs, rows) {
    /** @param {string} name */
    const data = (name) => /** @type {Float32Array} */ (outputs[name].data);
    const [special, subwords, best] = ["special_logits", "subword_logits", "best_logits"].map(data);
    const tokens = Array.from(/** @type {BigInt64Array} */ (outputs.best_tokens.data), Number);
    const [size, width] = [subwords.length / rows, best.length / rows];
    const total = data("log_sum");
    return Array.from({ length: rows }, (_, i) => ({
      eos: special[i * FIRST + EOS],
      hyphen: special[i * FIRST + HYPHEN],
      total: total[i],
      best: Array.from(best.subarray(i * width, (i + 1) * width)),
      tokens: tokens.slice(i * width, (i + 1) * width),
      subwords: subwords.subarray(i * size, (i + 1) * size),
    }));
  }

  /**
   * @param {Float32Array} values
   * @param {number[]} shape
   */
  floats(values, shape) {
    return new this.runtime.Tensor("float32", values, shape);
  }

  /** @param {number[]} values */
  integers(values) {
    return new this.runtime.Tensor("int64", BigInt64Array.from(values, BigInt), [values.length]);
  }
}

/**
 * Nodes [heads, n, w] and fresh ones [heads, m, w], head by head.
 * @param {Float32Array} nodes
 * @param {Float32Array} fresh
 * @param {number} heads
 */
function appended(nodes, fresh, heads) {
  const [old, more] = [nodes.length / heads, fresh.length / heads];
  const joined = new Float32Array(nodes.length + fresh.length);
  for (let head = 0; head < heads; head++) {
    const at = head * (old + more);
    joined.set(nodes.subarray(head * old, (head + 1) * old), at);
    joined.set(fresh.subarray(head * more, (head + 1) * more), at + old);
  }
  return joined;
}
