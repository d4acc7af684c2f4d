// @ts-check
/** Sending songs: one as a job, several as a batch, each request under a key of its own. */

import { submitBatch } from "./api/batches.js";
import { submitJob } from "./api/jobs.js";
import { patiently } from "./api/patience.js";

/** @typedef {import("./types.js").Source} Source */
/**
 * @typedef {object} Order
 * @property {Source[]} sources at least one
 * @property {boolean} [playlist] whether the one source stands for all the songs behind it
 * @property {import("./types.js").Options} options
 * @property {import("./types.js").Terms} terms
 */
/** @typedef {{onwait: (wait: import("./api/patience.js").Wait|null) => void, signal?: AbortSignal}} Waiting */

export class Submitter {
  #on;

  /**
   * @param {{
   *   job: (job: import("./types.js").Snapshot) => void,
   *   batch: (batch: import("./types.js").Batch) => void,
   *   later: () => void,
   * }} on what was answered; `later`: accepted, but the record is still to come
   */
  constructor(on) {
    this.#on = on;
  }

  /**
   * @param {Order} order
   * @param {string} key the same one for the same order, until it was accepted
   * @param {Waiting} waiting for a server that asks for patience
   */
  async send({ sources, playlist = false, options, terms }, key, { onwait, signal }) {
    if (sources.length === 1 && !playlist) {
      const job = await patiently(() => submitJob(sources[0], options, terms, key), onwait, signal);
      if (job) this.#on.job(job);
      else this.#on.later();
      return;
    }
    const songs = playlist ? { playlist: sources[0].url ?? "" } : several(sources);
    const batch = await patiently(() => submitBatch(songs, options, terms, key), onwait, signal);
    if (batch) this.#on.batch(batch);
    else this.#on.later();
  }
}

/** @param {Source[]} sources */
function several(sources) {
  const urls = sources.flatMap(({ url }) => url ?? []);
  const uploads = sources.flatMap(({ upload }) => upload ?? []);
  return { ...(urls.length && { urls }), ...(uploads.length && { uploads }) };
}
