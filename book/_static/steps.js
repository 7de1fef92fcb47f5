// Steps through stored decodings: where each layer looks, what it would say, what the model writes.
(() => {
  "use strict";
  const DECADES = 8; // the curve's axis runs from 1 down to 10^-DECADES

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const svg = (tag, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  const share = (value) => value.toFixed(3);

  class Viewer {
    constructor(root) {
      this.root = root;
      const { unit, models } = JSON.parse(root.querySelector("script").textContent);
      Object.assign(this, { unit, models, model: Object.keys(models)[0], example: 0, step: 0 });
      this.build();
      this.show();
    }

    get examples() {
      return this.models[this.model].examples;
    }

    build() {
      this.modelPicker = make("select", { "data-v2s": "model" });
      for (const name of Object.keys(this.models))
        this.modelPicker.append(make("option", { value: name }, name));
      this.modelPicker.addEventListener("change", () => {
        this.model = this.modelPicker.value;
        this.pick(this.example);
      });
      this.picker = make("select", { "data-v2s": "page" });
      this.picker.addEventListener("change", () => this.go(Number(this.picker.value), 0));
      this.back = this.button("← Back", () => this.go(this.example, this.step - 1));
      this.next = this.button("Next →", () => this.go(this.example, this.step + 1));
      this.says = make("p", { class: "v2s-says", "aria-live": "polite" });
      this.tokens = make("ol", { class: "v2s-tokens", "aria-label": "Tokens of the slug" });
      this.layers = make("ol", { class: "v2s-layers", "aria-label": "Layers" });
      this.output = make("div", { class: "v2s-output" });
      this.root.append(
        make(
          "div",
          { class: "v2s-controls" },
          make("label", {}, "Model ", this.modelPicker),
          make("label", {}, "Page ", this.picker),
          make("span", {}, this.back, this.next),
        ),
        this.says,
        this.tokens,
        this.layers,
        this.output,
      );
      this.root.addEventListener("keydown", (event) => this.key(event));
      this.pick(0);
    }

    button(text, act) {
      const made = make("button", { type: "button" }, text);
      made.addEventListener("click", () => {
        act();
        // A button that is now disabled or replaced has lost the focus, and the keys with it.
        if (made.disabled || !made.isConnected) this.focus();
      });
      return made;
    }

    focus() {
      this.tokens.querySelector("[aria-current]").focus();
    }

    key(event) {
      if (event.target.tagName === "SELECT" || event.altKey || event.ctrlKey || event.metaKey) return;
      const last = this.examples[this.example].steps.length - 1;
      const to = { ArrowLeft: this.step - 1, ArrowRight: this.step + 1, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation(); // JupyterLab has keys of its own
      this.go(this.example, to);
      this.focus();
    }

    pick(example) {
      this.picker.replaceChildren(
        ...this.examples.map(({ name }, i) => make("option", { value: i }, name)),
      );
      this.picker.value = example;
      this.go(example, 0);
    }

    go(example, step) {
      this.example = example;
      this.step = Math.max(0, Math.min(step, this.examples[example].steps.length - 1));
      this.show();
    }

    show() {
      const { steps, slug, reference } = this.examples[this.example];
      const now = steps[this.step];
      const before = steps.slice(0, this.step).map(({ token }) => token);
      // A vocabulary whose tokens hold the hyphen before their word has one too many.
      const text = before.join("").replace(/^-/, "");
      this.back.disabled = this.step === 0;
      this.next.disabled = this.step === steps.length - 1;
      this.says.replaceChildren(
        `Step ${this.step + 1} of ${steps.length}: after `,
        text ? make("code", {}, text) : "nothing yet",
        ", the model writes ",
        make("code", {}, now.token),
        ` with probability ${share(now.p / this.unit)}.`,
      );
      this.showTokens(steps);
      this.showLayers(now, ["prefix", "<bos>", ...before]);
      this.output.replaceChildren(
        make("p", {}, "The output, likeliest tokens first"),
        this.bars(now.top, now.token),
        this.curve(now.curve),
        make("p", {}, "Slug ", make("code", {}, slug), "; the page's own ", make("code", {}, reference)),
      );
    }

    showTokens(steps) {
      this.tokens.replaceChildren(
        ...steps.map(({ token }, i) => {
          const button = this.button(token, () => this.go(this.example, i));
          if (i === this.step) button.setAttribute("aria-current", "step");
          return make("li", {}, button);
        }),
      );
    }

    showLayers(now, positions) {
      this.layers.replaceChildren(
        ...now.lens.map((candidates, layer) => {
          const name = layer ? `Layer ${layer}` : "Input";
          const looks = layer
            ? this.strip(now.attention[layer - 1], positions)
            : make("span", { class: "v2s-strip" });
          return make("li", {}, make("strong", {}, name), looks, this.bars(candidates, now.token));
        }),
      );
    }

    // Shares of attention: one cell a position, the darker the more.
    strip(shares, positions) {
      const cells = shares.map((value, i) => {
        const shade = make("i", {});
        shade.style.opacity = value / this.unit;
        return make(
          "li",
          {},
          make("span", { class: "v2s-shade" }, shade),
          make("code", {}, positions[i]),
          make("b", {}, share(value / this.unit)),
        );
      });
      return make("ol", { class: "v2s-strip", "aria-label": "Attention" }, ...cells);
    }

    // Tokens with their probabilities: the length of a bar is the value, its text says it too.
    bars(candidates, written) {
      const items = candidates.map(([token, value]) => {
        const fill = make("i", {});
        fill.style.width = `${(100 * value) / this.unit}%`;
        const label = make("code", {}, token);
        const item = make("li", {}, fill, label, make("b", {}, share(value / this.unit)));
        if (token === written) item.className = "v2s-written";
        return item;
      });
      return make("ol", { class: "v2s-bars", "aria-label": "Likeliest tokens" }, ...items);
    }

    // Probability of every token of the vocabulary, by rank; both axes logarithmic.
    curve(logs) {
      const { ranks, size } = this.models[this.model];
      const x = (rank) => (300 * Math.log10(rank)) / Math.log10(size);
      const y = (decades) => (120 * Math.min(decades, DECADES)) / DECADES;
      const chart = svg("svg", { viewBox: "-44 -28 356 188", role: "img" });
      const last = (-logs[logs.length - 1] / 100).toFixed(1);
      const says = `Probability of all ${size} tokens by rank, down to 10 to the ${last}`;
      chart.setAttribute("aria-label", says);
      for (let power = 0; power <= DECADES; power += 2) {
        chart.append(svg("line", { x1: 0, x2: 300, y1: y(power), y2: y(power), class: "v2s-grid" }));
        const place = { x: -6, y: y(power) + 4, "text-anchor": "end" };
        chart.append(svg("text", place, power ? `1e-${power}` : "1"));
      }
      for (let rank = 1; rank <= size; rank *= 10)
        chart.append(svg("text", { x: x(rank), y: 136, "text-anchor": "middle" }, String(rank)));
      chart.append(svg("text", { x: -40, y: -14 }, "probability"));
      chart.append(svg("text", { x: 150, y: 154, "text-anchor": "middle" }, "rank of the token"));
      const points = ranks.map((rank, i) => `${x(rank).toFixed(1)},${y(logs[i] / 100).toFixed(1)}`);
      chart.append(svg("polyline", { points: points.join(" "), class: "v2s-line" }));
      return chart;
    }
  }

  const start = () => {
    for (const root of document.querySelectorAll(".v2s-steps:not([data-ready])")) {
      root.dataset.ready = "";
      new Viewer(root);
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
