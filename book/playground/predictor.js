// The released model in the browser: vectors to slugs, text to vectors.

import { rerank } from "./mbr.js";
import { search } from "./search.js";
import { CachedStepper } from "./stepper.js";
import { unit } from "./vectors.js";
import { vocabularyOf } from "./vocabulary.js";
import { WordPiece } from "./wordpiece.js";

/** @typedef {import("./search.js").Decoding} Decoding */
/** @typedef {import("./mbr.js").MBR} MBR */
/** @typedef {import("./stepper.js").Shape} Shape */
/** @typedef {import("onnxruntime-common").InferenceSession} Session */
/** @typedef {typeof import("onnxruntime-common")} Runtime */
/** @typedef {{candidates: import("./search.js").Candidate[], steps: import("./search.js").Step[]}} Prediction */
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
   * where the model's own width is smaller.
   * @param {Float32Array} vector of any length but zero
   * @param {number} topK
   * @returns {Promise<Prediction>}
   */
  async predict(vector, topK) {
    const { mbr, stepper, vocabulary } = this;
    const width = Math.max(this.decoding.beam_width, topK);
    const decoding = { ...this.decoding, beam_width: width };
    const beams = await search(stepper, unit(vector), vocabulary, decoding, mbr ? width : topK);
    if (!mbr) return beams;
    const ranked = rerank(beams.candidates, stepper.wordLogits, vocabulary.ids, mbr);
    return { candidates: ranked.slice(0, topK), steps: beams.steps };
  }
}

export class Reader {
  /**
   * @param {Runtime} runtime
   * @param {Session} session over the embedder: token ids to a unit vector
   * @param {import("./wordpiece.js").TokenizerFile} file
   * @param {number} limit tokens of a text that are read
   */
  constructor(runtime, session, file, limit) {
    this.runtime = runtime;
    this.session = session;
    this.tokenizer = new WordPiece(file, limit);
  }

  /**
   * The unit vector of a text.
   * @param {string} text
   */
  async embed(text) {
    const ids = BigInt64Array.from(this.tokenizer.encode(text), BigInt);
    const tokens = new this.runtime.Tensor("int64", ids, [1, ids.length]);
    const { vector } = await this.session.run({ token_ids: tokens });
    return /** @type {Float32Array} */ (vector.data);
  }
}
