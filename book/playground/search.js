// Beam search with optimal stopping for one vector; vec2slug_lib/inference/beam_search.py has the same steps.

import { repeats, soundWord, wordsOf } from "./slugs.js";
import { EOS, FIRST, HYPHEN } from "./vocabulary.js";

/** @typedef {import("./vocabulary.js").Vocabulary} Vocabulary */
/** @typedef {import("./stepper.js").Scores} Scores */
/** @typedef {{slug: string, score: number}} Candidate */
/** @typedef {{text: string, logP: number, wordsBegun: number, atWordStart: boolean, chars: number}} Row */
/** @typedef {{row: number, token: number, logP: number, rank: number}} Extension */
/** @typedef {{hyphen: boolean, eos: boolean, charBudget: number, forced: boolean}} Allowed */
/** @typedef {{beams: {text: string, logP: number}[], finished: Candidate[]}} Step */

/**
 * Settings of a search, under the names of Python's DecodingConfig.
 * @typedef {object} Decoding
 * @property {number} beam_width
 * @property {number} length_reward
 * @property {number} reward_cap
 * @property {number} min_tokens
 * @property {number} min_words
 * @property {number} max_words
 * @property {number} max_tokens
 * @property {number} max_chars
 * @property {number} trailing_stopword_penalty
 * @property {number} repeat_penalty
 * @property {boolean} suppress_eos_after_stopword
 * @property {boolean} distinct_words
 * @property {boolean} sound_words
 * @property {Set<string>} doubled_words
 * @property {Set<string>} stopwords
 */

/**
 * What a search asks of a decoder: scores after the vector, then of rows that go on.
 * @typedef {object} Stepper
 * @property {(vector: Float32Array, width: number) => Promise<Scores[]>} start
 * @property {(parents: number[], tokens: number[]) => Promise<Scores[]>} step
 */

/**
 * @param {Stepper} stepper
 * @param {Float32Array} vector
 * @param {Vocabulary} vocabulary
 * @param {Decoding} config
 * @param {number} topK
 * @returns {Promise<{candidates: Candidate[], steps: Step[]}>} candidates best first
 */
export async function search(stepper, vector, vocabulary, config, topK) {
  const state = new Search(vocabulary, config, topK);
  let scores = await stepper.start(vector, config.beam_width);
  for (let length = 0; length < config.max_tokens; length++) {
    const survivors = state.advance(scores, length);
    if (!survivors.length) break;
    const parents = survivors.map(({ row }) => row);
    const tokens = survivors.map(({ token }) => token);
    scores = await stepper.step(parents, tokens);
  }
  return { candidates: state.best(), steps: state.steps };
}

class Search {
  /**
   * @param {Vocabulary} vocabulary
   * @param {Decoding} config
   * @param {number} topK
   */
  constructor(vocabulary, config, topK) {
    this.vocabulary = vocabulary;
    this.config = config;
    this.topK = topK;
    /** @type {Row[]} */
    this.rows = [{ text: "", logP: 0, wordsBegun: 0, atWordStart: true, chars: 0 }];
    /** @type {Map<string, number>} */
    this.pool = new Map();
    /** @type {Map<string, number>} slugs that had to be mended */
    this.spare = new Map();
    /** @type {Step[]} */
    this.steps = [];
  }

  /**
   * Extend every row by a token; the extensions that go on, best first.
   * @param {Scores[]} scores one a row
   * @param {number} length tokens so far
   */
  advance(scores, length) {
    const allowed = this.rows.map((row) => this.allowed(row, length));
    const extensions = this.rows.flatMap((_, i) => this.extend(i, scores[i], allowed[i]));
    return this.select(extensions, allowed);
  }

