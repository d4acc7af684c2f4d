// @ts-check
/** Which jobs have something to listen to. Pure. */

import { isAtWork } from "../store.js";

/** @typedef {import("../types.js").Snapshot} Snapshot */

/** Whether the song is being taken apart: then what is done of it can be heard. @param {Snapshot} job */
export function isGrowing(job) {
  return isAtWork(job) && (job.phase === "separation" || job.phase === "finalization");
}

/** Whether the first piece is there, and more will follow. @param {Snapshot} job */
export function isSoon(job) {
  return isGrowing(job) && (job.separation?.pieces_ready ?? 0) > 0 && job.seconds !== null;
}

/** Seconds from the beginning that can be heard. @param {Snapshot} job */
export function readySeconds({ separation, seconds }) {
  if (!separation || seconds === null) return 0;
  const { pieces_ready, piece_seconds, chunks } = separation;
  return pieces_ready < chunks ? Math.min(seconds, pieces_ready * piece_seconds) : seconds;
}
