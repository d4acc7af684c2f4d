// @ts-check
/** The form: addresses in, jobs out. Files go to the uploads. */

import { problemOf } from "../api.js";
import { freshId, h, setText } from "../dom.js";
import { icon } from "../icons.js";
import { readAddresses } from "./addresses.js";

const ACCEPT = "audio/*,video/*,.flac,.wav,.mp3,.m4a,.aac,.ogg,.opus,.aiff,.aif,.wma,.mkv,.mp4,.webm,.mov";

export class Composer {
  #input = h("input", {
    id: freshId("address"),
    type: "text",
    inputMode: "url",
    autocomplete: "off",
    spellcheck: false,
    placeholder: "https://…",
    "aria-describedby": "compose-message",
    "data-testid": "url",
    oninput: () => this.#say(""),
  });
  #message = h("p", { id: "compose-message", class: "compose-message", role: "alert", "data-testid": "compose-message" });
  #submit = h("button", { type: "submit", class: "button primary", "data-testid": "submit" }, "Separate");
  #deps;

  /**
   * @param {{
   *   options: import("./options.js").OptionsPanel,
   *   submit: (source: import("../types.js").Source) => Promise<void>,
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
        h("label", { class: "unseen", for: this.#input.id }, "Address of a song or video; several with spaces between them"),
        this.#input,
        this.#submit),
      h("div", { class: "composer-or" },
        picker,
        h("button", { type: "button", class: "button plain", "data-testid": "choose", onclick: () => picker.click() }, icon("file"), "Choose files"),
        h("span", { class: "quiet" }, "or drop them anywhere on this page")),
      this.#message,
      deps.options.element,
    );
    this.#input.addEventListener("paste", (event) => this.#onpaste(event));
    document.addEventListener("paste", (event) => this.#onpagepaste(event));
  }

  /** Put an address into the field, ready to send. @param {string} text */
  suggest(text) {
    this.#input.value = text;
    this.#input.focus();
    this.#say("");
  }

  /** @param {ClipboardEvent} event a list pasted into one line would lose its line ends */
  #onpaste(event) {
    const text = event.clipboardData?.getData("text") ?? "";
    if (!/\n/.test(text.trim())) return;
    event.preventDefault();
    this.#input.setRangeText(text.trim().split(/\s+/).join(" "), this.#input.selectionStart ?? 0, this.#input.selectionEnd ?? 0, "end");
    this.#say("");
  }

  /** @param {ClipboardEvent} event an address or files pasted anywhere else on the page */
  #onpagepaste(event) {
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) return;
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) this.#deps.files(files);
    else {
      const { urls } = readAddresses(event.clipboardData?.getData("text") ?? "");
      if (urls.length) this.suggest(urls.join(" "));
    }
  }

  /** @param {Event} event */
  async #onsubmit(event) {
    event.preventDefault();
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
    this.#submit.disabled = true;
    this.#say("");
    const left = [...urls];
    try {
      for (const url of urls) {
        await this.#deps.submit({ url });
        left.shift();
      }
    } catch (error) {
      const { title, detail, hint } = problemOf(error);
      this.#say([detail ? `${title}: ${detail}.` : `${title}.`, hint].filter(Boolean).join(" ").replaceAll("..", "."));
    } finally {
      this.#input.value = left.join(" ");
      this.#submit.disabled = false;
    }
  }

  /** @param {string} text */
  #say(text) {
    setText(this.#message, text);
    this.#input.toggleAttribute("aria-invalid", Boolean(text));
  }
}
