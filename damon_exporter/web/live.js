"use strict";
// Asks for the state once a second and draws what has changed since: heat is the difference of two integrals.

const COLUMNS = 300;
const EVERY_MS = 1000;
// Cividis: alike to people who see red and green as one, and as light as it is hot.
const PALETTE = [[0, 34, 78], [35, 62, 108], [87, 93, 109], [124, 123, 120], [165, 156, 116], [210, 192, 96], [254, 232, 56]];
const BLANK = [128, 128, 128, 40];

const byId = (id) => document.getElementById(id);
const chosen = () => ({ monitor: byId("monitor").value, target: byId("target").value });
const histories = new Map(); // what was drawn of each monitor and target
let earlier = new Map(); // and its last state

function colour(heat) {
  const place = Math.min(Math.max(heat, 0), 1) ** 0.5 * (PALETTE.length - 1);
  const lower = Math.min(Math.floor(place), PALETTE.length - 2);
  return PALETTE[lower].map((from, i) => Math.round(from + (PALETTE[lower + 1][i] - from) * (place - lower)));
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${Number(bytes.toPrecision(3))} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds >= 3600) return `${Number((seconds / 3600).toPrecision(3))} h`;
  if (seconds >= 60) return `${Number((seconds / 60).toPrecision(3))} min`;
  return `${Number(seconds.toPrecision(3))} s`;
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  Object.assign(made, attributes);
  return made;
}

function choose(select, names) {
  const shown = [...select.options].map((option) => option.value);
  if (shown.length === names.length && shown.every((name, i) => name === names[i])) return;
  const before = select.value;
  select.replaceChildren(...names.map((name) => element("option", name, { value: name })));
  if (names.includes(before)) select.value = before;
}

function heats(target, before) {
  const passed = before ? target.observed_seconds_total - before.observed_seconds_total : 0;
  if (!target.heatmap || !before?.heatmap || passed <= 0) return null;
  const then = before.heatmap.access_seconds_total;
  return target.heatmap.access_seconds_total.map((seconds, i) => (seconds - then[i]) / passed);
}

function remember(key, target) {
  const history = histories.get(key) ?? { columns: [], sizes: [] };
  histories.set(key, history);
  const column = heats(target, earlier.get(key));
  if (column) history.columns.push(column);
  history.sizes.push(target.working_set_bytes);
  for (const kept of [history.columns, history.sizes]) kept.splice(0, Math.max(kept.length - COLUMNS, 0));
  return history;
}

function drawHeat(columns) {
  const canvas = byId("heat");
  const bins = columns.at(-1)?.length ?? 1;
  canvas.width = COLUMNS;
  canvas.height = bins;
  const context = canvas.getContext("2d");
  const image = context.createImageData(COLUMNS, bins);
  for (let x = 0; x < COLUMNS; x += 1) {
    const column = columns[x - COLUMNS + columns.length];
    for (let bin = 0; bin < bins; bin += 1) {
      const pixel = column?.length === bins ? [...colour(column[bin]), 255] : BLANK;
      image.data.set(pixel, ((bins - 1 - bin) * COLUMNS + x) * 4); // the lowest address is at the bottom
    }
  }
  context.putImageData(image, 0, 0);
}

function drawAges(ages) {
  const total = ages ? ages.bytes.reduce((sum, bytes) => sum + bytes, 0) : 0;
  const parts = total ? ages.bytes.map((bytes, i) => ({
    bytes,
    name: i < ages.bounds.length ? `up to ${duration(ages.bounds[i])}` : `over ${duration(ages.bounds.at(-1))}`,
    fill: `rgb(${colour((1 - i / (ages.bytes.length - 1)) ** 2)})`,
  })) : [];
  byId("ages").replaceChildren(...parts.map((part) => {
    const piece = element("span", "", { title: `${part.name}: ${size(part.bytes)}` });
    piece.style.flexGrow = part.bytes / total;
    piece.style.background = part.fill;
    return piece;
  }));
  byId("legend").replaceChildren(...parts.filter((part) => part.bytes > 0).map((part) => {
    const entry = element("li", `${part.name}: ${size(part.bytes)}`);
    const mark = document.createElement("i");
    mark.style.background = part.fill;
    entry.prepend(mark);
    return entry;
  }));
}

