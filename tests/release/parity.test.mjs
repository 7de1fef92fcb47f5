// The playground's scripts against golden cases: files whose names stand in GOLDEN, written by
// test_browser_parity.py with what Python's own search, re-ranking and tokenizer give.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { rerank } from "../../book/playground/mbr.js";
import { Predictor } from "../../book/playground/predictor.js";
import { search } from "../../book/playground/search.js";
import { isIdentifier, repeats, soundWord } from "../../book/playground/slugs.js";
import { openSession } from "../../book/playground/stepper.js";
import { EOS, FIRST, HYPHEN, vocabularyOf } from "../../book/playground/vocabulary.js";
import { WordPiece } from "../../book/playground/wordpiece.js";

const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const golden = json(process.env.GOLDEN);

/** A decoder whose logits of every history of tokens are given; of others it knows nothing. */
class RecordedStepper {
  constructor(logits) {
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
      const subwords = logits.subarray(FIRST);
      const tokens = [...subwords.keys()].sort((a, b) => subwords[b] - subwords[a] || a - b);
      const best = tokens.slice(0, this.width);
      return {
        eos: logits[EOS],
        hyphen: logits[HYPHEN],
        total: Math.log(subwords.reduce((sum, logit) => sum + Math.exp(logit), 0)),
        best: best.map((i) => subwords[i]),
        tokens: best.map((i) => FIRST + i),
        subwords,
      };
    });
  }
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

const KINDS = {
  tokens({ tokenizer, limit }, { text, ids }) {
    wordPiece ??= new WordPiece(json(tokenizer), limit);
    assert.deepEqual(wordPiece.encode(text), ids);
  },

  async search({ tolerance }, { strings, decoding, topK, logits, candidates, beams }) {
    const lists = { stopwords: new Set(decoding.stopwords), doubled_words: new Set(decoding.doubled_words) };
    const config = { ...decoding, ...lists };
    const stepper = new RecordedStepper(logits);
    const found = await search(stepper, new Float32Array(), vocabularyOf(vocab(strings)), config, topK);
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
    same(pairsOf(rerank(pool, Float32Array.from(logits), ids, mbr, cosines ?? undefined)), reranked, tolerance);
  },

  async model({ runtime, graph, sidecar, settings, tolerance }, { row, topK, candidates }) {
    const session = await opened(runtime, graph);
    const predictor = new Predictor(await loaded(runtime), session, json(sidecar), settings);
    const found = await predictor.predict(Float32Array.from(row), topK);
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
