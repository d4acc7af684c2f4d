// @ts-check
/** Buttons that do something that takes its time. */

import { freshId, h } from "./dom.js";

/**
 * A button that is pressed once at a time, and keeps the focus meanwhile.
 * @param {object} it
 * @param {string} it.testid
 * @param {Element|null} [it.picture]
 * @param {string} it.words
 * @param {string} [it.about] id of the element that says what it is about; becomes part of the name
 * @param {string} [it.kind] more classes
 * @param {() => Promise<unknown>|void} it.deed
 */
export function deedButton({ testid, picture = null, words, about, kind = "", deed }) {
  const id = freshId(testid);
  const bare = kind.includes("icon-only");
  const button = h("button", {
    type: "button",
    id,
    class: `button ${kind}`.trim(),
    title: bare ? words : undefined,
    "data-testid": testid,
    "aria-labelledby": about ? `${id} ${about}` : undefined,
    onclick: async () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      button.setAttribute("aria-disabled", "true");
      try {
        await deed();
      } finally {
        button.removeAttribute("aria-disabled");
      }
    },
  }, picture, h("span", bare ? { class: "unseen" } : {}, words));
  return button;
}

/** Asks once more before something is done that can't be undone. */
export class Confirmation {
  #no;

  /** @param {{question: string, yes: HTMLButtonElement, no: string, onno: () => void}} it */
  constructor({ question, yes, no, onno }) {
    const id = freshId("question");
    this.#no = h("button", { type: "button", class: "button", "data-testid": "keep", onclick: onno }, no);
    this.element = h("div", {
      class: "confirm",
      role: "group",
      "aria-labelledby": id,
      "data-testid": "confirm",
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onno();
      },
    }, h("p", { id, class: "confirm-question" }, question), yes, this.#no);
    this.#no.setAttribute("aria-describedby", id);
  }

  /** The harmless answer has the focus. */
  focus() {
    this.#no.focus();
  }
}
