// The playground's scripts against golden cases: files whose names stand in GOLDEN, written by
// test_browser_parity.py and test_browser_text.py with what Python's own steps give.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { bonuses, raised } from "../../book/playground/grounding.js";
import { expectedF1, pageProbabilities, rerank } from "../../book/playground/mbr.js";
import { Predictor } from "../../book/playground/predictor.js";
import { search } from "../../book/playground/search.js";
import { isIdentifier, repeats, soundWord } from "../../book/playground/slugs.js";
import { openSession } from "../../book/playground/stepper.js";
import { describe, textProbabilities } from "../../book/playground/text_model.js";
import { textSearch } from "../../book/playground/text_search.js";
import { runTraits, runs, textWords } from "../../book/playground/text_words.js";
import { EOS, FIRST, HYPHEN, vocabularyOf } from "../../book/playground/vocabulary.js";
import { WordPiece } from "../../book/playground/wordpiece.js";

const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const golden = json(process.env.GOLDEN);

/** A decoder whose logits of every history of tokens are given; of others it knows nothing. */
class RecordedStepper {
  constructor(logits, wordLogits = []) {
    this.wordLogits = Float32Array.from(wordLogits);
    this.logits = new Map(logits.map(([history, values]) => [history.join(), Float32Array.from(values)]));
  }

  async start(_, width) {
    this.width = width;
    this.histories = [[]];
    return this.scores();
  }

  async step(parents, tokens) {
    this.histories = parents.map((parent, i) => [...this.histories[parent], tokens[i]]);
    return this.scores();
  }

  scores() {
    return this.histories.map((history) => {
      const logits = this.logits.get(history.join());
      assert.ok(logits, `Python never came to ${history}`);
      return scoresOf(logits, this.width);
    });
  }
}

function scoresOf(logits, width) {
  const subwords = logits.subarray(FIRST);
  const tokens = [...subwords.keys()].sort((a, b) => subwords[b] - subwords[a] || a - b);
  const best = tokens.slice(0, width);
  return {
    eos: logits[EOS],
    hyphen: logits[HYPHEN],
    total: Math.log(subwords.reduce((sum, logit) => sum + Math.exp(logit), 0)),
    best: best.map((i) => subwords[i]),
    tokens: best.map((i) => FIRST + i),
    subwords,
  };
}

function close(values, expected, tolerance) {
  assert.equal(values.length, expected.length);
  values.forEach((value, i) => {
    assert.ok(Math.abs(value - expected[i]) <= tolerance, `${value} is not ${expected[i]}`);
  });
}

/** Pairs of a text and a number. */
function same(pairs, expected, tolerance) {
  assert.deepEqual(pairs.map(([text]) => text), expected.map(([text]) => text));
  close(pairs.map(([, value]) => value), expected.map(([, value]) => value), tolerance);
}

const pairsOf = (candidates) => candidates.map(({ slug, score }) => [slug, score]);
const vocab = (strings) => Object.fromEntries(strings.entries());

/** Settings of a search, whose lists of words become sets. */
function withLists({ stopwords, doubled_words, ...others }) {
  return { ...others, stopwords: new Set(stopwords), doubled_words: new Set(doubled_words) };
}

