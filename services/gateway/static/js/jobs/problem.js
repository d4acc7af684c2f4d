// @ts-check
/** What stands in the way: what happened, what exactly, and what can be done. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

/** @typedef {import("../types.js").Problem} Problem */

/** A failure. @param {Problem} problem @param {...HTMLElement} remedies */
export function problemBox(problem, ...remedies) {
  return box("problem", "alert", problem, remedies);
}

/** What is only waited for. @param {Problem} problem */
export function noteBox(problem) {
  return box("note", "pause", problem, []);
}

/** @param {"problem"|"note"} kind @param {import("../icons.js").IconName} picture @param {Problem} problem @param {HTMLElement[]} remedies */
function box(kind, picture, { code, title, detail, hint }, remedies) {
  return h("div", { class: `problem is-${kind}`, "data-testid": kind, "data-code": code },
    icon(picture),
    h("div", {},
      h("p", { class: "problem-title" }, title),
      detail ? h("p", { class: "problem-detail" }, detail) : null,
      hint ? h("p", { class: "problem-hint" }, hint) : null,
      ...remedies));
}
