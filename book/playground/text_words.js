// The words of a text as a slug would have them, and runs of them that may be slugs themselves;
// vec2slug_lib/inference/text_words.py has the same steps.

import { repeats, soundWord } from "./slugs.js";

/**
 * A word of a text.
 * @typedef {object} TextWord
 * @property {string} word in lower case, a-z and 0-9
 * @property {boolean} capital whether it is written with one
 * @property {boolean} begins whether no phrase goes on from the word before
 */

const MOST_WORDS = 2000; // of a text that are looked at
const TEXT_WORD = /[\p{L}\p{N}]+(?:['’`][\p{L}\p{N}]+)*/gu;
const BREAK = /[.!?:;,|()[\]{}<>"“”«»\n]/u; // between two words: no phrase goes on there
const CAPITAL = /^\p{Uppercase}/u;

/**
 * Words of a text; such as have no letter or digit of a slug are left.
 * @param {string} text
 * @returns {TextWord[]}
 */
export function textWords(text) {
  /** @type {TextWord[]} */
  const words = [];
  const whole = text.normalize("NFC"); // an accent of its own would end a word
  let end = 0;
  for (const { 0: raw, index } of whole.matchAll(TEXT_WORD)) {
    const word = raw.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]/g, "");
    if (!word) continue;
    const begins = !words.length || BREAK.test(whole.slice(end, index));
    words.push({ word, capital: CAPITAL.test(raw), begins });
    end = index + raw.length;
    if (words.length === MOST_WORDS) break;
  }
  return words;
}

/** Auxiliaries and pronouns, which stand in sentences and seldom in slugs. */
const SPOKEN = new Set(
  ("am are be been being can could did do does had has have having is may might must shall should " +
    "was were will would he her him his i it its me my our she that their them there these they " +
    "this those us we you your").split(" "),
);

/**
 * Traits of a run, each 0 or 1: that it is one, whether it has an auxiliary or a pronoun, and
 * whether a phrase of the text begins with it, and ends with it, where it stands first.
 * @param {string} run
 * @param {TextWord[]} words of the text
 */
export function runTraits(run, words) {
  const parts = run.split("-");
  const first = words.findIndex((_, i) => parts.every((part, n) => words[i + n]?.word === part));
  const end = first + parts.length;
  const begins = first >= 0 && words[first].begins;
  const ends = first >= 0 && (end === words.length || words[end].begins);
  return [true, parts.some((part) => SPOKEN.has(part)), begins, ends].map(Number);
}

/**
 * The runs of words of a text that are most like its slug, the best first: within a phrase, with
 * nothing said twice, no stopword at the end, and such as the search could have written.
 * @param {TextWord[]} words of the text
 * @param {Map<string, number>} probabilities of words to be in the slug
 * @param {import("./search.js").Decoding} config
 * @param {number} meanWords words of a true slug
 * @param {number} count runs at most
 */
export function runs(words, probabilities, config, meanWords, count) {
  /** @type {Map<string, number>} */
  const worth = new Map();
  words.forEach((_, first) => {
    for (const [run, expected] of runsFrom(words, first, probabilities, config, meanWords)) {
      if (!worth.has(run)) worth.set(run, expected);
    }
  });
  /** @type {string[]} */
  const best = [];
  for (const [run] of [...worth].sort(([, a], [, b]) => b - a)) {
    if (best.length === count) break;
    if (fits(run, config)) best.push(run);
  }
  return best;
}

/**
 * Runs that begin with one word, and the Token F1 to expect of each.
 * @param {TextWord[]} words
 * @param {number} first
 * @param {Map<string, number>} probabilities
 * @param {import("./search.js").Decoding} config
 * @param {number} meanWords
 * @returns {Generator<[string, number]>}
 */
function* runsFrom(words, first, probabilities, config, meanWords) {
  const { min_words, max_words, stopwords } = config;
  /** @type {string[]} */
  const parts = [];
  let right = 0;
  for (let place = first; place < words.length; place++) {
    const { word, begins } = words[place];
    if ((begins && place > first) || parts.includes(word)) return;
    parts.push(word);
    right += probabilities.get(word) ?? 0;
    if (parts.length > max_words) return;
    if (parts.length < min_words || stopwords.has(word)) continue;
    yield [parts.join("-"), (2 * right) / (parts.length + meanWords)];
  }
}

/**
 * Whether a run has few enough characters, says nothing twice, and is of sound words.
 * @param {string} run
 * @param {import("./search.js").Decoding} config
 */
function fits(run, { max_chars, stopwords, sound_words, doubled_words }) {
  const parts = run.split("-");
  if (sound_words && parts.some((word) => soundWord(word, doubled_words) !== word)) return false;
  return run.length <= max_chars && !parts.some((word, i) => repeats(word, parts.slice(0, i), stopwords));
}