const KINDS = {
  tokens({ tokenizer, limit }, { text, ids }) {
    wordPiece ??= new WordPiece(json(tokenizer), limit);
    assert.deepEqual(wordPiece.encode(text), ids);
  },

  async search({ tolerance }, { strings, decoding, topK, logits, candidates, beams }) {
    const stepper = new RecordedStepper(logits);
    const vocabulary = vocabularyOf(vocab(strings));
    const found = await search(stepper, new Float32Array(), vocabulary, withLists(decoding), topK);
    same(pairsOf(found.candidates), candidates, tolerance);
    assert.equal(found.steps.length, beams.length);
    found.steps.forEach(({ beams: rows }, i) => {
      same(rows.map(({ text, logP }) => [text, logP]), beams[i], tolerance);
    });
  },

  words({ doubled, stopwords }, { word, before, identifier, sound, repeated }) {
    assert.equal(isIdentifier(word), identifier, word);
    assert.equal(soundWord(word, new Set(doubled)), sound, word);
    assert.equal(repeats(word, before, new Set(stopwords)), repeated, `${word} after ${before}`);
  },

  rerank({ tolerance }, { strings, candidates, logits, mbr, cosines, reranked }) {
    const { ids } = vocabularyOf(vocab(strings));
    const pool = candidates.map(([slug, score]) => ({ slug, score }));
    const probabilities = pageProbabilities(pool, Float32Array.from(logits), ids, mbr);
    const expected = pool.map(({ slug }) => expectedF1(slug, probabilities, mbr.mean_words));
    same(pairsOf(rerank(pool, expected, mbr, cosines ?? undefined)), reranked, tolerance);
  },

  "text words"(_, { text, words }) {
    const found = textWords(text).map(({ word, capital, begins }) => [word, capital, begins]);
    assert.deepEqual(found, words, JSON.stringify(text));
  },

  "text model"({ strings, stopwords, tolerance }, { text, logits, meanWords, model, features, probabilities, gains }) {
    const { ids } = vocabularyOf(vocab(strings));
    const asked = [textWords(text), Float32Array.from(logits), ids, meanWords];
    const known = new Set(stopwords);
    const described = describe(...asked, model.frequencies, known);
    assert.deepEqual([...described.keys()], probabilities.map(([word]) => word));
    [...described.values()].forEach((row, i) => close(row, features[i], tolerance));
    same([...textProbabilities(model, ...asked, known)], probabilities, tolerance);
    const nodes = [...bonuses(new Map(probabilities), ids, model.bonus, known)];
    assert.deepEqual(nodes.map(([node]) => node), gains.map(([node]) => node));
    nodes.forEach(([, next], i) => same([...next], gains[i][1], tolerance));
  },

  runs({ decoding }, { text, probabilities, meanWords, count, limits, best, traits }) {
    const config = withLists({ ...decoding, ...limits });
    const words = textWords(text);
    const found = runs(words, new Map(probabilities), config, meanWords, count);
    assert.deepEqual(found, best);
    assert.deepEqual(found.map((run) => runTraits(run, words)), traits);
  },

  raised({ tolerance }, { logits, width, gains, total, best, tokens, subwords }) {
    const scores = scoresOf(Float32Array.from(logits), width);
    const found = raised(scores, new Map(gains));
    assert.deepEqual(found.tokens, tokens);
    close([found.total, ...found.best], [total, ...best], tolerance);
    assert.deepEqual([...found.subwords], subwords);
    assert.deepEqual([...scores.subwords], logits.slice(FIRST)); // as they were
  },

  async "text search"({ strings, tolerance }, { text, decoding, mbr, model, logits, wordLogits, near, candidates }) {
    const stepper = new RecordedStepper(logits, wordLogits);
    const vocabulary = vocabularyOf(vocab(strings));
    const page = [new Float32Array(), textWords(text), vocabulary, withLists(decoding), mbr, model];
    const found = await textSearch(stepper, ...page);
    const cosines = near ? found.candidates.map(({ slug }) => slug.length / 40) : undefined;
    same(pairsOf(rerank(found.candidates, found.expected, found.fits, cosines)), candidates, tolerance);
  },

  async model({ runtime, graph, sidecar, settings, textModel, tolerance }, { row, text, topK, candidates }) {
    const session = await opened(runtime, graph);
    const predictor = new Predictor(await loaded(runtime), session, json(sidecar), settings);
    predictor.textModel = textModel ?? null;
    const found = await predictor.predict(Float32Array.from(row), topK, undefined, text);
    // Of an untrained model, many candidates are as good as equal.
    const scores = candidates.map(([, score]) => score);
    close(found.candidates.map(({ score }) => score), scores, tolerance);
    const known = new Map(candidates);
    const shared = pairsOf(found.candidates).filter(([slug]) => known.has(slug));
    assert.ok(shared.length >= candidates.length - 1, `only ${shared} of ${candidates}`);
    close(shared.map(([, score]) => score), shared.map(([slug]) => known.get(slug)), tolerance);
  },
};

// What is slow to open.
let wordPiece, onnxruntime, session;

async function loaded(folder) {
  if (!onnxruntime) {
    onnxruntime = await import(`${folder}/ort.wasm.bundle.min.mjs`);
    onnxruntime.env.wasm.wasmBinary = readFileSync(`${folder}/ort-wasm-simd-threaded.wasm`);
    onnxruntime.env.wasm.numThreads = 1;
  }
  return onnxruntime;
}

async function opened(folder, graph) {
  session ??= await openSession(await loaded(folder), readFileSync(graph));
  return session;
}

golden.cases.forEach((each, i) => {
  test(`${golden.kind} ${i}`, () => KINDS[golden.kind](golden, each));
});
