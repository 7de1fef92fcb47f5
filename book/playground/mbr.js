// Minimum Bayes risk decoding: of the finished slugs, the one with the highest expected Token F1;
// vec2slug_lib/inference/mbr.py has the same steps, and evidence that the page lacks: an index of
// known slugs.

import { wordsOf } from "./slugs.js";

/** @typedef {import("./search.js").Candidate} Candidate */

/**
 * Settings of the choice, under the keys of a release's model.json.
 * @typedef {object} MBR
 * @property {number} beam_width
 * @property {number} length_reward
 * @property {number} own weight of the candidates beside the bag-of-words head, which has the rest
 * @property {number} temperature
 * @property {number} mean_words
 * @property {[number, number]} plain slope and offset that make an expected F1 an honest score
 * @property {[number, number, number]} proof slope, slope of the cosine and offset, where there are cosines
 */

/** @typedef {Pick<MBR, "plain" | "proof">} Fits of scores to the Token F1 */

/**
 * A page's candidates, and what speaks for them.
 * @typedef {object} Judged
 * @property {Candidate[]} candidates
 * @property {number[]} expected Token F1 of each
 * @property {Fits} fits
 * @property {import("./search.js").Step[]} steps of the search
 */

/**
 * Candidates with the Token F1 to expect as score, best first.
 * @param {Candidate[]} candidates
 * @param {number[]} expected see `expectedF1`
 * @param {Fits} fits
 * @param {number[]} [cosines] of the candidates to the page; without them, it is not re-ranked by them
 * @returns {Candidate[]}
 */
export function rerank(candidates, expected, { plain, proof }, cosines) {
  const [slope, similarity, offset] = cosines ? proof : [plain[0], 0, plain[1]];
  const scored = candidates.map(({ slug }, i) => {
    return { slug, score: slope * expected[i] + similarity * (cosines?.[i] ?? 0) + offset };
  });
  scored.sort((a, b) => b.score - a.score);
  return scored.map(({ slug, score }) => ({ slug, score: Math.max(score, 0) }));
}

/**
 * The Token F1 to expect: twice the words expected right over those of both slugs.
 * @param {string} slug
 * @param {Map<string, number>} probabilities
 * @param {number} meanWords
 */
export function expectedF1(slug, probabilities, meanWords) {
  const right = [...new Set(wordsOf(slug))].map((word) => probabilities.get(word) ?? 0);
  right.sort((a, b) => a - b); // words as probable have the same sum in any order
  return (2 * right.reduce((sum, probability) => sum + probability, 0)) / (right.length + meanWords);
}

/**
 * The probability of the candidates' words to be in the true slug of a page.
 * @param {Candidate[]} candidates
 * @param {Float32Array} wordLogits of the bag-of-words head, one a token
 * @param {Map<string, number>} ids
 * @param {MBR} mbr
 * @returns {Map<string, number>}
 */
export function pageProbabilities(candidates, wordLogits, ids, mbr) {
  const voted = slugWordProbabilities(candidates, mbr.temperature);
  const head = headWordProbabilities(wordLogits, ids, [...voted.keys()], mbr.mean_words);
  const mixed = new Map();
  voted.forEach((vote, word) => {
    mixed.set(word, mbr.own * vote + (1 - mbr.own) * (head.get(word) ?? 0));
  });
  return mixed;
}

/**
 * Of each word, the softmax weights of the slugs that hold it, added up.
 * @param {Candidate[]} candidates
 * @param {number} temperature
 * @returns {Map<string, number>}
 */
function slugWordProbabilities(candidates, temperature) {
  const highest = Math.max(...candidates.map(({ score }) => score));
  const weights = candidates.map(({ score }) => Math.exp((score - highest) / temperature));
  const sum = weights.reduce((a, b) => a + b, 0);
  const probabilities = new Map();
  candidates.forEach(({ slug }, i) => {
    for (const word of new Set(wordsOf(slug))) {
      probabilities.set(word, (probabilities.get(word) ?? 0) + weights[i] / sum);
    }
  });
  return probabilities;
}

/**
 * Word probabilities of the bag-of-words head; a word has its least likely token's.
 * @param {Float32Array} logits
 * @param {Map<string, number>} ids
 * @param {string[]} words
 * @param {number} meanWords what the probabilities of all tokens add up to
 * @returns {Map<string, number>}
 */
export function headWordProbabilities(logits, ids, words, meanWords) {
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
  /** @param {number} id */
  const expected = (id) => (meanWords * Math.exp(logits[id] - highest)) / sum;
  const probabilities = new Map();
  for (const word of words) {
    probabilities.set(word, Math.min(1, ...longestMatchTokens(word, ids).map(expected)));
  }
  return probabilities;
}

/**
 * Tokens of a word, the longest first; a vocabulary holds every letter and digit.
 * @param {string} word
 * @param {Map<string, number>} ids
 */
export function longestMatchTokens(word, ids) {
  const tokens = [];
  while (word) {
    let end = word.length;
    while (!ids.has(word.slice(0, end))) end--;
    tokens.push(/** @type {number} */ (ids.get(word.slice(0, end))));
    word = word.slice(end);
  }
  return tokens;
}
