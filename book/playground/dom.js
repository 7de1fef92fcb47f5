// Elements, shortly.

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | boolean | ((event: any) => void)>} [attributes] functions listen
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

let count = 0;

/**
 * A field behind its label.
 * @template {HTMLElement} T
 * @param {string} text
 * @param {T} field
 * @returns {[HTMLElement, T]} both in one element, and the field
 */
export function labelled(text, field) {
  field.id = `v2s-field-${count++}`;
  return [make("span", { class: "v2s-field" }, make("label", { for: field.id }, text), field), field];
}

/**
 * A select of texts, whose values are their places.
 * @param {string[]} texts
 * @param {() => void} change
 */
export function choice(texts, change) {
  const options = texts.map((text, i) => make("option", { value: i }, text));
  return make("select", { change }, ...options);
}

/**
 * A table; columns named in `numeric` are set flush right.
 * @param {string} caption
 * @param {string[]} head
 * @param {string[][]} body
 * @param {string[]} numeric
 */
export function table(caption, head, body, numeric) {
  /** @param {number} i */
  const align = (i) => ({ class: numeric.includes(head[i]) ? "num" : "" });
  const names = head.map((text, i) => make("th", { scope: "col", ...align(i) }, text));
  const rows = body.map((cells) => {
    const columns = cells.map((text, i) => make("td", align(i), i ? text : make("code", {}, text)));
    return make("tr", {}, ...columns);
  });
  const parts = [make("caption", {}, caption), make("thead", {}, make("tr", {}, ...names))];
  return make("table", {}, ...parts, make("tbody", {}, ...rows));
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
