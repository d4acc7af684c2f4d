// @ts-check
/** Model, stems and format: hidden until asked for, remembered between visits. */

import { freshId, h, setText } from "../dom.js";
import { stemClass, stemLabel } from "../format.js";

/** @typedef {import("../types.js").Model} Model */
/** @typedef {import("../types.js").Options} Options */

const KEY = "stembus.options";
const INSTRUMENTAL = "instrumental";

/** @type {[import("../types.js").Format, string, string][]} */
const FORMATS = [
  ["flac", "FLAC", "Lossless, about half the size of WAV"],
  ["wav", "WAV", "Lossless and large, 24 bits, for any editor"],
  ["wav16", "WAV 16 bit", "As on a CD, for old devices"],
  ["wav32f", "WAV float", "Largest, exactly as computed, can't clip"],
  ["mp3", "MP3", "Small, plays everywhere"],
  ["opus", "Opus", "Smallest for its quality"],
  ["m4a", "M4A", "AAC, for Apple's players"],
];

export class OptionsPanel {
  /** @type {Model[]} */
  #models = [];
  #chosen = recall();
  #select = h("select", { id: freshId("model"), name: "model", onchange: () => this.#pickModel() });
  #about = h("p", { class: "quiet" });
  #stems = h("div", { class: "choices" });
  #formatNote = h("p", { class: "quiet" });
  #summary = h("span", { class: "options-summary quiet" });

  /** @param {() => void} onopen what is on offer may have changed */
  constructor(onopen) {
    this.element = h(
      "details",
      { class: "options", "data-testid": "options", ontoggle: () => this.element.open && onopen() },
      h("summary", {}, h("span", { class: "options-title" }, "Options"), this.#summary),
      h(
        "div",
        { class: "options-body" },
        h("div", { class: "field" }, h("label", { for: this.#select.id }, "Model"), this.#select, this.#about),
        h("fieldset", { class: "field" }, h("legend", {}, "Stems"), this.#stems,
          h("p", { class: "quiet" }, "Choose none to get every stem that the model makes.")),
        h("fieldset", { class: "field" }, h("legend", {}, "Format"), this.#formats(), this.#formatNote),
      ),
    );
    this.#draw();
  }

  /** What a song is submitted with. @returns {Options} */
  get value() {
    const possible = new Set(this.#possible());
    return { ...this.#chosen, stems: this.#chosen.stems.filter((stem) => possible.has(stem)) };
  }

  /** Show what the server offers. @param {import("../types.js").Models} offer */
  offer(offer) {
    this.#models = offer.models;
    this.#draw();
  }

  #draw() {
    const named = this.#models.filter((model) => model.name !== "auto");
    const known = this.#chosen.model === "auto" || named.some((model) => model.name === this.#chosen.model);
    if (this.#models.length && !known) this.#chosen.model = "auto";
    this.#select.replaceChildren(
      h("option", { value: "auto" }, "Automatic: the best at hand"),
      ...named.map((model) =>
        h("option", { value: model.name }, `${model.name}${model.ready ? "" : " (weights are fetched first)"}`)),
    );
    this.#select.value = this.#chosen.model;
    this.#drawStems();
    this.#describe();
  }

  #pickModel() {
    this.#chosen.model = this.#select.value;
    this.#drawStems();
    this.#keep();
  }

  /** The stems on offer: the chosen model's; for `auto`, those that every model makes. */
  #possible() {
    const model = this.#models.find((each) => each.name === this.#chosen.model);
    if (model) return stemsOf(model);
    const [first, ...rest] = this.#models.map(stemsOf);
    return (first ?? []).filter((stem) => rest.every((stems) => stems.includes(stem)));
  }

  #drawStems() {
    this.#stems.replaceChildren(
      ...this.#possible().map((stem) =>
        h("label", { class: `choice ${stemClass(stem)}` },
          h("input", {
            type: "checkbox",
            name: "stem",
            value: stem,
            checked: this.#chosen.stems.includes(stem),
            onchange: (/** @type {Event} */ event) => this.#pickStem(stem, /** @type {HTMLInputElement} */ (event.target).checked),
          }),
          h("span", {}, stemLabel(stem)))),
    );
  }

  /** @param {string} stem @param {boolean} on */
  #pickStem(stem, on) {
    const others = this.#chosen.stems.filter((each) => each !== stem);
    this.#chosen.stems = on ? [...others, stem] : others;
    this.#keep();
  }

  #formats() {
    return h("div", { class: "choices" },
      ...FORMATS.map(([value, label]) =>
        h("label", { class: "choice" },
          h("input", {
            type: "radio",
            name: "format",
            value,
            checked: this.#chosen.format === value,
            onchange: () => {
              this.#chosen.format = value;
              this.#keep();
            },
          }),
          h("span", {}, label))));
  }

  #keep() {
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#chosen));
    } catch {
      // Storage may be full or forbidden; the choice then holds for this visit.
    }
    this.#describe();
  }

  #describe() {
    const { model, stems, format } = this.value;
    const [, label, note] = FORMATS.find(([value]) => value === format) ?? FORMATS[0];
    setText(this.#summary, [
      model === "auto" ? "automatic model" : model,
      stems.length ? stems.map(stemLabel).join(", ").toLowerCase() : "all stems",
      label,
    ].join(" · "));
    setText(this.#formatNote, note);
    setText(this.#about, this.#models.find((each) => each.name === model)?.description ?? "");
  }
}

/** @param {Model} model */
function stemsOf(model) {
  return model.stems ?? [...model.sources, INSTRUMENTAL];
}

/** @returns {Options} */
function recall() {
  /** @type {Options} */
  const usual = { model: "auto", stems: [], format: "flac" };
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return {
      model: typeof kept.model === "string" ? kept.model : usual.model,
      stems: Array.isArray(kept.stems) ? kept.stems.filter((/** @type {unknown} */ stem) => typeof stem === "string") : [],
      format: FORMATS.some(([value]) => value === kept.format) ? kept.format : usual.format,
    };
  } catch {
    return usual;
  }
}
