// The released model in the browser: vectors to slugs, text to vectors.

import { rerank } from "./mbr.js";
import { search } from "./search.js";
import { CachedStepper } from "./stepper.js";
import { cosine, unit } from "./vectors.js";
import { vocabularyOf } from "./vocabulary.js";
import { WordPiece } from "./wordpiece.js";

/** @typedef {import("./search.js").Decoding} Decoding */
/** @typedef {import("./mbr.js").MBR} MBR */
/** @typedef {import("./stepper.js").Shape} Shape */
/** @typedef {import("onnxruntime-common").InferenceSession} Session */
/** @typedef {typeof import("onnxruntime-common")} Runtime */
/** @typedef {{candidates: import("./search.js").Candidate[], steps: import("./search.js").Step[], variant: Variant}} Prediction */
/** @typedef {"search" | "mbr" | "mbr-reranked"} Variant how it was decoded, as chapter 12 names it */
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
  }

  /**
   * Candidates, best first, and the steps of the search for them. The beam is as wide as `topK`
   * where the model's own width is smaller. With an embedder, candidates are re-ranked by it.
   * @param {Float32Array} vector of any length but zero
   * @param {number} topK
   * @param {Embed} [embed] the embedder of the vectors
   * @returns {Promise<Prediction>}
   */
  async predict(vector, topK, embed) {
    const { mbr, stepper, vocabulary } = this;
    const width = Math.max(this.decoding.beam_width, topK);
    const decoding = { ...this.decoding, beam_width: width };
    const beams = await search(stepper, unit(vector), vocabulary, decoding, mbr ? width : topK);
    if (!mbr) return { ...beams, variant: "search" };
    const cosines = embed && (await similarities(beams.candidates, vector, embed));
    const ranked = rerank(beams.candidates, stepper.wordLogits, vocabulary.ids, mbr, cosines);
    const variant = cosines ? "mbr-reranked" : "mbr";
    return { candidates: ranked.slice(0, topK), steps: beams.steps, variant };
  }
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
