// @ts-check
/** A failure: what happened, what exactly, and what can be done. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

/** @param {import("../types.js").Problem} problem */
export function problemBox({ code, title, detail, hint }) {
  return h("div", { class: "problem", "data-testid": "problem", "data-code": code },
    icon("alert"),
    h("div", {},
      h("p", { class: "problem-title" }, title),
      detail ? h("p", { class: "problem-detail" }, detail) : null,
      hint ? h("p", { class: "problem-hint" }, hint) : null));
}
