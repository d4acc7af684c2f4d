// @ts-check
/** Where the page's parts meet. */

import { models } from "./api/server.js";
import { announcer } from "./announce.js";
import { BatchStore } from "./batches/store.js";
import { Composer } from "./compose/composer.js";
import { acceptDrops } from "./compose/drop.js";
import { OptionsPanel } from "./compose/options.js";
import { TermsPanel } from "./compose/terms.js";
import { Uploads } from "./compose/uploads.js";
import { connectionLine } from "./connection.js";
import { Deeds } from "./deeds.js";
import { setText } from "./dom.js";
import { Events } from "./events.js";
import { counted } from "./format.js";
import { Filters } from "./jobs/filters.js";
import { JobList } from "./jobs/list.js";
import { Loader } from "./jobs/loader.js";
import { readView, writeView } from "./jobs/view.js";
import { PlayerHost } from "./player/host.js";
import { StatusPanel } from "./status/panel.js";
import { Store } from "./store.js";
import { Submitter } from "./submit.js";

/** Milliseconds before what the page can't do without is asked for again. */
const RETRY = 3000;

/** @param {string} id @returns {HTMLElement} */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const jobs = new Store();
const batches = new BatchStore();
const connection = connectionLine(element("connection"));
const announce = announcer(element("live"), element("notices"));
/** File names of this visit's uploads, until the jobs have their metadata. @type {Map<string, string>} */
const filenames = new Map();
let modelsTimer = 0;
let listening = false;

const submitter = new Submitter({
  job: (job) => jobs.put(job, false),
  batch: (batch) => {
    list.reveal(batch.id);
    batches.put(batch);
  },
  later: () => announce.say("Accepted. It will appear in a moment."),
});
const deeds = new Deeds({ jobs, batches, announce, submitter });
const players = new PlayerHost((id, open) => list.card(id)?.playing(open));

const list = new JobList(element("jobs"), { jobs, batches, loader: new Loader(jobs, batches) }, {
  ...deeds.all,
  togglePlayer(id, mount) {
    const entry = jobs.jobs.get(id);
    if (entry) players.toggle(entry.job, mount);
  },
  filename: (job) => filenames.get(job.source.upload ?? ""),
  left: (id) => players.forget(id),
  trouble: (error) => deeds.refused(error),
  counted(running, waiting) {
    setText(element("songs-count"), [running ? `${running} running` : "", waiting ? `${waiting} waiting` : ""].filter(Boolean).join(", "));
    document.title = running ? `(${running}) Stembus` : "Stembus";
  },
});

const filters = new Filters(readView(location.search), async (view) => {
  history.replaceState(null, "", writeView(view) || location.pathname);
  try {
    if (await show(view)) announce.say(`${counted(list.size, "song")} shown`);
  } catch (error) {
    deeds.refused(error);
  }
});
element("filters").append(filters.element);

document.body.append(new StatusPanel(element("open-status")).element);

const events = new Events({
  job: (job) => jobs.put(job, true),
  progress: (progress) => jobs.tick(progress),
  gone: ({ id }) => jobs.remove(id),
  queue: (news) => jobs.place(news),
  batch: (batch) => batches.put(batch),
}, connection);

jobs.subscribe((ids) => {
  for (const id of ids) {
    const job = jobs.jobs.get(id)?.job;
    if (!job) announce.forget(id);
    else {
      filters.owner(job.owner);
      if (!job.batch) announce.job(job);
    }
    if (job) players.update(job);
    else players.forget(id);
  }
});
batches.subscribe((ids) => {
  for (const id of ids) {
    const batch = batches.batches.get(id);
    if (batch) announce.batch(batch);
  }
});

const options = new OptionsPanel(() => offerModels());
const terms = new TermsPanel();
const uploads = new Uploads(element("uploads"), {
  named: (upload, filename) => filenames.set(upload, filename),
  submit: (sources, key, waiting) => submitter.send({ sources, options: options.value, terms: terms.value }, key, waiting),
});
const composer = new Composer({ options, terms, submitter, files: (files) => uploads.add(files) });
element("composer").append(composer.element);
acceptDrops(element("drop"), {
  files: (files) => uploads.add(files),
  addresses: (urls) => composer.suggest(urls.join("\n")),
});

/**
 * The list first, then everything that happened since: nothing falls between the two.
 * @param {import("./jobs/view.js").View} view
 * @returns {Promise<boolean>} false when another view was asked for meanwhile
 */
async function show(view) {
  const revision = await list.show(view);
  if (revision !== null && !listening) events.open(revision);
  listening ||= revision !== null;
  return revision !== null;
}

async function begin() {
  try {
    await show(readView(location.search));
  } catch {
    connection("reconnecting");
    setTimeout(begin, RETRY);
  }
}

async function offerModels() {
  clearTimeout(modelsTimer);
  try {
    options.offer(await models());
  } catch {
    modelsTimer = setTimeout(offerModels, RETRY);
  }
}

begin();
offerModels();
