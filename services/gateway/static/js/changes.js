// @ts-check
/** Tells listeners what changed, many changes at once. */

/** Changes within this many milliseconds are told together. */
const GATHER = 40;

export class Changes {
  /** @type {Set<string>} */
  #changed = new Set();
  #timer = 0;
  /** @type {((ids: Set<string>) => void)[]} */
  #listeners = [];

  /** @param {(ids: Set<string>) => void} listener */
  subscribe(listener) {
    this.#listeners.push(listener);
  }

  /** @param {string} id */
  touch(id) {
    this.#changed.add(id);
    this.#timer ||= setTimeout(() => this.#tell(), GATHER);
  }

  #tell() {
    const changed = this.#changed;
    this.#changed = new Set();
    this.#timer = 0;
    for (const listener of this.#listeners) listener(changed);
  }
}
