// A search that hears of a text: its words come easier where a word begins, and as wholes;
// vec2slug_lib/inference/grounding.py has the same steps.

import { longestMatchTokens } from "./mbr.js";
import { FIRST, HYPHEN } from "./vocabulary.js";

/** @typedef {import("./search.js").Stepper} Stepper */
/** @typedef {import("./stepper.js").Scores} Scores */
/** @typedef {Map<string, Map<number, number>>} Bonuses by the tokens of a word so far: what each next one gains */

const USUAL = 0.03; // share of a text's words that are in its slug, about
const MOST_GAIN = 6; // of a bonus, in nats

/**
 * What each token gains that goes on with a probable word of the text.
 * @param {Map<string, number>} probabilities of the text's words to be in the slug
 * @param {Map<string, number>} ids
 * @param {number} strength multiplies the logarithm of the odds, beyond those of any word
 * @param {Set<string>} stopwords
 * @returns {Bonuses}
 */
export function bonuses(probabilities, ids, strength, stopwords) {
  /** @type {Bonuses} */
  const gains = new Map();
  for (const [word, probability] of probabilities) {
    if (stopwords.has(word) || probability <= USUAL) continue;
    const odds = ((probability / (1 - Math.min(probability, 0.999))) * (1 - USUAL)) / USUAL;
    const gain = Math.min(strength * Math.log(odds), MOST_GAIN);
    longestMatchTokens(word, ids).forEach((token, end, tokens) => {
      const node = tokens.slice(0, end).join();
      const next = gains.get(node) ?? new Map();
      gains.set(node, next.set(token, Math.max(next.get(token) ?? 0, gain)));
    });
  }
  return gains;
}

/** Stepper over another one, where tokens of a text's words gain. */
export class GroundedStepper {
  /**
   * @param {Stepper} stepper the decoder
   * @param {() => Bonuses} hear asked once the decoder has read the vector
   */
  constructor(stepper, hear) {
    this.stepper = stepper;
    this.hear = hear;
    /** @type {Bonuses} */
    this.bonuses = new Map();
    /** @type {(string | null)[]} tokens of each row's word so far; null where no word of the text has them */
    this.nodes = [];
  }

  /**
   * @param {Float32Array} vector
   * @param {number} width
   */
  async start(vector, width) {
    const scores = await this.stepper.start(vector, width);
    this.bonuses = this.hear();
    this.nodes = [""];
    return this.raised(scores);
  }

  /**
   * @param {number[]} parents
   * @param {number[]} tokens
   */
  async step(parents, tokens) {
    const scores = await this.stepper.step(parents, tokens);
    this.nodes = parents.map((parent, i) => this.next(this.nodes[parent], tokens[i]));
    return this.raised(scores);
  }

  /**
   * What a row has of a word after one more token.
   * @param {string | null} node
   * @param {number} token
   */
  next(node, token) {
    if (token === HYPHEN) return "";
    if (node === null) return null;
    const longer = node ? `${node},${token}` : String(token);
    return this.bonuses.has(longer) ? longer : null;
  }

  /** @param {Scores[]} scores */
  raised(scores) {
    return scores.map((row, i) => {
      const node = this.nodes[i];
      const gains = node === null ? undefined : this.bonuses.get(node);
      return gains ? raised(row, gains) : row;
    });
  }
}

/**
 * A row with gains of 0 or more added to the logits of some subwords.
 * @param {Scores} scores
 * @param {Map<number, number>} gains by token
 * @returns {Scores}
 */
export function raised(scores, gains) {
  const subwords = scores.subwords.slice(); // a copy
  let added = 0;
  for (const [token, gain] of gains) {
    const before = subwords[token - FIRST];
    const after = (subwords[token - FIRST] = Math.fround(before + gain));
    added += Math.exp(after - scores.total) - Math.exp(before - scores.total);
  }
  // What gains nothing keeps its order, so the best are among the best so far and these.
  const few = [...new Set([...scores.tokens, ...gains.keys()])];
  few.sort((a, b) => subwords[b - FIRST] - subwords[a - FIRST] || a - b);
  const tokens = few.slice(0, scores.best.length);
  const best = tokens.map((token) => subwords[token - FIRST]);
  return { ...scores, total: scores.total + Math.log1p(added), best, tokens, subwords };
}
