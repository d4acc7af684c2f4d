// @ts-check
/** Words that come and go: status changes for those who don't see them, and what was refused. */

import { h } from "./dom.js";
import { statusWord, titleOf } from "./format.js";
import { icon } from "./icons.js";

/** How long a refusal stays on the screen, in milliseconds. */
const STAY = 9000;

/** @param {HTMLElement} region heard, not seen @param {HTMLElement} notices seen and heard */
export function announcer(region, notices) {
  /** @type {Map<string, string>} */
  const known = new Map();
  /** @param {string} text */
  const say = (text) => {
    region.textContent = text;
  };
  return {
    say,
    /** @param {string} text */
    warn(text) {
      const notice = h("p", { class: "notice", "data-testid": "notice" }, icon("alert"), text);
      notices.append(notice);
      setTimeout(() => notice.remove(), STAY);
    },
    /** @param {import("./types.js").Snapshot} job */
    job(job) {
      const word = statusWord(job);
      const before = known.get(job.id);
      known.set(job.id, word);
      if (before !== undefined && before !== word) say(`${titleOf(job)}: ${word.toLowerCase()}`);
    },
  };
}
