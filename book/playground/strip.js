// The vector as a strip of bands, of which a range can be changed by dragging or by number.

import { labelled, make } from "./dom.js";
import { cosine, norm, OPERATIONS, perturbed } from "./vectors.js";

const HEIGHT = 72;
const CLIP = 3; // bands are drawn up to this many times their root mean square

export class Strip {
  /** @param {(vector: Float32Array) => void} changed called with the vector after a change */
  constructor(changed) {
    this.changed = changed;
    /** @type {Float32Array[]} the vector as it came, and after each change */
    this.states = [];
    /** @type {[number, number] | null} bands being dragged over */
    this.range = null;
    this.canvas = make("canvas", {
      height: HEIGHT,
      role: "img",
      pointerdown: (event) => this.drag(event, true),
      pointermove: (event) => this.drag(event),
      pointerup: () => this.drop(),
      pointercancel: () => this.cancel(),
    });
    this.says = make("p", { "aria-live": "polite" });
    const names = Object.keys(OPERATIONS).map((name) => make("option", {}, name));
    const [operation, select] = labelled("Operation", make("select", {}, ...names));
    const [from, first] = labelled("From band", make("input", { type: "number", min: 1, value: 1 }));
    const [to, last] = labelled("to", make("input", { type: "number", min: 1, value: 48 }));
    const press = (/** @type {() => void} */ act) => ({ type: "button", click: act });
    this.undo = make("button", press(() => this.back()), "Undo");
    const apply = make("button", press(() => this.apply()), "Apply");
    this.select = select;
    this.first = first;
    this.last = last;
    const controls = make("div", { class: "v2s-row" }, operation, from, to, apply, this.undo);
    this.element = make("div", { class: "v2s-strip-box" }, this.canvas, controls, this.says);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    new MutationObserver(() => this.draw()).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
  }

  get vector() {
    return this.states[this.states.length - 1];
  }

  /**
   * Show another vector; what was done to the last one is forgotten.
   * @param {Float32Array} vector
   */
  show(vector) {
    this.states = [vector];
    this.first.max = this.last.max = String(vector.length);
    this.draw();
  }

  apply() {
    const [a, b] = [this.first, this.last].map((field) => Number(field.value) - 1);
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    if (!this.states.length || !Number.isInteger(low + high) || low < 0 || high >= this.vector.length) {
      this.says.textContent = `Expected bands from 1 to ${this.vector?.length ?? 1}.`;
      return;
    }
    const vector = perturbed(this.vector, this.select.value, low, high);
    if (norm(vector) === 0) {
      this.says.textContent = "Nothing would be left of the vector: it has to point somewhere.";
      return;
    }
    this.states.push(vector);
    this.draw();
    this.changed(vector);
  }

  back() {
    this.states.pop();
    this.draw();
    this.changed(this.vector);
    if (this.undo.disabled) this.select.focus();
  }

  /**
   * @param {PointerEvent} event
   * @param {boolean} [begins]
   */
  drag(event, begins = false) {
    if (!this.states.length || !(begins || this.range)) return;
    const share = event.offsetX / this.canvas.clientWidth;
    const count = this.vector.length;
    const band = Math.min(Math.max(Math.floor(share * count), 0), count - 1);
    if (begins) this.canvas.setPointerCapture(event.pointerId);
    this.range = [begins || !this.range ? band : this.range[0], band];
    const [low, high] = [Math.min(...this.range), Math.max(...this.range)];
    this.first.value = String(low + 1);
    this.last.value = String(high + 1);
    this.draw();
  }

  drop() {
    if (!this.range) return;
    this.range = null;
    this.draw();
    this.apply(); // last, as it may have something to say
  }

  cancel() {
    this.range = null;
    this.draw();
  }

  draw() {
    if (!this.states.length) return;
    const changes = this.states.length - 1;
    this.undo.disabled = !changes;
    const same = cosine(this.states[0], this.vector);
    const count = changes === 1 ? "One change" : `${changes} changes`;
    const summary = changes ? `${count}; cosine to the vector as it came ${same.toFixed(3)}.` : "";
    this.says.textContent = summary;
    const label = `The vector's ${this.vector.length} bands, positive ones up. ${summary}`;
    this.canvas.setAttribute("aria-label", label);
    this.paint();
  }

  paint() {
    const { canvas, vector } = this;
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = HEIGHT * devicePixelRatio;
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const style = getComputedStyle(canvas);
    const [wide, middle] = [canvas.width / vector.length, canvas.height / 2];
    const unit = (CLIP * norm(vector)) / Math.sqrt(vector.length);
    vector.forEach((x, i) => {
      const tall = Math.min(Math.max(x / unit, -1), 1) * middle;
      pen.fillStyle = style.getPropertyValue(x < 0 ? "--v2s-minus" : "--v2s-plus");
      pen.fillRect(i * wide, middle - Math.max(tall, 0), Math.max(wide - 0.5, 0.5), Math.abs(tall));
    });
    if (!this.range) return;
    const [low, high] = [Math.min(...this.range), Math.max(...this.range)];
    pen.fillStyle = style.getPropertyValue("--v2s-range");
    pen.fillRect(low * wide, 0, (high - low + 1) * wide, canvas.height);
  }
}