  /**
   * Grammar, then the limits of tokens and characters.
   * @param {Row} row
   * @param {number} length
   * @returns {Allowed}
   */
  allowed({ text, wordsBegun, atWordStart, chars }, length) {
    const { config, vocabulary } = this;
    const pair = 1 + vocabulary.shortest; // a hyphen and a subword
    const ends = config.stopwords.has(text.slice(text.lastIndexOf("-") + 1));
    const tokensLeft = config.max_tokens - 1 - length;
    const charsLeft = config.max_chars - chars;
    const hyphen = !atWordStart && wordsBegun < config.max_words;
    let eos = !atWordStart && wordsBegun >= config.min_words && length >= config.min_tokens;
    eos &&= !(ends && config.suppress_eos_after_stopword);
    // Words that still have to be opened after a subword here, or after a hyphen here.
    let missing = Math.max(config.min_words - wordsBegun - Number(atWordStart), 0);
    let charBudget = tokensLeft - 1 >= 2 * missing ? charsLeft - pair * missing : 0;
    missing = Math.max(config.min_words - wordsBegun, 1);
    const fits = tokensLeft >= 2 * missing && charsLeft >= pair * missing;
    const forced = !(hyphen && fits) && charBudget < vocabulary.shortest;
    // A forced <eos> is charged its probability as if there were no limits.
    if (forced) charBudget = vocabulary.longest;
    return { hyphen: hyphen && (fits || forced), eos: eos || forced, charBudget, forced };
  }

  /**
   * <eos> and hyphen, where allowed, and the best subwords, with their log probabilities.
   * @param {number} index
   * @param {Scores} scores
   * @param {Allowed} allowed
   * @returns {Extension[]}
   */
  extend(index, scores, allowed) {
    const { config, vocabulary } = this;
    const row = this.rows[index];
    const { total, best, tokens } = this.subwords(scores, allowed.charBudget);
    let eos = allowed.eos ? scores.eos : -Infinity;
    let hyphen = allowed.hyphen ? scores.hyphen : -Infinity;
    const normaliser = logAddExp(logAddExp(eos, hyphen), total);
    const grows = !allowed.forced && allowed.charBudget >= vocabulary.shortest;
    if (grows && this.closed(row.text)) eos = hyphen = -Infinity;
    if (allowed.forced) hyphen = -Infinity;
    // Within a word nothing changes the number of words; where one opens, every token does.
    const counted = Math.min(row.wordsBegun + Number(row.atWordStart), config.reward_cap);
    const pairs = [[EOS, eos], [HYPHEN, hyphen]];
    if (!allowed.forced) best.forEach((logit, i) => pairs.push([tokens[i], logit]));
    return pairs
      .filter(([, logit]) => logit > -Infinity)
      .map(([token, logit]) => {
        const logP = logit - normaliser + row.logP;
        return { row: index, token, logP, rank: logP + config.length_reward * counted };
      });
  }

  /**
   * Whether the last word may not end.
   * @param {string} text
   */
  closed(text) {
    const { distinct_words, sound_words, doubled_words, stopwords } = this.config;
    const before = text.split("-");
    const last = before.pop() ?? "";
    const again = distinct_words && repeats(last, before, stopwords);
    return again || (sound_words && soundWord(last, doubled_words) !== last);
  }

  /**
   * The slug that a row has come to, with sound words.
   * @param {string} text
   */
  slug(text) {
    const { sound_words, doubled_words } = this.config;
    return sound_words ? text.split("-").map((word) => soundWord(word, doubled_words)).join("-") : text;
  }

  /**
   * Log of the summed exponentials of the subwords that fit, and the best of them.
   * @param {Scores} scores
   * @param {number} charBudget characters that a subword may have
   */
  subwords(scores, charBudget) {
    const { lengths, longest, banned } = this.vocabulary;
    if (charBudget >= longest && !banned) return scores;
    const few = best(scores.subwords, (i) => lengths[FIRST + i] <= charBudget, scores.best.length);
    let sum = 0;
    for (let i = 0; i < scores.subwords.length; i++) {
      if (lengths[FIRST + i] <= charBudget) sum += Math.exp(scores.subwords[i] - scores.subwords[few[0]]);
    }
    return {
      total: few.length ? scores.subwords[few[0]] + Math.log(sum) : -Infinity,
      best: few.map((i) => scores.subwords[i]),
      tokens: few.map((i) => FIRST + i),
    };
  }

