// @ts-check
/**
 * What the page knows of the jobs. Snapshots are the truth; progress between them may only
 * move a job forward, and is forgotten as soon as a snapshot has moved on.
 */

/** @typedef {import("./types.js").Snapshot} Snapshot */
/** @typedef {import("./types.js").Progress} Progress */
/**
 * @typedef {object} Entry
 * @property {Snapshot} job
 * @property {number} progress what is shown, 0 to 100: never less than before, unless retried
 * @property {Progress|null} live the newest report on the current phase
 * @property {boolean} streamed whether the snapshot came with the (ordered) event stream
 */

/** Changes within this many milliseconds are drawn together. */
const BATCH = 40;
const OVER = new Set(["completed", "failed", "cancelled"]);

/** Whether only a retry can change the job any more. @param {Snapshot} job */
export const isOver = (job) => OVER.has(job.status);

export class Store {
  /** @type {Map<string, Entry>} */
  jobs = new Map();
  /** @type {Set<string>} */
  #changed = new Set();
  #timer = 0;
  /** @type {((ids: Set<string>) => void)[]} */
  #listeners = [];

  /** Be told which jobs changed, a few times a second at most. @param {(ids: Set<string>) => void} listener */
  subscribe(listener) {
    this.#listeners.push(listener);
  }

  /**
   * Take in a snapshot. The stream brings them in order; an answer to a request may be older
   * than what the stream has brought meanwhile, and the other way round.
   * @param {Snapshot} job
   * @param {boolean} streamed
   */
  put(job, streamed) {
    const held = this.jobs.get(job.id);
    const ordered = streamed && held?.streamed;
    if (held && !ordered && Date.parse(job.updated_at) < Date.parse(held.job.updated_at)) return;
    const retried = held && isOver(held.job) && !isOver(job);
    const live = held?.live && job.status === "processing" && held.live.phase === job.phase ? held.live : null;
    const floor = held && !retried ? held.progress : 0;
    this.jobs.set(job.id, { job, live, streamed, progress: Math.max(floor, job.progress) });
    this.#touch(job.id);
  }

  /** Take in a progress report. @param {Progress} live */
  tick(live) {
    const held = this.jobs.get(live.job_id);
    if (!held || held.job.status !== "processing" || behind(live.phase, held.job.phase)) return;
    this.jobs.set(live.job_id, { ...held, live, progress: Math.max(held.progress, live.progress) });
    this.#touch(live.job_id);
  }

  /** Forget a job that was removed. @param {string} id */
  remove(id) {
    if (this.jobs.delete(id)) this.#touch(id);
  }

  /** @param {string} id */
  #touch(id) {
    this.#changed.add(id);
    this.#timer ||= setTimeout(() => this.#flush(), BATCH);
  }

  #flush() {
    const changed = this.#changed;
    this.#changed = new Set();
    this.#timer = 0;
    for (const listener of this.#listeners) listener(changed);
  }
}

const PHASES = ["download", "separation", "finalization"];

/** @param {string} phase @param {string|null} current */
function behind(phase, current) {
  return current !== null && PHASES.indexOf(phase) < PHASES.indexOf(current);
}
