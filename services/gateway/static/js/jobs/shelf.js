// @ts-check
/** Elements in an order of their own: only what has to move is moved. */

/** @template Rank */
export class Shelf {
  /** @type {{key: string, rank: Rank, element: HTMLElement}[]} */
  #items = [];
  #precedes;

  /** @param {HTMLElement} element @param {(a: Rank, b: Rank) => boolean} precedes */
  constructor(element, precedes) {
    this.element = element;
    this.#precedes = precedes;
  }

  get size() {
    return this.#items.length;
  }

  /** @param {string} key */
  has(key) {
    return this.#items.some((item) => item.key === key);
  }

  /** Put an element where its rank says. @param {string} key @param {Rank} rank @param {HTMLElement} element */
  place(key, rank, element) {
    const at = this.#items.findIndex((item) => item.key === key);
    if (at >= 0) {
      const [item] = this.#items.splice(at, 1);
      if (this.#position(rank) === at) {
        this.#items.splice(at, 0, { ...item, rank });
        return;
      }
    }
    const to = this.#position(rank);
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    this.element.insertBefore(element, this.#items[to]?.element ?? null);
    this.#items.splice(to, 0, { key, rank, element });
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  }

  /** Take an element away; if it had the focus, its neighbour gets it. @param {string} key */
  remove(key) {
    const at = this.#items.findIndex((item) => item.key === key);
    if (at < 0) return;
    const [{ element }] = this.#items.splice(at, 1);
    const focused = element.contains(document.activeElement);
    element.remove();
    if (!focused) return;
    const neighbour = this.#items[Math.min(at, this.#items.length - 1)]?.element;
    (neighbour?.querySelector("button") ?? document.getElementById("songs"))?.focus({ preventScroll: true });
  }

  clear() {
    for (const { element } of this.#items) element.remove();
    this.#items = [];
  }

  /** @param {Rank} rank the first place behind everything that precedes it */
  #position(rank) {
    const at = this.#items.findIndex((item) => this.#precedes(rank, item.rank));
    return at < 0 ? this.#items.length : at;
  }
}
