// Vectors as the page changes them: read, perturbed, mixed.

/**
 * A vector from pasted numbers, as JSON or with blanks or commas between them.
 * @param {string} text
 * @param {number} width
 * @returns {Float32Array}
 * @throws {Error} what was expected and what came
 */
export function parseVector(text, width) {
  const parts = text.replace(/[[\],;]/g, " ").split(/\s+/).filter(Boolean);
  if (!parts.length) throw new Error(`Expected ${width} numbers, got none.`);
  const bad = parts.findIndex((part) => !Number.isFinite(Number(part)));
  if (bad >= 0) {
    const seen = parts[bad].slice(0, 20);
    throw new Error(`Expected ${width} finite numbers, but number ${bad + 1} is “${seen}”.`);
  }
  if (parts.length !== width) throw new Error(`Expected ${width} numbers, got ${parts.length}.`);
  return direction(Float32Array.from(parts, Number));
}

/**
 * The vector, if it points anywhere.
 * @param {Float32Array} vector
 * @throws {Error} zero, or beyond float32
 */
function direction(vector) {
  const size = norm(vector);
  if (!Number.isFinite(size)) throw new Error("Expected numbers within float32, got larger ones.");
  if (size === 0) throw new Error("Expected a vector with a direction, got only zeros.");
  return vector;
}

/** @param {Float32Array} vector */
export function norm(vector) {
  return Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
}

/** @param {Float32Array} vector */
export function unit(vector) {
  const size = norm(direction(vector));
  return vector.map((x) => x / size);
}

/**
 * @param {Float32Array} a
 * @param {Float32Array} b
 */
export function cosine(a, b) {
  return a.reduce((sum, x, i) => sum + x * b[i], 0) / (norm(a) * norm(b));
}

/** A draw from the standard normal distribution (Box and Muller). */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/**
 * A direction, all of them equally likely.
 * @param {number} width
 */
export function randomVector(width) {
  return unit(Float32Array.from({ length: width }, normal));
}

/**
 * The point at `share` of the way on the arc between two directions.
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} share from 0 to 1
 */
export function between(a, b, share) {
  const [from, to] = [unit(a), unit(b)];
  const angle = Math.acos(Math.min(Math.max(cosine(from, to), -1), 1));
  if (angle < 1e-4) return from;
  const [left, right] = [Math.sin((1 - share) * angle), Math.sin(share * angle)];
  return unit(from.map((x, i) => left * x + right * to[i]));
}

/** @type {Record<string, (x: number, size: number) => number>} what may happen to a band */
export const OPERATIONS = {
  invert: (x) => -x,
  zero: () => 0,
  scale: (x) => 3 * x,
  noise: (x, size) => x + size * normal(),
};

/**
 * The vector with its bands `from` to `to`, both included, changed. Noise is as strong as a band.
 * @param {Float32Array} vector
 * @param {string} operation one of OPERATIONS
 * @param {number} from
 * @param {number} to
 */
export function perturbed(vector, operation, from, to) {
  const size = norm(vector) / Math.sqrt(vector.length);
  return vector.map((x, i) => (i < from || i > to ? x : OPERATIONS[operation](x, size)));
}
