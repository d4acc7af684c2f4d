// @ts-check
/** Values into words. Pure: the time is always an argument. */

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

/** What a job's chip says. @param {{status: import("./types.js").Status, phase?: import("./types.js").Phase|null}} job */
export function statusWord({ status, phase }) {
  return status === "processing" && phase ? (PHASE[phase] ?? phase) : (STATUS[status] ?? status);
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

/** `3:07`, `1:02:09`. @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const h = Math.floor(whole / 3600);
  const m = Math.floor((whole % 3600) / 60);
  const s = String(whole % 60).padStart(2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
}

/** `3 minutes 7 seconds`, for screen readers. @param {number} seconds */
export function spokenTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const m = Math.floor(whole / 60);
  const parts = m ? [`${m} ${m === 1 ? "minute" : "minutes"}`] : [];
  return [...parts, `${whole % 60} seconds`].join(" ");
}

/** How long it will take still, or "" where nobody knows. @param {string|null|undefined} eta @param {number} now milliseconds */
export function timeLeft(eta, now) {
  if (!eta) return "";
  const seconds = (Date.parse(eta) - now) / 1000;
  if (!Number.isFinite(seconds)) return "";
  if (seconds < -20) return "taking longer than expected";
  if (seconds < 8) return "a few seconds left";
  if (seconds < 50) return `about ${Math.ceil(seconds / 10) * 10} s left`;
  if (seconds < 3300) return `about ${Math.max(1, Math.round(seconds / 60))} min left`;
  const hours = seconds / 3600;
  return hours < 10 ? `about ${hours.toFixed(1).replace(".0", "")} h left` : `about ${Math.round(hours)} h left`;
}

/** `just now`, `12 min ago`, then a date. @param {string|null} at @param {number} now milliseconds */
export function ago(at, now) {
  if (!at) return "";
  const seconds = (now - Date.parse(at)) / 1000;
  if (seconds < 45) return "just now";
  if (seconds < 3000) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 80000) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

/** `at 02:00`, with the day when it isn't today. @param {string} at @param {number} now milliseconds */
export function when(at, now) {
  const date = new Date(at);
  const time = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date(now).toDateString()) return `at ${time}`;
  return `${date.toLocaleDateString(undefined, { weekday: "short", day: "numeric", month: "short" })}, ${time}`;
}

/** `14:03:22`, for timelines. @param {string} at */
export function clockTime(at) {
  return new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
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
