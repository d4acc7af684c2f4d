// @ts-check
/**
 * What the page knows of the jobs. Snapshots are the truth; progress between them may only
 * move a job forward, and is forgotten as soon as a snapshot has moved on.
 */

import { Changes } from "./changes.js";

/** @typedef {import("./types.js").Snapshot} Snapshot */
/** @typedef {import("./types.js").Progress} Progress */
/**
 * @typedef {object} Entry
 * @property {Snapshot} job
 * @property {number} progress what is shown, 0 to 100: never less than before, unless retried
 * @property {Progress|null} live the newest report on the current phase
 * @property {boolean} streamed whether the snapshot came with the (ordered) event stream
 */

const OVER = new Set(["completed", "failed", "cancelled"]);

/** Whether only a retry can change the job any more. @param {Snapshot} job */
export const isOver = (job) => OVER.has(job.status);

/** Whether something is being done for a job, be it in another one that it follows. @param {Snapshot} job */
export const isAtWork = ({ status, phase, follows, held }) =>
  status === "processing" || (status === "pending" && !held && follows !== null && phase !== null);

export class Store {
  /** @type {Map<string, Entry>} */
  jobs = new Map();
  #changes = new Changes();

  /** Be told which jobs changed, a few times a second at most. @param {(ids: Set<string>) => void} listener */
  subscribe(listener) {
    this.#changes.subscribe(listener);
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
    const live = held?.live && isAtWork(job) && held.live.phase === job.phase ? held.live : null;
    const floor = held && !retried ? held.progress : 0;
    const placed = held ? inItsPlace(job, held.job) : job;
    this.jobs.set(job.id, { job: placed, live, streamed, progress: Math.max(floor, job.progress) });
    this.#changes.touch(job.id);
  }

  /** Take in a progress report. @param {Progress} live */
  tick(live) {
    const held = this.jobs.get(live.job_id);
    if (!held || !isAtWork(held.job) || behind(live.phase, held.job.phase)) return;
    this.jobs.set(live.job_id, { ...held, live, progress: Math.max(held.progress, live.progress) });
    this.#changes.touch(live.job_id);
  }

  /** Take in where a waiting job stands. @param {import("./types.js").QueueNews} news */
  place(news) {
    const held = this.jobs.get(news.id);
    if (!held || isOver(held.job) || held.job.status === "processing") return;
    this.jobs.set(news.id, { ...held, job: { ...held.job, ...news } });
    this.#changes.touch(news.id);
  }

  /** Forget a job that was removed. @param {string} id */
  remove(id) {
    if (this.jobs.delete(id)) this.#changes.touch(id);
  }
}

/**
 * A record may be newer than the queue that its answer was made with: the place that is known
 * is kept until the queue says another one.
 * @param {Snapshot} job @param {Snapshot} before @returns {Snapshot}
 */
function inItsPlace(job, before) {
  const waits = job.status === "pending" && !job.held && job.follows === null;
  const same = waits && job.position === null && job.queued_at === before.queued_at;
  if (!same || before.position === null) return job;
  const { position, starts_at, eta } = before;
  return { ...job, position, starts_at, eta };
}

const PHASES = ["download", "separation", "finalization"];

/** @param {string} phase @param {string|null} current */
function behind(phase, current) {
  return current !== null && PHASES.indexOf(phase) < PHASES.indexOf(current);
}
