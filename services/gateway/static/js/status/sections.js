// @ts-check
/** The numbers of GET /v1/stats as sections. Pure: each look draws them anew. */

import { h } from "../dom.js";
import { codeWords, counted } from "../format.js";
import { icon } from "../icons.js";
import { moment, stretch } from "../times.js";

/** @typedef {import("../types.js").Stats} Stats */

/** A worker that has not been heard of for this many seconds is mentioned as silent. */
const SILENT = 5;

/** @param {Stats} stats @param {number} now @returns {HTMLElement[]} */
export function drawStats(stats, now) {
  return [
    ...(stats.queue.stalled ? [banner(stats.queue.stalled)] : []),
    tiles(stats),
    section("Throughput", throughput(stats)),
    section("Times, last day", times(stats)),
    section("Failures, last day", failures(stats)),
    section("Workers", workers(stats)),
    ...(stats.pauses.length ? [section("Paused sites", pauses(stats, now))] : []),
  ];
}

/** @param {string} code */
function banner(code) {
  return h("p", { class: "status-banner", "data-testid": "stalled", "data-code": code }, icon("pause"), h("span", {}, `Nothing is started at the moment: ${codeWords(code).toLowerCase()}`));
}

/** @param {Stats} stats */
function tiles({ jobs, queue }) {
  /** @type {[string, string, string][]} */
  const all = [
    ["working", "Working", String(jobs.processing)],
    ["waiting", "Waiting", String(queue.waiting)],
    ["held", "On hold", String(queue.held)],
    ["scheduled", "Scheduled", String(jobs.scheduled)],
    ["rate", "Songs a minute", queue.rate_per_minute === null ? "–" : queue.rate_per_minute.toFixed(1)],
    ["oldest", "Longest wait", stretch(queue.oldest_wait_seconds)],
  ];
  return h("dl", { class: "tiles" }, ...all.map(([name, label, value]) =>
    h("div", { class: "tile" }, h("dt", {}, label), h("dd", { "data-testid": `stat-${name}` }, value))));
}

/** @param {Stats} stats */
function throughput({ last_hour, last_day }) {
  /** @type {[string, import("../types.js").Tally][]} */
  const rows = [["Last hour", last_hour], ["Last day", last_day]];
  return table(["", "Submitted", "Ready", "Failed", "Cancelled"],
    rows.map(([label, { submitted, completed, failed, cancelled }]) => [label, ...[submitted, completed, failed, cancelled].map(String)]));
}

/** @param {Stats} stats */
function times({ wait_seconds, run_seconds }) {
  /** @type {[string, import("../types.js").Percentiles][]} */
  const rows = [["Waited", wait_seconds], ["Worked on", run_seconds]];
  return table(["", "Half within", "90 %", "99 %", "Songs"],
    rows.map(([label, { p50, p90, p99, n }]) => [label, stretch(p50), stretch(p90), stretch(p99), String(n)]));
}

/** @param {Stats} stats */
function failures({ failures: found }) {
  const rows = Object.entries(found).sort(([, a], [, b]) => b - a);
  if (!rows.length) return h("p", { class: "quiet" }, "None.");
  const most = rows[0][1];
  return h("ul", { class: "bars", "data-testid": "failures" }, ...rows.map(([code, count]) => {
    const bar = h("span", { class: "bars-bar", "aria-hidden": "true" });
    bar.style.setProperty("--at", `${(count / most) * 100}%`);
    return h("li", { "data-code": code }, h("span", { class: "bars-label", title: code }, codeWords(code)), h("span", { class: "bars-count" }, String(count)), bar);
  }));
}

/** @param {Stats} stats */
function workers({ workers: found }) {
  if (!found.length) return h("p", { class: "quiet" }, "None is there.");
  const sorted = [...found].sort((a, b) => a.stage.localeCompare(b.stage) || a.worker.localeCompare(b.worker));
  return h("ul", { class: "workers", "data-testid": "workers" }, ...sorted.map(({ worker, stage, slots, busy, device, speeds, ailment, seen_seconds_ago }) =>
    h("li", { "data-worker": worker, "data-stage": stage },
      h("p", { class: "worker-line" },
        h("strong", {}, stage), h("span", { class: "quiet" }, device),
        h("span", { class: "slots", role: "img", "aria-label": `${busy} of ${counted(slots, "slot")} busy` },
          ...(slots <= 12 ? Array.from({ length: slots }, (_, at) => h("span", { class: at < busy ? "slot is-busy" : "slot" })) : [`${busy}/${slots}`]))),
      h("p", { class: "quiet worker-name" }, [
        worker,
        ...Object.entries(speeds).slice(0, 3).map(([model, speed]) => `${model} ${speed < 10 ? speed.toFixed(1) : Math.round(speed)}×`),
        seen_seconds_ago > SILENT ? `silent for ${stretch(seen_seconds_ago)}` : "",
      ].filter(Boolean).join(" · ")),
      ailment ? h("p", { class: "worker-ailment", "data-code": ailment }, codeWords(ailment)) : null)));
}

/** @param {Stats} stats @param {number} now */
function pauses({ pauses: found }, now) {
  return h("ul", { class: "pauses", "data-testid": "pauses" }, ...found.map(({ site, until, code }) =>
    h("li", {}, h("strong", {}, site), h("span", { class: "quiet" }, `until ${moment(until, now)} · ${codeWords(code).toLowerCase()}`))));
}

/** @param {string} title @param {HTMLElement} content */
function section(title, content) {
  return h("section", { class: "status-section" }, h("h3", {}, title), content);
}

/** @param {string[]} head @param {string[][]} rows the first column names the row */
function table(head, rows) {
  return h("table", { class: "figures" },
    h("thead", {}, h("tr", {}, ...head.map((label) => label ? h("th", { scope: "col" }, label) : h("td", {})))),
    h("tbody", {}, ...rows.map(([label, ...cells]) => h("tr", {}, h("th", { scope: "row" }, label), ...cells.map((cell) => h("td", {}, cell))))));
}
