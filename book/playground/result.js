// What the model says: the slug, its rivals, and how the search found them.

import { labelled, make, table } from "./dom.js";

/** @typedef {import("./client.js").Answer} Answer */

const ROUNDED = "The embedder here has its weights in int8, so of two close slugs the command may name the other";

// How a slug was decoded, and why the command line may name another.
/** @type {Record<Answer["variant"], string>} */
const VARIANTS = {
  search: "The search alone, as the command vec2slug does it",
  mbr: "Minimum Bayes risk, not re-ranked, as with --fast: the embedder is still loading",
  "mbr-reranked":
    `Minimum Bayes risk, re-ranked by embedding similarity, as the command vec2slug does it. ${ROUNDED}`,
  text:
    "By the text’s own words and its vector, re-ranked by embedding similarity, as the command vec2slug " +
    `does it with a text. ${ROUNDED}`,
};

export class Result {
  /** @param {boolean} expected whether scores are the Token F1 to expect, else those of the search */
  constructor(expected) {
    this.score = expected ? "expected Token F1" : "score";
    /** @type {Answer["steps"]} */
    this.steps = [];
    this.slug = make("output", { class: "v2s-slug", "aria-live": "polite", "aria-label": "Slug" });
    this.says = make("p", { class: "v2s-time" });
    this.how = make("p", { class: "v2s-how" });
    this.candidates = make("div", { class: "v2s-table" });
    this.beams = make("div", { class: "v2s-table" });
    const input = make("input", { type: "range", min: 1, input: () => this.showStep() });
    const [label, slider] = labelled("Step", input);
    this.slider = slider;
    const summary = make("summary", {}, "Each step of the search");
    this.details = make("details", { toggle: () => this.showStep() }, summary, label, this.beams);
    this.element = make("div", {}, this.slug, this.says, this.how, this.candidates, this.details);
  }

  /** @param {Answer} answer */
  show({ candidates, steps, variant, milliseconds, read }) {
    this.slug.textContent = candidates[0].slug;
    const reading = read === undefined ? "" : `${read.toFixed(0)} ms to read the text, `;
    this.says.textContent = `${reading}${milliseconds.toFixed(0)} ms to write the slug`;
    const link = make("a", { href: "12_release.html#one-configuration" }, "all variants");
    this.how.replaceChildren(`${VARIANTS[variant]} (`, link, ").");
    const rows = candidates.map(({ slug, score }) => [slug, score.toFixed(3)]);
    const caption = `The best candidates of this ${variant === "text" ? "text" : "vector"}`;
    this.candidates.replaceChildren(table(caption, ["slug", this.score], rows, [this.score]));
    this.steps = steps;
    this.slider.max = String(steps.length);
    this.showStep();
  }

  /** @param {string} message */
  fail(message) {
    this.slug.textContent = "";
    this.says.textContent = message;
    this.how.replaceChildren();
    this.candidates.replaceChildren();
  }

  showStep() {
    if (!this.details.open || !this.steps.length) return;
    const at = Math.min(Number(this.slider.value), this.steps.length);
    const { beams, finished } = this.steps[at - 1];
    const caption = `Step ${at} of ${this.steps.length}`;
    const open = beams.map(({ text, logP }) => [text, logP.toFixed(2)]);
    const ended = finished.map(({ slug, score }) => [slug, score.toFixed(2)]);
    const tables = [
      table(`${caption}: what goes on`, ["hypothesis", "log probability"], open, ["log probability"]),
      table(`${caption}: what has ended`, ["slug", "score of the search"], ended, ["score of the search"]),
    ];
    this.slider.setAttribute("aria-valuetext", caption);
    this.beams.replaceChildren(...tables.filter((each) => each.tBodies[0].rows.length));
  }
}
