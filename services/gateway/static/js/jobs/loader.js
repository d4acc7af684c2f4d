// @ts-check
/** Brings pages of jobs, and the batches among them, into the stores. */

import { listBatches } from "../api/batches.js";
import { listJobs } from "../api/jobs.js";
import { isGrouped, precedes, rankOf } from "./view.js";

/** @typedef {import("./view.js").View} View */

const PAGE = 50;
/** The API's largest page: for looking past the songs of batches, which are shown as one. */
const LARGE_PAGE = 200;
/** Pages that are looked through at one go for something that is new on the screen. */
const AT_ONCE = 10;

export class Loader {
  /** The last job loaded, where there are more behind it; null: everything is here. @type {import("./view.js").Rank|null} */
  horizon = null;
  /** @type {string|null} */
  #cursor = null;
  /** @type {string|null} */
  #batchCursor = null;
  #batchesDone = false;
  #abort = new AbortController();
  #jobs;
  #batches;

  /** @param {import("../store.js").Store} jobs @param {import("../batches/store.js").BatchStore} batches */
  constructor(jobs, batches) {
    this.#jobs = jobs;
    this.#batches = batches;
  }

  /**
   * Load the first page of a view; one that is still being loaded is given up.
   * @param {View} view
   * @returns {Promise<number|null>} the revision it shows; null when given up
   */
  async first(view) {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#batchesDone = false;
    this.#batchCursor = null;
    return this.#load(view, null);
  }

  /** Load what comes next. @param {View} view */
  async next(view) {
    await this.#load(view, this.#cursor);
  }

  /** All jobs of one batch. @param {string} batch */
  async songsOf(batch) {
    /** @type {string|null} */
    let cursor = null;
    do {
      const page = await listJobs({ batch, sort: "created", limit: LARGE_PAGE, cursor });
      for (const job of page.jobs) this.#jobs.put(job, false);
      cursor = page.next;
    } while (cursor);
  }

  /** @param {View} view @param {string|null} from @returns {Promise<number|null>} */
  async #load(view, from) {
    const { signal } = this.#abort;
    const grouped = isGrouped(view);
    try {
      let page = await listJobs({ ...view, limit: PAGE, cursor: from }, signal);
      const { revision } = page;
      this.#take(view, page);
      for (let looks = 1; grouped && page.next && page.jobs.every((job) => job.batch) && looks < AT_ONCE; looks += 1) {
        page = await listJobs({ ...view, limit: LARGE_PAGE, cursor: page.next }, signal);
        this.#take(view, page);
      }
      if (grouped) await this.#loadBatches(view, signal);
      return revision;
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    }
  }

  /** @param {View} view @param {import("../types.js").Page} page */
  #take(view, page) {
    for (const job of page.jobs) this.#jobs.put(job, false);
    const last = page.jobs.at(-1);
    this.#cursor = page.next;
    this.horizon = page.next && last ? rankOf(view, last) : null;
  }

  /** Batches as far back as the jobs go. @param {View} view @param {AbortSignal} signal */
  async #loadBatches(view, signal) {
    for (let looks = 0; !this.#batchesDone && looks < AT_ONCE; looks += 1) {
      const page = await listBatches(this.#batchCursor, signal);
      for (const batch of page.batches) this.#batches.put(batch);
      this.#batchCursor = page.next;
      this.#batchesDone = page.next === null;
      const last = page.batches.at(-1);
      if (last && this.horizon && precedes(view, this.horizon, rankOf(view, last))) return;
    }
  }
}
