// @ts-check
/** Times into words. Pure: the present is always an argument. */

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

/** The same for the middle of a sentence: `02:00`. @param {string} at @param {number} now milliseconds */
export function moment(at, now) {
  return when(at, now).replace(/^at /, "");
}

/** `14:03:22`, for timelines. @param {string} at */
export function clockTime(at) {
  return new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** When something is likely to happen: `in about 5 min`, further off `at 14:20`. @param {string|null|undefined} at @param {number} now milliseconds */
export function soon(at, now) {
  if (!at) return "";
  const seconds = (Date.parse(at) - now) / 1000;
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 8) return "in a few seconds";
  if (seconds < 50) return `in about ${Math.ceil(seconds / 10) * 10} s`;
  if (seconds < 3300) return `in about ${Math.max(1, Math.round(seconds / 60))} min`;
  return `about ${moment(at, now)}`;
}

/** A stretch of time: `0.8 s`, `42 s`, `3 min`, `1.5 h`. @param {number|null|undefined} seconds */
export function stretch(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  if (seconds < 5970) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
