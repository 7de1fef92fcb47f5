// Of the finished slugs, the one with the highest Token F1 to expect; see vec2slug_lib/risk.py.

import { wordsOf } from "./vocabulary.js";

/** @typedef {import("./search.js").Candidate} Candidate */

/**
 * Settings of the choice, under the names of Python's RiskConfig.
 * @typedef {object} Risk
 * @property {number} beam_width
 * @property {number} length_reward
 * @property {number} own share of the candidates in what the model says of a word
 * @property {number} temperature
 * @property {number} mean_words
 * @property {[number, number]} plain slope and offset of the score
 */

/**
 * Candidates with the Token F1 to expect as score, best first.
 * @param {Candidate[]} candidates
 * @param {Float32Array} wordLogits of the word head, one a token
 * @param {Map<string, number>} ids
 * @param {Risk} risk
 * @returns {Candidate[]}
 */
export function leastRisk(candidates, wordLogits, ids, risk) {
  const own = slugChances(candidates, risk.temperature);
  const head = headChances(wordLogits, ids, [...own.keys()], risk.mean_words);
  /** @param {string} word */
  const chance = (word) => risk.own * (own.get(word) ?? 0) + (1 - risk.own) * (head.get(word) ?? 0);
  const [slope, offset] = risk.plain;
  const scored = candidates.map(({ slug }) => {
    const words = [...new Set(wordsOf(slug))].sort(); // the same sum in any order of words
    const right = words.reduce((sum, word) => sum + chance(word), 0);
    return { slug, score: slope * ((2 * right) / (words.length + risk.mean_words)) + offset };
  });
  scored.sort((a, b) => b.score - a.score);
  return scored.map(({ slug, score }) => ({ slug, score: Math.max(score, 0) }));
}

/**
 * Share of the candidates' belief that holds a word.
 * @param {Candidate[]} candidates
 * @param {number} temperature
 * @returns {Map<string, number>}
 */
function slugChances(candidates, temperature) {
  const highest = Math.max(...candidates.map(({ score }) => score));
  const weights = candidates.map(({ score }) => Math.exp((score - highest) / temperature));
  const sum = weights.reduce((a, b) => a + b, 0);
  const chances = new Map();
  candidates.forEach(({ slug }, i) => {
    for (const word of new Set(wordsOf(slug))) {
      chances.set(word, (chances.get(word) ?? 0) + weights[i] / sum);
    }
  });
  return chances;
}

/**
 * Chances by the word head: of a word of several subwords, that of the unlikeliest.
 * @param {Float32Array} logits
 * @param {Map<string, number>} ids
 * @param {string[]} words
 * @param {number} meanWords
 * @returns {Map<string, number>}
 */
function headChances(logits, ids, words, meanWords) {
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
  /** @param {number} id */
  const share = (id) => (meanWords * Math.exp(logits[id] - highest)) / sum;
  const chances = new Map();
  for (const word of words) {
    chances.set(word, Math.min(1, ...pieces(word, ids).map(share)));
  }
  return chances;
}

/**
 * Tokens of a word, the longest that fits first.
 * @param {string} word
 * @param {Map<string, number>} ids
 */
function pieces(word, ids) {
  const found = [];
  while (word) {
    let end = word.length;
    while (!ids.has(word.slice(0, end))) end--;
    found.push(/** @type {number} */ (ids.get(word.slice(0, end))));
    word = word.slice(end);
  }
  return found;
}
