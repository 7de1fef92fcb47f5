// The released model in the browser: vectors to slugs, text to vectors.

import { expectedF1, pageProbabilities, rerank } from "./mbr.js";
import { search } from "./search.js";
import { CachedStepper } from "./stepper.js";
import { textSearch } from "./text_search.js";
import { textWords } from "./text_words.js";
import { cosine, unit } from "./vectors.js";
import { vocabularyOf } from "./vocabulary.js";
import { WordPiece } from "./wordpiece.js";

/** @typedef {import("./search.js").Decoding} Decoding */
/** @typedef {import("./mbr.js").MBR} MBR */
/** @typedef {import("./stepper.js").Shape} Shape */
/** @typedef {import("onnxruntime-common").InferenceSession} Session */
/** @typedef {typeof import("onnxruntime-common")} Runtime */
/** @typedef {{candidates: import("./search.js").Candidate[], steps: import("./search.js").Step[], variant: Variant}} Prediction */
/** @typedef {"search" | "mbr" | "mbr-reranked" | "text"} Variant how it was decoded, as chapter 12 names it, or by a text too */
/** @typedef {(texts: string[]) => Promise<Float32Array[]>} Embed unit vectors of texts */
/** @typedef {"stopwords" | "doubled_words"} Lists */
/** @typedef {{decoding: Omit<Decoding, Lists> & Record<Lists, string[]>, risk: MBR | null}} Settings */

export class Predictor {
  /**
   * @param {Runtime} runtime
   * @param {Session} session over the step graph
   * @param {{model: Shape, vocab: Record<string, string>}} sidecar model.json
   * @param {Settings} settings
   */
  constructor(runtime, session, { model, vocab }, { decoding, risk: mbr }) {
    this.vocabulary = vocabularyOf(vocab);
    this.mbr = mbr;
    const { stopwords, doubled_words } = decoding;
    const lists = { stopwords: new Set(stopwords), doubled_words: new Set(doubled_words) };
    this.decoding = { ...decoding, ...lists };
    if (mbr) {
      const { beam_width, length_reward } = mbr;
      const rules = { distinct_words: true, sound_words: true };
      Object.assign(this.decoding, { beam_width, length_reward, ...rules });
    }
    this.stepper = new CachedStepper(runtime, session, model);
    /** @type {import("./text_model.js").TextModel | null} of words in texts, if the release has one */
    this.textModel = null;
  }

  /**
   * Candidates, best first, and the steps of the search for them. The beam is as wide as `topK`
   * where the model's own width is smaller. With an embedder, candidates are re-ranked by it; with
   * a text and a model of words in texts, they are by the text's own words too.
   * @param {Float32Array} vector of any length but zero
   * @param {number} topK
   * @param {Embed} [embed] the embedder of the vectors
   * @param {string} [text] that the vector is of, where it is at hand
   * @returns {Promise<Prediction>}
   */
  async predict(vector, topK, embed, text = "") {
    const { mbr, stepper, textModel, vocabulary } = this;
    const width = Math.max(this.decoding.beam_width, topK);
    const decoding = { ...this.decoding, beam_width: width };
    const direction = unit(vector);
    if (!mbr) return { ...(await search(stepper, direction, vocabulary, decoding, topK)), variant: "search" };
    const words = textWords(text);
    const heard = words.length ? textModel : null;
    const { candidates, expected, fits, steps } = heard
      ? await textSearch(stepper, direction, words, vocabulary, decoding, mbr, heard)
      : await vectorSearch(stepper, direction, vocabulary, decoding, mbr);
    const cosines = embed && (await similarities(candidates, vector, embed));
    const ranked = rerank(candidates, expected, fits, cosines);
    const variant = heard ? "text" : cosines ? "mbr-reranked" : "mbr";
    return { candidates: ranked.slice(0, topK), steps, variant };
  }
}

/**
 * Candidates of a page by its vector alone, with the Token F1 to expect of each.
 * @param {CachedStepper} stepper
 * @param {Float32Array} vector of length 1
 * @param {import("./vocabulary.js").Vocabulary} vocabulary
 * @param {import("./search.js").Decoding} config
 * @param {MBR} mbr
 * @returns {Promise<import("./mbr.js").Judged>}
 */
async function vectorSearch(stepper, vector, vocabulary, config, mbr) {
  const { candidates, steps } = await search(stepper, vector, vocabulary, config, config.beam_width);
  const probabilities = pageProbabilities(candidates, stepper.wordLogits, vocabulary.ids, mbr);
  const expected = candidates.map(({ slug }) => expectedF1(slug, probabilities, mbr.mean_words));
  return { candidates, expected, steps, fits: mbr };
}

/**
 * Cosines of the candidates, embedded as texts of their own, to their page.
 * @param {import("./search.js").Candidate[]} candidates
 * @param {Float32Array} vector
 * @param {Embed} embed
 */
async function similarities(candidates, vector, embed) {
  const vectors = await embed(candidates.map(({ slug }) => slug.replaceAll("-", " ")));
  return vectors.map((each) => cosine(each, vector));
}

export class Reader {
  /**
   * @param {Runtime} runtime
   * @param {Session} session over the embedder: token ids to unit vectors
   * @param {import("./wordpiece.js").TokenizerFile} file
   * @param {number} limit tokens of a text that are read
   */
  constructor(runtime, session, file, limit) {
    this.runtime = runtime;
    this.session = session;
    this.tokenizer = new WordPiece(file, limit);
  }

  /**
   * The unit vectors of texts, all in one call: it costs little more than one of them.
   * @param {string[]} texts
   * @returns {Promise<Float32Array[]>}
   */
  async embed(texts) {
    const { Tensor } = this.runtime;
    const rows = texts.map((text) => this.tokenizer.encode(text));
    const length = Math.max(...rows.map((ids) => ids.length));
    const padded = rows.flatMap((ids) => Array.from({ length }, (_, i) => BigInt(ids[i] ?? 0)));
    const real = rows.flatMap((ids) => Array.from({ length }, (_, i) => Number(i < ids.length)));
    const shape = [texts.length, length];
    const { vectors } = await this.session.run({
      token_ids: new Tensor("int64", BigInt64Array.from(padded), shape),
      real: new Tensor("bool", Uint8Array.from(real), shape),
    });
    const [, width] = vectors.dims;
    const values = /** @type {Float32Array} */ (vectors.data);
    return texts.map((_, i) => values.subarray(i * width, (i + 1) * width));
  }
}
