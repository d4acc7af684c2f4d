// @ts-check
/** What can be done with a job: a row of buttons that follows its state. */

import { bundleUrl } from "../api/jobs.js";
import { Confirmation, deedButton } from "../button.js";
import { freshId, h } from "../dom.js";
import { icon } from "../icons.js";
import { isSoon } from "../player/playable.js";
import { isAtWork } from "../store.js";

/** @typedef {import("../types.js").Snapshot} Snapshot */
/** @typedef {import("../types.js").Priority} Priority */
/** @typedef {"player"|"front"|"hold"|"release"|"priority"|"retry"|"cancel"|"delete"|"confirm"|"bundle"} Name */
/**
 * @typedef {object} JobDeeds
 * @property {(id: string, verb: import("../api/jobs.js").Verb) => Promise<void>} command
 * @property {(id: string, priority: Priority) => Promise<void>} prioritize
 * @property {(id: string) => Promise<void>} remove
 * @property {(id: string, mount: HTMLElement) => void} togglePlayer
 */

/** @type {[Priority, string][]} */
export const PRIORITIES = [["high", "High"], ["normal", "Normal"], ["low", "Low"]];

/** @type {Partial<Record<Name, Name>>} */
const TWINS = { hold: "release", release: "hold", retry: "cancel", cancel: "retry", confirm: "delete" };

export class Actions {
  element = h("div", { class: "actions" });
  #id;
  #about;
  #on;
  #mount;
  /** @type {Map<Name, HTMLElement>} */
  #made = new Map();
  /** @type {Name[]} */
  #shown = [];
  #asking = false;
  /** @type {Snapshot|null} */
  #job = null;
  #open = false;

  /** @param {string} id @param {string} about id of the title @param {HTMLElement} mount of the player @param {JobDeeds} on */
  constructor(id, about, mount, on) {
    this.#id = id;
    this.#about = about;
    this.#mount = mount;
    this.#on = on;
  }

  /** @param {Snapshot} job @param {boolean} open whether its player is open */
  update(job, open) {
    this.#job = job;
    this.#open = open;
    const can = possible(job);
    this.#asking &&= can.includes("delete");
    this.#show(this.#asking ? ["confirm"] : can);
    const front = /** @type {HTMLButtonElement|undefined} */ (this.#made.get("front"));
    if (front && front !== document.activeElement) front.disabled = job.position === 1;
    const select = this.#made.get("priority")?.querySelector("select");
    if (select && select !== document.activeElement) select.value = job.priority;
    const player = this.#made.get("player");
    if (player) this.#drawPlayer(player);
  }

  /** @param {Name[]} names */
  #show(names) {
    if (names.join() === this.#shown.join()) return;
    const had = this.#shown.find((name) => this.#made.get(name)?.contains(document.activeElement));
    this.#shown = names;
    this.element.replaceChildren(...names.map((name) => this.#get(name)));
    if (!had) return;
    const next = names.includes(had) ? had : names.find((name) => name === TWINS[had]) ?? names[0];
    const heir = next && this.#made.get(next);
    (heir?.matches("button") ? heir : heir?.querySelector("button"))?.focus();
  }

  /** @param {Name} name */
  #get(name) {
    const made = this.#made.get(name) ?? this.#make(name);
    this.#made.set(name, made);
    return made;
  }

  /** @param {Name} name @returns {HTMLElement} */
  #make(name) {
    const about = this.#about;
    const say = (/** @type {import("../api/jobs.js").Verb} */ verb) => () => this.#on.command(this.#id, verb);
    switch (name) {
      case "player": return this.#makePlayer();
      case "bundle": return this.#makeBundle();
      case "front": return deedButton({ testid: "front", picture: icon("front"), words: "To the front", about, deed: say("front") });
      case "hold": return deedButton({ testid: "hold", picture: icon("pause"), words: "Hold", about, deed: say("hold") });
      case "release": return deedButton({ testid: "release", picture: icon("play"), words: "Release", about, kind: "primary", deed: say("release") });
      case "priority": return this.#makePriority();
      case "retry": return deedButton({ testid: "retry", picture: icon("retry"), words: "Retry", about, deed: say("retry") });
      case "cancel": return deedButton({ testid: "cancel", picture: icon("stop"), words: "Cancel", about, deed: say("cancel") });
      case "delete": return deedButton({ testid: "delete", picture: icon("bin"), words: "Delete", about, kind: "icon-only", deed: () => this.#ask(true) });
      case "confirm": return this.#makeConfirmation().element;
    }
  }

  #makeBundle() {
    const words = h("span", { id: freshId("bundle") }, "Download all");
    return h("a", {
      class: "button",
      href: this.#job ? bundleUrl(this.#job) : "",
      download: "",
      "data-testid": "bundle",
      "aria-labelledby": `${words.id} ${this.#about}`,
    }, icon("download"), words);
  }

  #makePlayer() {
    const button = h("button", { type: "button", "data-testid": "open-player", onclick: () => this.#on.togglePlayer(this.#id, this.#mount) });
    this.#drawPlayer(button);
    return button;
  }

  /** @param {HTMLElement} button */
  #drawPlayer(button) {
    const open = this.#open;
    const words = open ? "Close the mixer" : this.#job && isAtWork(this.#job) ? "Listen to what is ready" : "Open the mixer";
    if (button.textContent === words) return;
    button.className = `button ${open ? "" : "primary"}`;
    button.setAttribute("aria-expanded", String(open));
    button.replaceChildren(icon(open ? "close" : "sliders"), words);
  }

  #makePriority() {
    const id = freshId("priority");
    const select = h("select", {
      "data-testid": "priority",
      "aria-labelledby": `${id} ${this.#about}`,
      onchange: async () => {
        await this.#on.prioritize(this.#id, /** @type {Priority} */ (select.value));
        select.value = this.#job?.priority ?? "normal";
      },
    }, ...PRIORITIES.map(([value, label]) => h("option", { value }, label)));
    return h("label", { class: "priority" }, h("span", { id }, "Priority"), select);
  }

  #makeConfirmation() {
    const yes = deedButton({ testid: "confirm-delete", words: "Delete for good", kind: "danger", about: this.#about, deed: () => this.#on.remove(this.#id) });
    return new Confirmation({ question: "Delete this song and its stems?", yes, no: "Keep", onno: () => this.#ask(false) });
  }

  /** @param {boolean} asking */
  #ask(asking) {
    this.#asking = asking;
    if (this.#job) this.update(this.#job, this.#open);
    const heir = asking ? "keep" : "delete";
    /** @type {HTMLElement|null} */ (this.element.querySelector(`[data-testid=${heir}]`))?.focus();
  }
}

/** @param {Snapshot} job @returns {Name[]} */
function possible(job) {
  const { status, stems, held } = job;
  switch (status) {
    case "pending":
      if (isAtWork(job)) return isSoon(job) ? ["player", "hold", "cancel"] : ["hold", "cancel"];
      return [held ? "release" : "hold", "front", "priority", "cancel"];
    case "scheduled": return [held ? "release" : "hold", "priority", "cancel"];
    case "processing": return isSoon(job) ? ["player", "cancel"] : ["cancel"];
    case "completed": return stems.length ? ["player", "bundle", "delete"] : ["delete"];
    default: return ["retry", "delete"];
  }
}
