// @ts-check
/**
 * Pieces of stems, fetched and decoded in the order in which they are needed; those that are far
 * away are let go.
 */

import { ApiError } from "../api/http.js";

/** @typedef {{name: string, n: number}} Want */
/**
 * @typedef {object} ShelfSetup
 * @property {AudioContext} context
 * @property {(name: string, n: number, signal: AbortSignal) => Promise<ArrayBuffer>} fetch
 * @property {(name: string, n: number, buffer: AudioBuffer) => void} ondecoded
 */

/** Decoded audio that is kept, in bytes; what is wanted just now is kept whatever it takes. */
export const HELD_BUDGET = 200e6;
/** Pieces that are fetched at once: leaves connections for the rest of the page. */
const PARALLEL = 2;
/** Seconds before a piece that didn't come is asked for again, where the server doesn't say. */
const AGAIN = 3;
const BYTES_PER_SAMPLE = 4;

export class PieceShelf {
  #setup;
  /** @type {Map<string, Want & {buffer: AudioBuffer}>} */
  #held = new Map();
  /** @type {Map<string, AbortController>} */
  #loading = new Map();
  /** Those that didn't come. @type {Set<string>} */
  #failed = new Set();
  /** @type {Want[]} */
  #wanted = [];
  #timer = 0;
  #gone = false;

  /** @param {ShelfSetup} setup */
  constructor(setup) {
    this.#setup = setup;
  }

  /** @param {string} name @param {number} n @returns {AudioBuffer|null} */
  get(name, n) {
    return this.#held.get(keyOf({ name, n }))?.buffer ?? null;
  }

  /** What is needed from now on, the most urgent first. @param {Want[]} wanted */
  want(wanted) {
    this.#wanted = wanted;
    const keys = new Set(wanted.map(keyOf));
    for (const [key, abort] of this.#loading) if (!keys.has(key)) abort.abort();
    this.#drop(keys);
    this.#load();
  }

  /** Something has changed: what didn't come may come now. */
  retry() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#failed.clear();
    this.#load();
  }

  dispose() {
    this.#gone = true;
    clearTimeout(this.#timer);
    this.#wanted = [];
    for (const abort of this.#loading.values()) abort.abort();
    this.#held.clear();
  }

  #load() {
    for (const want of this.#wanted) {
      if (this.#loading.size >= PARALLEL) return;
      const key = keyOf(want);
      if (!this.#held.has(key) && !this.#loading.has(key) && !this.#failed.has(key)) this.#fetch(want, key);
    }
  }

  /** @param {Want} want @param {string} key */
  async #fetch({ name, n }, key) {
    const abort = new AbortController();
    this.#loading.set(key, abort);
    try {
      const bytes = await this.#setup.fetch(name, n, abort.signal);
      const buffer = await this.#setup.context.decodeAudioData(bytes);
      if (this.#gone) return;
      this.#held.set(key, { name, n, buffer });
      this.#setup.ondecoded(name, n, buffer);
    } catch (error) {
      if (!abort.signal.aborted) this.#later(key, error);
    } finally {
      this.#loading.delete(key);
      this.#load();
    }
  }

  /** @param {string} key @param {unknown} error */
  #later(key, error) {
    this.#failed.add(key);
    // A refusal that stands is about the job: what comes of it is told by its next snapshot.
    if (error instanceof ApiError && error.problem.retryable === false) return;
    const seconds = (error instanceof ApiError && error.retryAfter) || AGAIN;
    this.#timer ||= setTimeout(() => this.retry(), seconds * 1000);
  }

  /** @param {Set<string>} wanted */
  #drop(wanted) {
    const centre = this.#wanted[0]?.n ?? 0;
    const spare = [...this.#held].filter(([key]) => !wanted.has(key)).sort(([, a], [, b]) => Math.abs(a.n - centre) - Math.abs(b.n - centre));
    let bytes = [...this.#held.values()].reduce((sum, { buffer }) => sum + bytesOf(buffer), 0);
    while (bytes > HELD_BUDGET && spare.length) {
      const [key, { buffer }] = /** @type {[string, Want & {buffer: AudioBuffer}]} */ (spare.pop());
      bytes -= bytesOf(buffer);
      this.#held.delete(key);
    }
  }
}

/** @param {Want} want */
const keyOf = ({ name, n }) => `${n}/${name}`;

/** @param {AudioBuffer} buffer */
const bytesOf = (buffer) => buffer.length * buffer.numberOfChannels * BYTES_PER_SAMPLE;
