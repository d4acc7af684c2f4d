// @ts-check
/** Building elements. Text always goes in as text: nothing here can parse HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node|string|null|undefined|false} Child */

/**
 * A new element. Keys of `props` starting with `on` are listeners; `class`, `for`, `aria-*`,
 * `data-*` and other dashed names are attributes; anything else is a property.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key.includes("-") || ["class", "for", "role", "download", "list"].includes(key)) {
      node.setAttribute(key, String(value));
    } else /** @type {any} */ (node)[key] = value;
  }
  node.append(...kept(children));
  return node;
}

/**
 * A new SVG element; every prop is an attribute.
 * @param {string} tag
 * @param {Record<string, string|number>} [attributes]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...kept(children));
  return node;
}

/** @param {Child[]} children @returns {(Node|string)[]} */
function kept(children) {
  return /** @type {(Node|string)[]} */ (children.filter((child) => child));
}

/**
 * Set the text if it differs, so that selections and screen readers are left alone.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Set or remove a data attribute if it differs.
 * @param {HTMLElement|SVGElement} node
 * @param {string} key
 * @param {string|null} value
 */
export function setData(node, key, value) {
  if (value === null) delete node.dataset[key];
  else if (node.dataset[key] !== value) node.dataset[key] = value;
}

let serial = 0;

/** An id for `for` and `aria-labelledby`. @param {string} stem */
export function freshId(stem) {
  serial += 1;
  return `${stem}-${serial}`;
}
