// The model at work, beside the page, so that the page never waits.

import { Predictor, Reader } from "./predictor.js";
import { openSession } from "./stepper.js";

/** @typedef {typeof import("onnxruntime-common")} Runtime */
/** @typedef {{name: string, bytes: number}} File */

/** @type {Runtime} */
let runtime;
/** @type {Predictor} */
let predictor;
/** @type {Reader | undefined} */
let reader;

/** @type {Record<string, (asked: any) => Promise<any>>} */
const ANSWERS = {
  async writer({ base, files, settings }) {
    const [binary, graph, sidecar] = await fetched(base, files);
    // @ts-ignore taken from npm when the book is built
    runtime = await import("./ort.wasm.bundle.min.mjs");
    runtime.env.wasm.wasmBinary = binary;
    runtime.env.wasm.numThreads = 1; // a static host cannot isolate the page, as threads demand
    predictor = new Predictor(runtime, await openSession(runtime, graph), json(sidecar), settings);
  },
  async reader({ base, files, limit }) {
    const [graph, tokenizer, textModel] = await fetched(base, files);
    reader = new Reader(runtime, await openSession(runtime, graph), json(tokenizer), limit);
    predictor.textModel = textModel ? json(textModel) : null;
  },
  async slug({ vector, topK, text }) {
    const began = performance.now();
    const embed = reader && reader.embed.bind(reader);
    const prediction = await predictor.predict(vector, topK, embed, text);
    return { ...prediction, vector, milliseconds: performance.now() - began };
  },
  async text({ text, topK, vectorOnly }) {
    const began = performance.now();
    const [vector] = await /** @type {Reader} */ (reader).embed([text]);
    const read = performance.now() - began;
    return { ...(await ANSWERS.slug({ vector, topK, text: vectorOnly ? "" : text })), read };
  },
};

/** @param {ArrayBuffer} data */
function json(data) {
  return JSON.parse(new TextDecoder().decode(data));
}

/**
 * The contents of files; the page hears of every piece that has come.
 * @param {string} base
 * @param {File[]} files
 */
async function fetched(base, files) {
  const contents = [];
  for (const { name, bytes } of files) {
    const reply = await fetch(base + name);
    if (!reply.ok || !reply.body) throw new Error(`${name} did not load (HTTP ${reply.status}).`);
    const content = new Uint8Array(bytes);
    let done = 0;
    for (let pieces = reply.body.getReader(); ; ) {
      const { value } = await pieces.read();
      if (!value) break;
      if (done + value.length > bytes) throw new Error(`${name} is longer than ${bytes} bytes.`);
      content.set(value, done);
      done += value.length;
      postMessage({ loaded: value.length });
    }
    if (done < bytes) throw new Error(`${name} broke off after ${done} of ${bytes} bytes.`);
    contents.push(content.buffer);
  }
  return contents;
}

addEventListener("message", async ({ data: { id, kind, ...asked } }) => {
  try {
    postMessage({ id, result: await ANSWERS[kind](asked) });
  } catch (error) {
    postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
