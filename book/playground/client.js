// The page's side of the worker: questions that are promises.

/** @typedef {import("./predictor.js").Prediction & {vector: Float32Array, milliseconds: number, read?: number}} Answer */

export class Client {
  /** @param {(bytes: number) => void} progress called with the size of what has just come */
  constructor(progress) {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
    this.asked = new Map();
    this.count = 0;
    this.worker.addEventListener("message", ({ data }) => {
      if (data.loaded) progress(data.loaded);
      else this.answer(data);
    });
    this.worker.addEventListener("error", (event) => {
      for (const id of this.asked.keys()) this.answer({ id, error: event.message });
    });
  }

  /** @param {{id: number, result?: any, error?: string}} answer */
  answer({ id, result, error }) {
    const waiting = this.asked.get(id);
    this.asked.delete(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }

  /**
   * @param {string} kind one of the worker's answers
   * @param {object} asked
   * @returns {Promise<any>}
   */
  ask(kind, asked) {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.asked.set(id, { resolve, reject });
      this.worker.postMessage({ id, kind, ...asked });
    });
  }

  /** End the worker. */
  close() {
    this.worker.terminate();
  }
}

/**
 * Runs what is asked one at a time. While one runs, only the newest of the others is kept, so that
 * whoever types or drags is shown the last state and never a queue of old ones.
 */
export class Newest {
  constructor() {
    /** @type {(() => Promise<void>) | null} */
    this.next = null;
    /** @type {Promise<void> | null} */
    this.running = null;
  }

  /**
   * Resolves when nothing is left to run.
   * @param {() => Promise<void>} task
   */
  run(task) {
    this.next = task;
    this.running ??= this.drain();
    return this.running;
  }

  async drain() {
    while (this.next) {
      const now = this.next;
      this.next = null;
      await now();
    }
    this.running = null;
  }
}
