// Where a vector comes from: a text, an example, pasted numbers, or a point between two examples.

import { choice, labelled, make } from "./dom.js";
import { between, parseVector, randomVector } from "./vectors.js";

/** @typedef {{title: string, slug: string, text: string, vector: number[]}} Example */
/** @typedef {{label: string, element: HTMLElement, shown: () => void}} Source */
/** @typedef {(vector: Float32Array) => void} Use called with the vector of a source */

const PAUSE = 150; // milliseconds without a key before a text is read

/**
 * @param {(text: string, vectorOnly: boolean) => void} read called with a text to be read
 * @param {boolean} heard whether there is a model of words in texts
 * @returns {Source & {ready: () => void}}
 */
export function textSource(read, heard) {
  /** @type {number | undefined} */
  let timer;
  const send = () => field.value.trim() && !field.disabled && read(field.value, box.checked);
  const input = () => {
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE);
  };
  const [label, field] = labelled("Your text", make("textarea", { rows: 6, input, disabled: true }));
  const says = make("p", {}, "The embedder is still loading …");
  const ready = () => {
    field.disabled = false;
    says.textContent = "Write or paste; the slug follows as you type. Nothing leaves this page.";
    send();
  };
  const box = make("input", { type: "checkbox", change: send });
  const alone = make("label", {}, box, " By its vector alone");
  const words = make("div", { class: "v2s-row" }, "By default the text’s own words count too.", alone);
  const element = make("div", {}, label, ...(heard ? [words] : []), says);
  return { label: "Text", element, shown: send, ready };
}

/**
 * @param {Example[]} examples
 * @param {Use} use
 * @returns {Source}
 */
export function exampleSource(examples, use) {
  const text = make("div", { class: "v2s-text", tabindex: 0, role: "region", "aria-label": "Text of the example" });
  const reference = make("p");
  const shown = () => {
    const example = examples[Number(picker.value)];
    text.replaceChildren(...example.text.split(/\n+/).map((part) => make("p", {}, part)));
    reference.replaceChildren("An editor’s slug: ", make("code", {}, example.slug));
    use(Float32Array.from(example.vector));
  };
  const titles = examples.map(({ title }) => title);
  const [label, picker] = labelled("Example", choice(titles, shown));
  return { label: "Example", element: make("div", {}, label, text, reference), shown };
}

/**
 * @param {number} width
 * @param {Use} use
 * @returns {Source}
 */
export function numberSource(width, use) {
  const problem = make("p", { role: "alert", class: "v2s-problem" });
  const [label, field] = labelled(`A vector of ${width} numbers`, make("textarea", { rows: 4 }));
  const attempt = () => {
    problem.textContent = "";
    try {
      use(parseVector(field.value, width));
    } catch (error) {
      problem.textContent = /** @type {Error} */ (error).message;
    }
  };
  const draw = () => {
    const drawn = randomVector(width);
    field.value = JSON.stringify(Array.from(drawn, (x) => Number(x.toFixed(5))));
    attempt();
  };
  const paste = make("button", { type: "button", click: attempt }, "Use these numbers");
  const random = make("button", { type: "button", click: draw }, "Draw a random vector");
  const help = make("p", {}, "JSON, or numbers with blanks between them, from all-MiniLM-L6-v2.");
  const row = make("div", { class: "v2s-row" }, paste, random);
  const shown = () => field.value && attempt();
  return { label: "Numbers", element: make("div", {}, label, help, row, problem), shown };
}

/**
 * @param {Example[]} examples
 * @param {Use} use
 * @returns {Source}
 */
export function betweenSource(examples, use) {
  const says = make("output");
  const shown = () => {
    const [a, b] = [from, to].map((picker) => Float32Array.from(examples[Number(picker.value)].vector));
    says.textContent = `${slider.value} % of the way`;
    use(between(a, b, Number(slider.value) / 100));
  };
  const titles = examples.map(({ title }) => title);
  const [first, from] = labelled("From", choice(titles, shown));
  const [second, to] = labelled("To", choice(titles, shown));
  to.value = "1";
  const range = make("input", { type: "range", min: 0, max: 100, step: 5, value: 50, input: shown });
  const [middle, slider] = labelled("Way", range);
  return { label: "Between two", element: make("div", {}, first, second, middle, says), shown };
}
