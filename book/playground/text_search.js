// Candidates of a page whose text is at hand, by the vector and by the text;
// vec2slug_lib/inference/text_search.py has the same steps.

import { bonuses, GroundedStepper } from "./grounding.js";
import { expectedF1, pageProbabilities } from "./mbr.js";
import { search } from "./search.js";
import { textProbabilities } from "./text_model.js";
import { runTraits, runs } from "./text_words.js";

/** @typedef {import("./search.js").Candidate} Candidate */
/** @typedef {import("./search.js").Stepper & {wordLogits: Float32Array}} HeadedStepper a decoder with a bag-of-words head */

/**
 * Candidates of the search and runs of the text, with the Token F1 to expect of each.
 * @param {HeadedStepper} stepper
 * @param {Float32Array} vector of length 1
 * @param {import("./text_words.js").TextWord[]} words of the text
 * @param {import("./vocabulary.js").Vocabulary} vocabulary
 * @param {import("./search.js").Decoding} config
 * @param {import("./mbr.js").MBR} mbr
 * @param {import("./text_model.js").TextModel} model
 * @returns {Promise<import("./mbr.js").Judged>}
 */
export async function textSearch(stepper, vector, words, vocabulary, config, mbr, model) {
  const { ids } = vocabulary;
  const { mean_words: meanWords } = mbr;
  const { stopwords, beam_width: width } = config;
  /** @type {Map<string, number>} */
  let probabilities = new Map();
  const grounded = new GroundedStepper(stepper, () => {
    probabilities = textProbabilities(model, words, stepper.wordLogits, ids, meanWords, stopwords);
    return bonuses(probabilities, ids, model.bonus, stopwords);
  });
  const { candidates: searched, steps } = await search(grounded, vector, vocabulary, config, width);
  const known = pageProbabilities(searched, stepper.wordLogits, ids, mbr);
  known.forEach((probability, word) => known.set(word, model.elsewhere * probability));
  probabilities.forEach((probability, word) => known.set(word, probability));
  const slugs = searched.map(({ slug }) => slug);
  const ofText = runs(words, probabilities, config, meanWords, model.runs);
  const others = ofText.filter((run) => !slugs.includes(run)).map((slug) => ({ slug, score: 0 }));
  const candidates = [...searched, ...others];
  const expected = candidates.map(({ slug }) => {
    const traits = ofText.includes(slug) ? runTraits(slug, words) : [];
    const inAdvance = traits.reduce((sum, trait, t) => sum + trait * model.run_gains[t], 0);
    return expectedF1(slug, known, meanWords) + inAdvance;
  });
  return { candidates, expected, steps, fits: { plain: model.score_fit, proof: model.rerank_fit } };
}
