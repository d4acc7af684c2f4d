// @ts-check
/** What the server asks to wait for is waited for, in sight of the user and within bounds. */

import { ApiError } from "./http.js";

/** @typedef {{problem: import("../types.js").Problem, seconds: number}} Wait */

/** How often the same is asked. */
const TRIES = 8;
/** Seconds that are waited for without asking the user; a longer time is for them to decide on. */
const LONGEST = 120;
/** All pages of a busy server are told the same time: each adds up to this share of its own. */
const SPREAD = 0.2;

/**
 * Ask, and ask again when the server has said after how long (429, 503 with Retry-After).
 * @template T
 * @param {() => Promise<T>} attempt asks the same each time: with one Idempotency-Key, or for something that is the same twice
 * @param {(wait: Wait|null) => void} onwait told every second that is waited, and null when the waiting is over
 * @param {AbortSignal} [signal] ends the waiting: the refusal then stands
 * @returns {Promise<T>}
 */
export async function patiently(attempt, onwait, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      const seconds = error instanceof ApiError ? error.retryAfter : null;
      if (seconds === null || seconds > LONGEST || tries === TRIES) throw error;
      await countDown(seconds * (1 + Math.random() * SPREAD), (left) => onwait({ problem: /** @type {ApiError} */ (error).problem, seconds: left }), signal);
      onwait(null);
      if (signal?.aborted) throw error;
    }
  }
}

/** @param {number} seconds @param {(left: number) => void} onsecond @param {AbortSignal} [signal] */
async function countDown(seconds, onsecond, signal) {
  const until = performance.now() + seconds * 1000;
  for (let left = seconds * 1000; left > 0 && !signal?.aborted; left = until - performance.now()) {
    onsecond(Math.ceil(left / 1000));
    await pause(Math.min(left, 1000), signal);
  }
}

/** @param {number} milliseconds @param {AbortSignal} [signal] @returns {Promise<void>} */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
