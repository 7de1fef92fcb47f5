// Which words of a text are in its slug: boosted trees over the words; vec2slug_lib/inference/text_model.py
// has the same steps.

import { headWordProbabilities } from "./mbr.js";

/** @typedef {import("./text_words.js").TextWord} TextWord */

/**
 * Trees, each in full: node i has the nodes 2i + 1 and 2i + 2 below it.
 * @typedef {object} Trees
 * @property {number[][]} feature
 * @property {number[][]} threshold above it the way goes to the second node
 * @property {number[][]} value of the leaves
 * @property {number} base
 */

/**
 * A release's text.json.
 * @typedef {object} TextModel
 * @property {Trees} trees
 * @property {string} frequencies a code for each token
 * @property {number} elsewhere what the vector's probability of a word is multiplied with where the text lacks it
 * @property {number} bonus strength of the text's words in the search
 * @property {number} runs candidates that are runs of words of the text
 * @property {number[]} run_gains Token F1 that such a run has in advance by each of its traits
 * @property {[number, number]} score_fit slope and offset that make an expected F1 an honest score
 * @property {[number, number, number]} rerank_fit slope, slope of the cosine and offset, where there are cosines
 */

const LEAST_PROBABILITY = 1e-7; // by the bag-of-words head, at least
const FIRST_CODE = 33; // of frequencies: "!"

/**
 * The probability of each distinct word of a text to be in its slug.
 * @param {TextModel} model
 * @param {TextWord[]} words of the text
 * @param {Float32Array} logits of the bag-of-words head, one a token
 * @param {Map<string, number>} ids
 * @param {number} meanWords of a true slug
 * @param {Set<string>} stopwords
 * @returns {Map<string, number>}
 */
export function textProbabilities({ trees, frequencies }, words, logits, ids, meanWords, stopwords) {
  const described = describe(words, logits, ids, meanWords, frequencies, stopwords);
  return new Map([...described].map(([word, features]) => [word, probability(trees, features)]));
}

/**
 * Features of the distinct words of a text, in the order in which they come.
 * @param {TextWord[]} words
 * @param {Float32Array} logits
 * @param {Map<string, number>} ids
 * @param {number} meanWords
 * @param {string} frequencies
 * @param {Set<string>} stopwords
 * @returns {Map<string, number[]>}
 */
export function describe(words, logits, ids, meanWords, frequencies, stopwords) {
  const counted = counts(words);
  const head = headWordProbabilities(logits, ids, [...counted.keys()], meanWords);
  const features = new Map();
  for (const [word, { count, first, capitals, inside }] of counted) {
    const id = ids.get(word);
    features.set(word, [
      Math.log((head.get(word) ?? 0) + LEAST_PROBABILITY),
      count,
      id === undefined ? 0 : frequencies.charCodeAt(id) - FIRST_CODE,
      first,
      capitals / count,
      inside / count,
      word.length,
      Number(stopwords.has(word)),
      Number(/^[0-9]+$/.test(word)),
    ]);
  }
  return features;
}

/**
 * Of each distinct word: how often it stands there, where first, and how often with a capital.
 * @param {TextWord[]} words
 */
function counts(words) {
  /** @type {Map<string, {count: number, first: number, capitals: number, inside: number}>} */
  const counted = new Map();
  words.forEach(({ word, capital, begins }, first) => {
    const counts = counted.get(word) ?? { count: 0, first, capitals: 0, inside: 0 };
    counts.count++;
    counts.capitals += Number(capital);
    counts.inside += Number(capital && !begins);
    counted.set(word, counts);
  });
  return counted;
}

/**
 * What the trees make of the features of a word.
 * @param {Trees} trees
 * @param {number[]} features
 */
function probability({ feature, threshold, value, base }, features) {
  const leaves = feature.map((asked, tree) => {
    let node = 0;
    while (node < asked.length) node = 2 * node + 1 + Number(features[asked[node]] > threshold[tree][node]);
    return value[tree][node - asked.length];
  });
  return 1 / (1 + Math.exp(-leaves.reduce((sum, leaf) => sum + leaf, base)));
}
