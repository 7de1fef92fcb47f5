// Which words a slug may hold; as vec2slug_lib/common/slugs.py has it.

// Words glued from themselves: what stands before, the unit, the rest.
const GLUED = [/^()(.{2,}?)\2+()$/, /^()(.{3,}?)\2+(.+)$/, /^(.+?)(.{4,}?)\2+()$/];
const DIGITS = /^[0-9]+$/;
const HEX = /^[0-9a-f]{8,}$/;
const RUN = /[a-z]+|[0-9]+/g;
const JUMBLE = /[b-df-gj-np-tv-xz]{4}/; // four consonants side by side
const READABLE = /^(?=.*[aeiouy])[a-z]{4,}$/;
const DATE_OR_SIZE = /^([0-9]+(feb|dec)[0-9]+|[0-9]+(x[0-9]+)+[a-z]*)$/;

/**
 * Words of a slug: its non-empty parts between hyphens.
 * @param {string} slug
 */
export function wordsOf(slug) {
  return slug.split("-").filter(Boolean);
}

/**
 * Whether a word is a hex digest or a long mix of letters and digits.
 * @param {string} word
 */
export function isIdentifier(word) {
  const runs = word.match(RUN) ?? [];
  const digits = word.replace(/[a-z]/g, "").length;
  if (word.length < 8 || runs.length < 2 || DATE_OR_SIZE.test(word)) return false;
  if (digits >= 10 || (HEX.test(word) && digits >= 3 && runs.length >= 3)) return true;
  if (runs.some((run) => READABLE.test(run) && !JUMBLE.test(run))) return false;
  const jumbled = word.length >= 12 && runs.length >= 3 && digits >= 2 && JUMBLE.test(word);
  return jumbled || (word.length >= 10 && runs.length >= 6);
}

/**
 * What a slug may hold of a word: the word itself, unless it is glued or an identifier.
 * @param {string} word
 * @param {Set<string>} doubled words that have the form of glued ones
 * @returns {string}
 */
export function soundWord(word, doubled) {
  if (isIdentifier(word)) return soundWord(word.replace(/[0-9]/g, ""), doubled);
  for (const form of GLUED) {
    const [, head, unit, rest] = form.exec(word) ?? [];
    if (!unit || isKnown(word, unit, rest, doubled) || DIGITS.test(unit)) continue;
    return soundWord(head + unit + rest, doubled);
  }
  return word;
}

/**
 * Whether a word of the form of glued ones is a known word, or begins with one.
 * @param {string} word
 * @param {string} unit
 * @param {string} rest
 * @param {Set<string>} doubled
 */
function isKnown(word, unit, rest, doubled) {
  if (doubled.has(word)) return true;
  if (word !== unit + unit + rest) return false;
  for (let end = 2 * unit.length; end < word.length; end++) {
    if (doubled.has(word.slice(0, end))) return true;
  }
  return false;
}

/**
 * Whether a word that is no stopword stood before, be it joined to another, or is two.
 * @param {string} word
 * @param {string[]} before
 * @param {Set<string>} stopwords
 */
export function repeats(word, before, stopwords) {
  if (stopwords.has(word)) return false;
  const parts = before.filter((part) => part.length >= 3);
  const rests = parts.filter((part) => word.startsWith(part)).map((part) => word.slice(part.length));
  const joins = rests.some((rest) => rest.length >= 3 && stands(rest, before));
  const pairs = parts.flatMap((part) => [word + part, part + word]);
  const joined = word.length >= 3 && pairs.some((pair) => before.includes(pair));
  return joins || joined || stands(word, before);
}

/**
 * Whether a word is among others, with or without an s at its end.
 * @param {string} word
 * @param {string[]} before
 */
function stands(word, before) {
  const stem = word.endsWith("s") ? word.slice(0, -1) : word;
  return [word, `${word}s`, stem].some((other) => before.includes(other));
}
