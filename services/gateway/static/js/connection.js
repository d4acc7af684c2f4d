// @ts-check
/** The line that says whether what is seen is live. */

import { setData, setText } from "./dom.js";

/** @type {Record<import("./events.js").Connection, string>} */
const WORDS = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  offline: "Offline",
};

/** @param {HTMLElement} element @returns {(state: import("./events.js").Connection) => void} */
export function connectionLine(element) {
  const text = /** @type {HTMLElement} */ (element.querySelector(".connection-text"));
  return (state) => {
    setData(element, "state", state);
    setText(text, WORDS[state]);
  };
}
