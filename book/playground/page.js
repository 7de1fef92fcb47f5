// The playground: asks before it downloads, then ties sources, strip and result together.

import { Client, Newest } from "./client.js";
import { make, megabytes } from "./dom.js";
import { Result } from "./result.js";
import { betweenSource, exampleSource, numberSource, textSource } from "./sources.js";
import { Strip } from "./strip.js";

/** @typedef {import("./sources.js").Source} Source */
/** @typedef {{name: string, bytes: number}} File */

/**
 * What the book's build put beside this file.
 * @typedef {object} Manifest
 * @property {string[]} missing what could not be had
 * @property {File[]} writer
 * @property {File[]} reader
 * @property {number} width of a vector
 * @property {number} limit tokens of a text that are read
 * @property {import("./predictor.js").Settings} settings
 */

const BASE = new URL(".", import.meta.url).href;
const SHOWN = 5; // candidates
const TEXT_MODEL = "text.json"; // a file of the reader, where the release has one

/** @param {string} name */
async function json(name) {
  const reply = await fetch(BASE + name);
  if (!reply.ok) throw new Error(`${name} did not load (HTTP ${reply.status}).`);
  return reply.json();
}

/** @param {File[]} files */
function size(files) {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

class Playground {
  /**
   * @param {HTMLElement} root
   * @param {Manifest} manifest
   */
  constructor(root, manifest) {
    this.root = root;
    this.manifest = manifest;
    const { writer, reader } = manifest;
    const label = `Start: download ${megabytes(size(writer) + size(reader))}`;
    this.button = make("button", { type: "button", class: "v2s-start", click: () => this.start() }, label);
    const parts = `${megabytes(size(writer))} for the first slug, then ${megabytes(size(reader))} to read texts.`;
    this.says = make("p", { role: "status" }, parts);
    root.replaceChildren(this.button, this.says);
  }

  async start() {
    this.button.disabled = true;
    const { writer, reader, settings, limit } = this.manifest;
    const bar = make("progress", { max: size(writer) + size(reader), value: 0, "aria-label": "Download" });
    this.says.replaceChildren(bar, " Loading the model …");
    const client = new Client((bytes) => (bar.value += bytes));
    try {
      const examples = await json("examples.json");
      await client.ask("writer", { base: BASE, files: writer, settings });
      const ready = this.build(client, examples);
      await client.ask("reader", { base: BASE, files: reader, limit });
      await ready();
      this.says.textContent = "All is loaded: from here on it works offline.";
    } catch (error) {
      client.close();
      this.button.disabled = false;
      const reason = /** @type {Error} */ (error).message;
      this.root.replaceChildren(this.button, this.says);
      this.says.textContent = `It did not load: ${reason} Press Start to try again.`;
    }
  }

  /**
   * @param {Client} client
   * @param {import("./sources.js").Example[]} examples
   * @returns {() => Promise<void>} to be called when the embedder is there
   */
  build(client, examples) {
    const { reader, settings, width } = this.manifest;
    const result = new Result(settings.risk !== null);
    const newest = new Newest();
    let asked = 0;
    let again = () => Promise.resolve();
    /**
     * @param {string} kind
     * @param {object} what
     * @param {(vector: Float32Array) => void} [got]
     */
    const ask = (kind, what, got) => {
      const turn = ++asked;
      again = () => ask(kind, what, got);
      return newest.run(async () => {
        try {
          const answer = await client.ask(kind, { ...what, topK: SHOWN });
          if (turn === asked) got?.(answer.vector); // else another vector is in the strip by now
          result.show(answer);
        } catch (error) {
          result.fail(/** @type {Error} */ (error).message);
        }
      });
    };
    const strip = new Strip((vector) => ask("slug", { vector }));
    /** @param {Float32Array} vector */
    const use = (vector) => {
      strip.show(vector);
      ask("slug", { vector });
    };
    /**
     * @param {string} written
     * @param {boolean} vectorOnly
     */
    const read = (written, vectorOnly) => {
      ask("text", { text: written, vectorOnly }, (vector) => strip.show(vector));
    };
    const text = textSource(read, reader.some(({ name }) => name === TEXT_MODEL));
    const sources = [exampleSource(examples, use), text, betweenSource(examples, use), numberSource(width, use)];
    const head = (/** @type {string} */ title) => make("p", { class: "v2s-head", role: "heading", "aria-level": 3 }, title);
    this.button.replaceWith(chooser(sources), head("The vector"), strip.element, head("The slug"), result.element);
    sources[0].shown();
    return () => {
      text.ready();
      return again(); // what was shown so far is not re-ranked
    };
  }
}

/**
 * One source at a time.
 * @param {Source[]} sources
 */
function chooser(sources) {
  const panels = sources.map(({ element }) => element);
  /** @param {number} chosen */
  const pick = (chosen) => {
    panels.forEach((panel, i) => (panel.hidden = i !== chosen));
    sources[chosen].shown();
  };
  const radios = sources.map(({ label }, i) => {
    const change = () => pick(i);
    const radio = make("input", { type: "radio", name: "v2s-source", checked: i === 0, change });
    panels[i].hidden = i !== 0;
    return make("label", {}, radio, ` ${label}`);
  });
  const legend = make("legend", {}, "Where the vector comes from");
  return make("fieldset", {}, legend, make("div", { class: "v2s-row" }, ...radios), ...panels);
}

const root = document.getElementById("v2s-playground");
if (root) {
  try {
    /** @type {Manifest} */
    const manifest = await json("files.json");
    if (manifest.missing.length) {
      const what = manifest.missing.join(" and ");
      root.textContent = `This copy of the book was built without ${what}. Install Node.js with npm, then run “make book” again.`;
    } else new Playground(root, manifest);
  } catch (error) {
    root.textContent = `The playground did not load: ${/** @type {Error} */ (error).message}`;
  }
}
