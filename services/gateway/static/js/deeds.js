// @ts-check
/** What users do to jobs and batches; what is refused is said. */

import { commandBatch } from "./api/batches.js";
import { ApiError, problemOf, sentences } from "./api/http.js";
import { command, deleteJob, prioritize } from "./api/jobs.js";
import { FormKey } from "./api/key.js";
import { patiently } from "./api/patience.js";

/** @typedef {import("./types.js").Snapshot} Snapshot */

export class Deeds {
  #jobs;
  #batches;
  #announce;
  #submitter;
  /** Of playlists that are asked for from a failed job's card. */
  #key = new FormKey();

  /**
   * @param {object} deps
   * @param {import("./store.js").Store} deps.jobs
   * @param {import("./batches/store.js").BatchStore} deps.batches
   * @param {ReturnType<typeof import("./announce.js").announcer>} deps.announce
   * @param {import("./submit.js").Submitter} deps.submitter
   */
  constructor({ jobs, batches, announce, submitter }) {
    this.#jobs = jobs;
    this.#batches = batches;
    this.#announce = announce;
    this.#submitter = submitter;
  }

  /** For those who draw buttons. */
  get all() {
    return {
      /** @param {string} id @param {import("./api/jobs.js").Verb} verb */
      command: (id, verb) => this.#toJob(id, () => command(id, verb)),
      /** @param {string} id @param {import("./types.js").Priority} priority */
      prioritize: (id, priority) => this.#toJob(id, () => prioritize(id, priority)),
      /** @param {string} id */
      remove: (id) => this.#remove(id),
      /** @param {string} id @param {"cancel"|"retry"} verb */
      batch: (id, verb) => this.#toBatch(id, verb),
      /** @param {Snapshot} job */
      takePlaylist: (job) => this.#takePlaylist(job),
    };
  }

  /** @param {unknown} error */
  refused(error) {
    this.#announce.warn(sentences(problemOf(error)));
  }

  /** @param {string} id @param {() => Promise<Snapshot|null>} deed */
  async #toJob(id, deed) {
    try {
      const job = await this.#patiently(deed);
      if (job) this.#jobs.put(job, false);
    } catch (error) {
      if (problemOf(error).code === "job.not_found") this.#jobs.remove(id);
      this.refused(error);
    }
  }

  /** @param {string} id */
  async #remove(id) {
    try {
      await this.#patiently(() => deleteJob(id));
      this.#jobs.remove(id);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) this.#jobs.remove(id);
      else this.refused(error);
    }
  }

  /** @param {string} id @param {"cancel"|"retry"} verb */
  async #toBatch(id, verb) {
    try {
      const batch = await this.#patiently(() => commandBatch(id, verb));
      if (batch) this.#batches.put(batch);
    } catch (error) {
      this.refused(error);
    }
  }

  /** The same wishes, for all the songs behind the job's address. @param {Snapshot} job */
  async #takePlaylist({ source, options, owner, priority }) {
    const order = { sources: [source], playlist: true, options, terms: { ...(owner && { owner }), priority } };
    try {
      await this.#submitter.send(order, this.#key.of(order), { onwait: this.#onwait });
      this.#key.spent();
    } catch (error) {
      this.refused(error);
    }
  }

  /** @template T @param {() => Promise<T>} deed one that is the same twice */
  #patiently(deed) {
    return patiently(deed, this.#onwait);
  }

  #onwait = (/** @type {import("./api/patience.js").Wait|null} */ wait) => this.#announce.wait(wait);
}