  /**
   * Finish slugs, keep the best others unless the search is done.
   * @param {Extension[]} extensions
   * @param {Allowed[]} allowed
   */
  select(extensions, allowed) {
    const { config, rows, pool, spare } = this;
    extensions.sort((a, b) => b.rank - a.rank || a.row - b.row || a.token - b.token);
    /** @type {Candidate[]} */
    const finished = [];
    extensions.forEach(({ row, token, logP }, place) => {
      if (token !== EOS || !(place < config.beam_width || allowed[row].forced)) return;
      const slug = this.slug(rows[row].text);
      const score = this.score(slug, logP);
      const into = slug === rows[row].text ? pool : spare;
      into.set(slug, Math.max(into.get(slug) ?? -Infinity, score));
      if (into === pool) finished.push({ slug, score });
    });
    const others = extensions.filter(({ token }) => token !== EOS).slice(0, config.beam_width);
    const survivors = this.done(others) ? [] : others;
    this.rows = survivors.map((extension) => this.grown(extension));
    const beams = this.rows.map(({ text, logP }) => ({ text, logP }));
    this.steps.push({ beams, finished });
    return survivors;
  }

  /**
   * @param {Extension} extension
   * @returns {Row}
   */
  grown({ row, token, logP }) {
    const { text, wordsBegun, atWordStart, chars } = this.rows[row];
    const hyphen = token === HYPHEN;
    return {
      text: text + this.vocabulary.strings[token],
      logP,
      wordsBegun: wordsBegun + Number(atWordStart && !hyphen),
      atWordStart: hyphen,
      chars: chars + (hyphen ? 1 : this.vocabulary.lengths[token]),
    };
  }

  /**
   * Whether no unfinished slug can enter the best any more (Huang et al. 2017).
   * @param {Extension[]} others
   */
  done(others) {
    const { length_reward, reward_cap } = this.config;
    const bound = Math.max(...others.map(({ logP }) => logP)) + length_reward * reward_cap;
    const scores = [...this.pool.values()].sort((a, b) => b - a);
    return scores.length >= this.topK && scores[this.topK - 1] >= bound;
  }

  /**
   * Log probability plus the reward of the words, less the penalties.
   * @param {string} slug
   * @param {number} logP
   */
  score(slug, logP) {
    const { config } = this;
    const parts = wordsOf(slug);
    const content = parts.filter((word) => !config.stopwords.has(word));
    let score = logP + config.length_reward * Math.min(parts.length, config.reward_cap);
    if (config.stopwords.has(parts[parts.length - 1])) score -= config.trailing_stopword_penalty;
    if (new Set(content).size < content.length) score -= config.repeat_penalty;
    return score;
  }

  /** Finished slugs, best first; of equal ones that which was finished earlier. */
  best() {
    const pool = this.pool.size ? this.pool : this.spare;
    const all = [...pool].map(([slug, score]) => ({ slug, score }));
    return all.sort((a, b) => b.score - a.score).slice(0, this.topK);
  }
}

/**
 * Places of the largest values among those that fit, in order; of equal ones the first.
 * @param {Float32Array} values
 * @param {(place: number) => boolean} fits
 * @param {number} count
 */
function best(values, fits, count) {
  /** @type {number[]} */
  const places = [];
  let least = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if ((places.length === count && values[i] <= least) || !fits(i)) continue;
    const at = places.findIndex((other) => values[other] < values[i]);
    places.splice(at < 0 ? places.length : at, 0, i);
    places.length = Math.min(places.length, count);
    least = values[places[places.length - 1]];
  }
  return places;
}

/**
 * log(exp(a) + exp(b))
 * @param {number} a
 * @param {number} b
 */
export function logAddExp(a, b) {
  const highest = Math.max(a, b);
  return highest === -Infinity ? highest : highest + Math.log1p(Math.exp(-Math.abs(a - b)));
}