function drawWorkingSet(sizes) {
  const most = Math.max(...sizes, 1);
  const points = sizes.map((bytes, i) => `${COLUMNS - sizes.length + i},${100 - (bytes / most) * 96}`);
  byId("working-set").querySelector("path").setAttribute("d", points.length ? `M${points.join("L")}` : "");
  byId("least").textContent = sizes.length ? `now ${size(sizes.at(-1))}` : "";
  byId("most").textContent = sizes.length ? `highest shown ${size(most)}` : "";
}

function drawFacts(monitor, target) {
  const facts = {
    Monitored: target && size(target.monitored_bytes),
    Regions: target?.regions,
    "Aggregation interval": monitor.aggregation_interval_seconds && duration(monitor.aggregation_interval_seconds),
    Owner: monitor.owner,
    Source: monitor.source,
    "Last snapshot": monitor.last_snapshot_age_seconds === null ? null : `${duration(monitor.last_snapshot_age_seconds)} ago`,
  };
  byId("facts").replaceChildren(...Object.entries(facts).filter(([, fact]) => fact != null).map(([name, fact]) => {
    const pair = document.createElement("div");
    pair.append(element("dt", name), element("dd", String(fact)));
    return pair;
  }));
}

function activity(scheme) {
  if (scheme.action === "stat") return "counts only";
  return { true: "acts", false: "held back by its watermarks", null: "not known" }[String(scheme.active)];
}

function drawSchemes(monitor, before, seconds) {
  byId("schemes").hidden = monitor.schemes.length === 0;
  byId("schemes").querySelector("tbody").replaceChildren(...monitor.schemes.map((scheme) => {
    const row = document.createElement("tr");
    const applied = scheme.counters?.sz_applied;
    const then = before?.schemes.find((known) => known.name === scheme.name && known.action === scheme.action)?.counters?.sz_applied;
    const rate = applied != null && then != null && seconds > 0 ? `${size(Math.max(applied - then, 0) / seconds)}/s` : "";
    const cells = [scheme.action, activity(scheme), ...["sz_tried", "sz_applied"].map((name) => {
      const count = scheme.counters?.[name];
      return count == null ? "unknown" : size(count);
    }), rate];
    row.append(element("th", scheme.name, { scope: "row" }), ...cells.map((cell) => element("td", cell)));
    return row;
  }));
}

let monitorsBefore = new Map();
let timeBefore = 0;

function draw(state) {
  choose(byId("monitor"), state.monitors.map((monitor) => monitor.name));
  const monitor = state.monitors.find((known) => known.name === chosen().monitor);
  choose(byId("target"), monitor ? monitor.targets.map((target) => target.name) : []);
  const target = monitor?.targets.find((known) => known.name === chosen().target);
  const key = JSON.stringify([monitor?.name, target?.name]);
  const history = target ? remember(key, target) : { columns: [], sizes: [] };
  const recording = state.recording === null ? [] : [`This is a recording, not this host: ${state.recording}.`];
  const heatless = target && !target.heatmap ? ["No heat by address is kept of this target (export.heatmap)."] : [];
  byId("notice").textContent = [...recording, ...(monitor ? [monitor.reason] : state.reasons), ...heatless].filter(Boolean).join(" ");
  drawFacts(monitor ?? { owner: null, source: null, last_snapshot_age_seconds: null }, target);
  drawHeat(history.columns);
  byId("span").textContent = `the last ${history.columns.length} s, lowest address at the bottom`;
  drawAges(target?.idle_age);
  drawWorkingSet(history.sizes);
  if (monitor) drawSchemes(monitor, monitorsBefore.get(monitor.name), state.time - timeBefore);
  earlier = new Map([[key, target]]);
  monitorsBefore = new Map(state.monitors.map((known) => [known.name, known]));
  timeBefore = state.time;
}

async function look() {
  try {
    const answer = await fetch(`api/v1/state?${new URLSearchParams(chosen())}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(`the exporter answers ${answer.status}`);
    draw(await answer.json());
  } catch (problem) {
    byId("notice").textContent = `No answer: ${problem.message}`;
  }
}

byId("scale").style.background = `linear-gradient(to right, ${[0, 0.05, 0.2, 0.4, 0.6, 0.8, 1].map((heat) => `rgb(${colour(heat)}) ${heat * 100}%`)})`;
for (const select of [byId("monitor"), byId("target")]) select.addEventListener("change", look);
look();
setInterval(look, EVERY_MS);
