// @ts-check
/** The form: addresses in, jobs out. Files go to the uploads. */

import { problemOf, sentences } from "../api/http.js";
import { FormKey } from "../api/key.js";
import { freshId, h, setText } from "../dom.js";
import { icon } from "../icons.js";
import { WaitLine } from "../waitline.js";
import { readAddresses } from "./addresses.js";

const ACCEPT = "audio/*,video/*,.flac,.wav,.mp3,.m4a,.aac,.ogg,.opus,.aiff,.aif,.wma,.mkv,.mp4,.webm,.mov";
/** Lines that the field grows to; more are scrolled. */
const LINES = 8;

export class Composer {
  #input = h("textarea", {
    id: freshId("address"),
    rows: 1,
    wrap: "off",
    inputMode: "url",
    autocomplete: "off",
    spellcheck: false,
    placeholder: "https://…",
    enterKeyHint: "go",
    "aria-describedby": "compose-message compose-count",
    "data-testid": "url",
    oninput: () => this.#typed(),
    onkeydown: (/** @type {KeyboardEvent} */ event) => this.#onkey(event),
  });
  #message = h("p", { id: "compose-message", class: "compose-message", role: "alert", "data-testid": "compose-message" });
  #count = h("span", { id: "compose-count", class: "quiet", "data-testid": "compose-count" });
  #submit = h("button", { type: "submit", class: "button primary", "data-testid": "submit" }, "Separate");
  #wait = new WaitLine(() => this.#abort.abort());
  #abort = new AbortController();
  #key = new FormKey();
  #busy = false;
  #deps;

  /**
   * @param {{
   *   options: import("./options.js").OptionsPanel,
   *   terms: import("./terms.js").TermsPanel,
   *   submitter: import("../submit.js").Submitter,
   *   files: (files: File[]) => void,
   * }} deps
   */
  constructor(deps) {
    this.#deps = deps;
    const picker = h("input", {
      type: "file",
      multiple: true,
      accept: ACCEPT,
      class: "unseen",
      tabIndex: -1,
      "aria-hidden": "true",
      "data-testid": "file",
      onchange: () => {
        deps.files([...(picker.files ?? [])]);
        picker.value = "";
      },
    });
    this.element = h(
      "form",
      { class: "composer", "data-testid": "composer", noValidate: true, onsubmit: (/** @type {Event} */ event) => this.#onsubmit(event) },
      h("div", { class: "composer-row" },
        h("label", { class: "unseen", for: this.#input.id }, "Address of a song or video; several with one on each line"),
        this.#input,
        this.#submit),
      h("div", { class: "composer-or" },
        picker,
        h("button", { type: "button", class: "button plain", "data-testid": "choose", onclick: () => picker.click() }, icon("file"), "Choose files"),
        h("span", { class: "quiet composer-drop" }, "or drop them anywhere on this page"),
        this.#count),
      this.#message,
      this.#wait.element,
      h("div", { class: "composer-options" }, deps.options.element, deps.terms.element),
    );
    document.addEventListener("paste", (event) => this.#onpagepaste(event));
  }

  /** Put addresses into the field, ready to send. @param {string} text */
  suggest(text) {
    this.#input.value = text;
    this.#input.focus();
    this.#typed();
  }

  #typed() {
    this.#say("");
    const { urls } = readAddresses(this.#input.value);
    this.#input.rows = Math.min(LINES, this.#input.value.split("\n").length);
    setText(this.#count, urls.length > 1 ? `${urls.length} songs, taken as one batch` : "");
  }

  /** @param {KeyboardEvent} event Enter sends, Shift+Enter begins another line */
  #onkey(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.element.requestSubmit();
  }

  /** @param {ClipboardEvent} event an address or files pasted anywhere else on the page */
  #onpagepaste(event) {
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) return;
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) this.#deps.files(files);
    else {
      const { urls } = readAddresses(event.clipboardData?.getData("text") ?? "");
      if (urls.length) this.suggest(urls.join("\n"));
    }
  }

  /** @param {Event} event */
  async #onsubmit(event) {
    event.preventDefault();
    if (this.#busy) return;
    const { urls, wrong } = readAddresses(this.#input.value);
    if (wrong.length) {
      this.#say(`“${wrong[0].slice(0, 80)}” is not a web address. It should begin with https://`);
      return;
    }
    if (!urls.length) {
      this.#say("Paste the address of a song first, or choose a file.");
      this.#input.focus();
      return;
    }
    const { options, terms } = this.#deps;
    if (terms.playlist && urls.length > 1) {
      this.#say("Give one playlist at a time.");
      return;
    }
    await this.#send({ sources: urls.map((url) => ({ url })), playlist: terms.playlist, options: options.value, terms: terms.value });
  }

  /** @param {import("../submit.js").Order} order */
  async #send(order) {
    const sent = this.#input.value;
    this.#setBusy(true);
    this.#say("");
    this.#abort = new AbortController();
    try {
      await this.#deps.submitter.send(order, this.#key.of(order), { onwait: (wait) => this.#wait.show(wait), signal: this.#abort.signal });
      this.#key.spent();
      this.#deps.terms.reset();
      if (this.#input.value === sent) this.#input.value = "";
      this.#typed();
    } catch (error) {
      this.#say(sentences(problemOf(error)));
    } finally {
      this.#setBusy(false);
    }
  }

  /** @param {boolean} busy the button keeps the focus */
  #setBusy(busy) {
    this.#busy = busy;
    if (busy) this.#submit.setAttribute("aria-disabled", "true");
    else this.#submit.removeAttribute("aria-disabled");
  }

  /** @param {string} text */
  #say(text) {
    setText(this.#message, text);
    this.#input.toggleAttribute("aria-invalid", Boolean(text));
  }
}
