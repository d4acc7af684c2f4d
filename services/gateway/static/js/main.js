// @ts-check
/** Where the page's parts meet. */

import * as api from "./api.js";
import { announcer } from "./announce.js";
import { Composer } from "./compose/composer.js";
import { acceptDrops } from "./compose/drop.js";
import { OptionsPanel } from "./compose/options.js";
import { Uploads } from "./compose/uploads.js";
import { connectionLine } from "./connection.js";
import { Events } from "./events.js";
import { JobList } from "./jobs/list.js";
import { PlayerHost } from "./player/host.js";
import { Store } from "./store.js";

/** Milliseconds before the first page is asked for again. */
const RETRY = 3000;

/** @param {string} id @returns {HTMLElement} */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const store = new Store();
const connection = connectionLine(element("connection"));
const announce = announcer(element("live"), element("notices"));
const options = new OptionsPanel(() => offerModels());
/** File names of this visit's uploads, until the jobs have their metadata. @type {Map<string, string>} */
const filenames = new Map();
/** @type {string|null} */
let cursor = null;
let modelsTimer = 0;

const players = new PlayerHost((id, open) => list.card(id)?.playing(open));

const list = new JobList(element("jobs"), element("songs-count"), store, {
  async command(id, verb) {
    try {
      const job = await api.command(id, verb);
      if (job) store.put(job, false);
    } catch (error) {
      const { code, title, detail, hint } = api.problemOf(error);
      if (code === "job.not_found") store.remove(id);
      announce.warn([title, detail, hint].filter(Boolean).join(". "));
    }
  },
  togglePlayer(id, mount) {
    const entry = store.jobs.get(id);
    if (entry) players.toggle(entry.job, mount);
  },
  filename: (job) => filenames.get(job.source.upload ?? ""),
  async more() {
    try {
      take(await api.listJobs(cursor));
    } catch (error) {
      announce.warn(api.problemOf(error).title);
    }
  },
});

const events = new Events({
  job: (job) => store.put(job, true),
  progress: (progress) => store.tick(progress),
  connection,
});

store.subscribe((ids) => {
  for (const id of ids) {
    const job = store.jobs.get(id)?.job;
    if (job) announce.job(job);
    if (job?.status !== "completed") players.forget(id);
  }
});

/** @param {import("./types.js").Source} source */
async function submit(source) {
  const job = await api.submit(source, options.value);
  if (job) store.put(job, false);
  else announce.say("Accepted. It will appear in a moment.");
}

const uploads = new Uploads(element("uploads"), (source, filename) => {
  if (source.upload) filenames.set(source.upload, filename);
  return submit(source);
});
const composer = new Composer({ options, submit, files: (files) => uploads.add(files) });
element("composer").append(composer.element);
acceptDrops(element("drop"), {
  files: (files) => uploads.add(files),
  address: (text) => composer.suggest(text),
});

/** @param {import("./types.js").Page} page */
function take(page) {
  for (const job of page.jobs) store.put(job, false);
  cursor = page.next;
  list.hasMore(cursor !== null);
}

/** The list first, then everything that happened since: nothing falls between the two. */
async function begin() {
  try {
    const page = await api.listJobs();
    take(page);
    list.ready();
    events.open(page.revision);
  } catch {
    connection("reconnecting");
    setTimeout(begin, RETRY);
  }
}

async function offerModels() {
  clearTimeout(modelsTimer);
  try {
    options.offer(await api.models());
  } catch {
    modelsTimer = setTimeout(offerModels, RETRY);
  }
}

begin();
offerModels();
