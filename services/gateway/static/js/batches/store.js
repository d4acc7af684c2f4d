// @ts-check
/** What the page knows of the batches. */

import { showBatch } from "../api/batches.js";
import { ApiError } from "../api/http.js";
import { Changes } from "../changes.js";

/** @typedef {import("../types.js").Batch} Batch */

export class BatchStore {
  /** @type {Map<string, Batch>} */
  batches = new Map();
  /** Batches that jobs name, but that are no more. @type {Set<string>} */
  missing = new Set();
  /** Batches that have been asked for by their ids. @type {Set<string>} */
  #wanted = new Set();
  #changes = new Changes();

  /** Be told which batches changed. @param {(ids: Set<string>) => void} listener */
  subscribe(listener) {
    this.#changes.subscribe(listener);
  }

  /** @param {Batch} batch an answer may be older than what the events have brought */
  put(batch) {
    const held = this.batches.get(batch.id);
    if (held && Date.parse(batch.updated_at) < Date.parse(held.updated_at)) return;
    this.batches.set(batch.id, batch);
    this.#changes.touch(batch.id);
  }

  /** A job says that it belongs to this batch: learn about it, once. @param {string} id */
  async want(id) {
    if (this.batches.has(id) || this.#wanted.has(id)) return;
    this.#wanted.add(id);
    try {
      this.put(await showBatch(id));
    } catch (error) {
      this.#wanted.delete(id);
      if (!(error instanceof ApiError) || error.status !== 404) return;
      this.missing.add(id);
      this.#changes.touch(id);
    }
  }
}
