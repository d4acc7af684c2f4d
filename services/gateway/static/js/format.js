// @ts-check
/** Values into words. Pure. */

import { isSoon } from "./player/playable.js";

/** @typedef {import("./types.js").Snapshot} Snapshot */

/** @type {Record<import("./types.js").Status, string>} */
const STATUS = {
  scheduled: "Scheduled",
  pending: "Waiting",
  processing: "Working",
  completed: "Ready",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** @type {Record<import("./types.js").Phase, string>} */
const PHASE = { download: "Downloading", separation: "Separating", finalization: "Finishing" };

/** @type {Record<import("./types.js").Activity, string>} */
const ACTIVITY = {
  fetching: "Fetching the song",
  decoding: "Decoding",
  storing: "Storing",
  fetching_weights: "Fetching the model's weights",
  loading_model: "Loading the model",
  separating: "Separating",
  encoding: "Encoding the stems",
};

/** A status, or what a working job is at. @param {{status: import("./types.js").Status, phase?: import("./types.js").Phase|null}} moment */
export function statusWord({ status, phase }) {
  return status === "processing" && phase ? (PHASE[phase] ?? phase) : (STATUS[status] ?? status);
}

/** @type {Record<import("./types.js").BatchState, string>} */
const BATCH = { expanding: "Reading", processing: "Working", completed: "Ready", failed: "Failed", cancelled: "Cancelled" };

/** What a batch's chip says. @param {import("./types.js").Batch} batch */
export function batchWord({ state }) {
  return BATCH[state] ?? state;
}

/** A batch's name for people. @param {import("./types.js").Batch} batch */
export function batchTitle({ title, playlist, jobs }) {
  return title?.trim() || (playlist ? shortUrl(playlist) : counted(jobs.length, "song"));
}

/** What a job's chip says. @param {Snapshot} job */
export function chipWord(job) {
  return isKept(job) ? "On hold" : statusWord(job);
}

/** What is announced of a job: words that change a few times in its life. @param {Snapshot} job */
export function stateWord(job) {
  if (isKept(job)) return "On hold";
  return isSoon(job) ? "Working, and its beginning can be heard" : statusWord({ status: job.status });
}

/** @param {Snapshot} job */
const isKept = ({ status, held }) => held && (status === "pending" || status === "scheduled");

/** A code where nothing else is said: `source.not_found` → `Source: not found`. @param {string} code */
export function codeWords(code) {
  const [place, ...rest] = code.replaceAll("_", " ").split(".");
  const words = rest.join(" ");
  return `${place.charAt(0).toUpperCase()}${place.slice(1)}${words ? `: ${words}` : ""}`;
}

/** `1st`, `2nd`, `13th`. @param {number} number */
export function ordinal(number) {
  const tail = number % 100 > 10 && number % 100 < 14 ? "th" : (["th", "st", "nd", "rd"][number % 10] ?? "th");
  return `${number.toLocaleString("en")}${tail}`;
}

/** `1 song`, `12 songs`. @param {number} count @param {string} noun */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** @param {import("./types.js").Activity} activity */
export function activityWords(activity) {
  return ACTIVITY[activity] ?? String(activity);
}

/** A job's name for people, before and after its metadata is known. @param {Snapshot} job @param {string} [filename] */
export function titleOf(job, filename) {
  const title = job.metadata?.title?.trim();
  if (title) return title;
  if (job.source.url) return shortUrl(job.source.url);
  return filename || "Uploaded file";
}

/** An address without its scheme and without much of its tail. @param {string} address */
export function shortUrl(address) {
  try {
    const url = new URL(address);
    const tail = url.pathname === "/" ? "" : url.pathname;
    return `${url.host.replace(/^www\./, "")}${tail}${url.search}`;
  } catch {
    return address;
  }
}

/** `8.4 MB`. @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = -1;
  do {
    value /= 1000;
    unit += 1;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A gain as decibels: `0.0 dB`, `−∞ dB`. @param {number} gain */
export function decibels(gain) {
  if (gain <= 0.0005) return "−∞ dB";
  const db = 20 * Math.log10(gain);
  const rounded = Math.abs(db) < 0.05 ? 0 : db;
  return `${rounded < 0 ? "−" : rounded > 0 ? "+" : ""}${Math.abs(rounded).toFixed(1)} dB`;
}

/** `vocals` → `Vocals`. @param {string} name */
export function stemLabel(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const STEM_CLASSES = ["vocals", "drums", "bass", "other", "guitar", "piano", "instrumental"];

/** The class that gives a stem its colour; a stem nobody foresaw gets one by its name. @param {string} name */
export function stemClass(name) {
  if (STEM_CLASSES.includes(name)) return `stem-${name}`;
  let sum = 0;
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return `stem-${STEM_CLASSES[sum % 6]}`;
}
