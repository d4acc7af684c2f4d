// @ts-check
/** Words that come and go: what changed, for those who don't see it, and what was refused. */

import { h, setText } from "./dom.js";
import { batchTitle, batchWord, counted, stateWord, titleOf } from "./format.js";
import { icon } from "./icons.js";

/** How long a refusal stays on the screen, in milliseconds. */
const STAY = 9000;
/** Changes within this many milliseconds are said in one breath. */
const BREATH = 1200;
/** More changes than this at a time are counted, not named. */
const NAMED = 3;

/** @param {HTMLElement} region heard, not seen @param {HTMLElement} notices seen and heard */
export function announcer(region, notices) {
  /** @type {Map<string, string>} */
  const known = new Map();
  /** What has changed since something was said last, by job. @type {Map<string, {title: string, word: string}>} */
  const news = new Map();
  let timer = 0;
  const waiting = h("p", { class: "notice", role: "status", hidden: true, "data-testid": "notice-wait" });
  notices.append(waiting);
  /** @param {string} text */
  const say = (text) => {
    region.textContent = text;
  };
  const tell = () => {
    timer = 0;
    const changes = [...news.values()];
    news.clear();
    if (changes.length <= NAMED) {
      say(changes.map(({ title, word }) => `${title}: ${word}`).join(". "));
      return;
    }
    const words = [...new Set(changes.map(({ word }) => word))];
    say(words.map((word) => `${counted(changes.filter((change) => change.word === word).length, "song")} ${word}`).join(", "));
  };
  /** @param {string} id @param {string} title @param {string} state */
  const learn = (id, title, state) => {
    const word = state.toLowerCase();
    const before = known.get(id);
    known.set(id, word);
    if (before === undefined || before === word) return;
    news.set(id, { title, word });
    timer ||= setTimeout(tell, BREATH);
  };
  return {
    say,
    /** @param {string} text */
    warn(text) {
      const notice = h("p", { class: "notice", role: "alert", "data-testid": "notice" }, icon("alert"), h("span", {}, text));
      notices.append(notice);
      setTimeout(() => notice.remove(), STAY);
    },
    /** @param {import("./types.js").Snapshot} job */
    job(job) {
      learn(job.id, titleOf(job), stateWord(job));
    },
    /** @param {import("./types.js").Batch} batch */
    batch(batch) {
      learn(batch.id, batchTitle(batch), batchWord(batch));
    },
    /** The server asks for patience: said once, counted down in silence. @param {import("./api/patience.js").Wait|null} wait */
    wait(wait) {
      waiting.hidden = wait === null;
      if (!wait) return;
      if (waiting.dataset.code !== wait.problem.code) {
        waiting.dataset.code = wait.problem.code;
        waiting.replaceChildren(icon("clock"), h("span", {}, `${wait.problem.title}.`), h("span", { "aria-hidden": "true" }));
      }
      setText(/** @type {Element} */ (waiting.lastElementChild), `Trying again in ${wait.seconds} s.`);
    },
    /** @param {string} id of a job that was removed */
    forget(id) {
      known.delete(id);
      news.delete(id);
    },
  };
}
