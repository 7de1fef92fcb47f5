// What a search needs to know of the tokens; as vec2slug_lib/common/vocabulary.py has it.

export const BOS = 1;
export const EOS = 2;
export const HYPHEN = 4;
export const FIRST = 5; // the first subword; special tokens and the hyphen come before
const SUBWORD = /^[a-z0-9]+$/;

/**
 * @typedef {object} Vocabulary
 * @property {string[]} strings
 * @property {Map<string, number>} ids
 * @property {number[]} lengths characters that a token adds; infinite where no slug may hold it
 * @property {boolean} banned whether there is a token that no slug may hold
 * @property {number} shortest
 * @property {number} longest
 */

/**
 * @param {Record<string, string>} vocab strings by id, as in model.json
 * @returns {Vocabulary}
 */
export function vocabularyOf(vocab) {
  const strings = Object.keys(vocab).map((_, id) => vocab[id]);
  const lengths = strings.map((text) => (SUBWORD.test(text) ? text.length : Infinity));
  const subwords = lengths.slice(FIRST);
  const finite = subwords.filter(Number.isFinite);
  return {
    strings,
    ids: new Map(strings.map((text, id) => [text, id])),
    lengths,
    banned: finite.length < subwords.length,
    shortest: finite.reduce((a, b) => Math.min(a, b), Infinity),
    longest: finite.reduce((a, b) => Math.max(a, b), 0),
  };
}
