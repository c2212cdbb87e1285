"use strict";
// Asks for the state every second and draws it. Heat is the difference of two integrals over the time observed between
// them, so it is right however many aggregations, or looks that were missed, lie between. Names are anybody's: they
// come into the page as text only.

const VERSION = 1;
const EVERY_MS = 1000;
const PATIENCE_MS = 10_000;
const SPANS = [30, 60, 120, 300, 600]; // seconds that the pictures show: the shortest that holds what has been seen
const WIDTH = 600; // of both pictures, in their own units
const UNSEEN_SECONDS = 10; // a longer distance between two looks is no line
const RATE_SECONDS = 60;
const MOST_AGES = 7; // more colours than that are not told apart

// Cividis: alike to people who see red and green as one, and as light as it is hot.
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116],
  [195, 179, 105], [225, 204, 85], [254, 232, 56]];

const byId = (id) => document.getElementById(id);

// What is written

const FOUR_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, useGrouping: false, roundingMode: "halfEven" });

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${FOUR_DIGITS.format(bytes)}\u00a0${units[unit]}`;
}

function duration(seconds) {
  const [unit, length] = seconds >= 3600 ? ["h", 3600] : seconds >= 60 ? ["min", 60] : seconds >= 1 ? ["s", 1] : ["ms", 0.001];
  return `${Number((seconds / length).toPrecision(3))}\u00a0${unit}`;
}

function percent(ratio) {
  const shown = ratio > 0 && ratio < 0.001 ? "<\u00a00.1" : Number((100 * ratio).toPrecision(ratio < 0.1 ? 1 : 2));
  return `${shown}\u00a0%`;
}

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  return Object.assign(made, attributes);
}

function say(id, text) {
  if (byId(id).textContent !== (text ?? "")) byId(id).textContent = text; // unchanged, it is not read out again
  byId(id).hidden = !text;
}

function palette(place) {
  const scaled = Math.min(Math.max(place, 0), 1) * (CIVIDIS.length - 1);
  const lower = Math.min(Math.floor(scaled), CIVIDIS.length - 2);
  return CIVIDIS[lower].map((from, i) => Math.round(from + (CIVIDIS[lower + 1][i] - from) * (scaled - lower)));
}

const css = (place) => `rgb(${palette(place)})`;
const SHADES = Array.from({ length: 256 }, (_, i) => [...palette(i / 255), 255]);
const shade = (heat) => SHADES[Math.round(255 * Math.sqrt(Math.min(Math.max(heat, 0), 1)))]; // a little heat shall be seen

// What is remembered: samples of each target that has been looked at, and of schemes

const histories = new Map();
const schemeHistories = new Map();

function kept(histories, key, fresh) {
  if (!histories.has(key)) histories.set(key, fresh);
  return histories.get(key);
}

function heatBetween(before, target, passed) {
  const then = before.heatmap?.access_seconds_total;
  const now = target.heatmap?.access_seconds_total;
  if (!now || now.length !== then?.length || passed <= 0) return null;
  return now.map((seconds, i) => (seconds - then[i]) / passed);
}

// Since when there was somebody to see it: where less was observed than passed, it is the end that is known.
function seenSince(from, to, passed, interval) {
  return to - from - passed > Math.max(1, 2 * interval) ? to - passed : from;
}

function remember(monitor, target) {
  const history = kept(histories, JSON.stringify([monitor.name, target.name]), { samples: [], last: null });
  const to = target.last_snapshot_timestamp_seconds;
  const anew = history.last?.counting_since_timestamp_seconds !== target.counting_since_timestamp_seconds;
  const last = anew ? null : history.last;
  const from = last?.last_snapshot_timestamp_seconds ?? to;
  if (last && from === to) return history.samples;
  if (history.last?.last_snapshot_timestamp_seconds > to) history.samples = []; // the host's clock was set back
  const interval = monitor.aggregation_interval_seconds ?? 0;
  const passed = last ? target.observed_seconds_total - last.observed_seconds_total : 0;
  history.samples.push({
    from: seenSince(from, to, passed, interval),
    to,
    broken: anew || to - from > Math.max(UNSEEN_SECONDS, 3 * interval),
    heat: last && heatBetween(last, target, passed),
    bytes: target.working_set_bytes,
  });
  history.samples = history.samples.filter((sample) => sample.to > to - SPANS.at(-1));
  history.last = target;
  return history.samples;
}

// The axis of time that both pictures have

function timeAxis(samples, now, monitor) {
  const newest = samples.at(-1)?.to ?? now;
  const late = now - newest > 3 + 3 * (monitor.aggregation_interval_seconds ?? 0);
  const end = late ? now : newest; // what is on its way leaves no gap, what does not come does
  const span = SPANS.find((seconds) => end - (samples[0]?.from ?? end) <= seconds) ?? SPANS.at(-1);
  return { end, span, x: (time) => ((time - end) / span + 1) * WIDTH, time: (x) => end - span * (1 - x / WIDTH) };
}

function drawTimes(axis) {
  for (const times of document.querySelectorAll(".times")) {
    const ticks = [1, 0.75, 0.5, 0.25].map((part) => `−${duration(axis.span * part)}`);
    times.replaceChildren(...[...ticks, "now"].map((tick) => element("span", tick)));
  }
}

// Heat

let shown = null; // what the pointer is over

function drawHeat(monitor, target, samples, axis) {
  const bins = target.heatmap?.access_seconds_total.length ?? 0;
  shown = bins ? { samples, axis, bins, binBytes: target.heatmap.bin_bytes } : null;
  byId("heat-plot").hidden = byId("heat-scale").hidden = byId("heat-at").hidden = !bins;
  byId("heat-note").hidden = Boolean(bins);
  byId("heat-note").textContent = bins ? "" : heatless(monitor, target);
  if (!bins) return;
  paint(samples, axis, bins);
  byId("heat-top").textContent = size(bins * target.heatmap.bin_bytes);
  byId("heat-middle").textContent = size(bins * target.heatmap.bin_bytes / 2);
  if (!byId("heat").matches(":hover")) {
    byId("heat-at").textContent = `lowest address at the bottom, gaps left out; ${bins} rows of ${size(target.heatmap.bin_bytes)}`;
  }
}

function heatless(monitor, target) {
  if (target.bands === null) {
    return "Nothing tells this kdamond's intervals, so nobody knows how often is always. Sizes are known all the same.";
  }
  return monitor.operations === "paddr"
    ? "Turned off: export.heatmap.bins is 0 in the configuration."
    : "Kept for physical memory (paddr); for processes only if export.heatmap.processes is true in the configuration.";
}

function paint(samples, axis, bins) {
  const canvas = byId("heat");
  canvas.width = WIDTH;
  canvas.height = bins;
  const context = canvas.getContext("2d");
  const image = context.createImageData(WIDTH, bins);
  for (const { from, to, heat } of samples) {
    if (heat?.length !== bins) continue;
    const [first, end] = [from, to].map((time) => Math.min(Math.max(Math.round(axis.x(time)), 0), WIDTH));
    for (let bin = 0; bin < bins; bin += 1) {
      const pixel = shade(heat[bin]);
      for (let x = first; x < end; x += 1) image.data.set(pixel, ((bins - 1 - bin) * WIDTH + x) * 4);
    }
  }
  context.putImageData(image, 0, 0);
}

function pointed(event) {
  if (!shown) return;
  const box = byId("heat").getBoundingClientRect();
  const time = shown.axis.time((event.clientX - box.left) / box.width * WIDTH);
  const bin = Math.min(Math.max(Math.floor((1 - (event.clientY - box.top) / box.height) * shown.bins), 0), shown.bins - 1);
  const heat = shown.samples.find((sample) => sample.from <= time && time <= sample.to)?.heat?.[bin];
  const where = `${size(bin * shown.binBytes)} to ${size((bin + 1) * shown.binBytes)}, ${duration(shown.axis.end - time)} ago`;
  byId("heat-at").textContent = `${where}: ${heat == null ? "not seen" : `accessed ${percent(Math.max(heat, 0))} of the time`}`;
}

// Idle ages

// Neighbouring buckets are added up until there are few enough; the first and the last stay as they are.
function ageGroups({ bounds_seconds: bounds, bytes }) {
  const step = Math.ceil((bytes.length - 2) / (MOST_AGES - 2));
  const groups = [];
  for (let i = 0; i < bytes.length; i += 1) {
    const opens = i === 0 || i === bytes.length - 1 || (i - 1) % step === 0;
    if (opens) groups.push({ bytes: 0, from: bounds[i - 1] });
    groups.at(-1).bytes += bytes[i];
    groups.at(-1).to = bounds[i];
  }
  return groups.map(({ bytes, from, to }, i) => ({ bytes, name: between(from, to), fill: css(1 - i / (groups.length - 1)) }));
}

function between(from, to) {
  if (from === undefined) return `up to ${duration(to)}`;
  return to === undefined ? `over ${duration(from)}` : `${duration(from)} to ${duration(to)}`;
}

function drawAges(ages) {
  const groups = ages ? ageGroups(ages) : [];
  const total = groups.reduce((sum, group) => sum + group.bytes, 0);
  byId("of-ages").hidden = total === 0;
  byId("ages").replaceChildren(...groups.filter((group) => group.bytes > 0).map((group) => {
    const piece = element("span", "", { title: `${group.name}: ${size(group.bytes)}` });
    piece.style.flexGrow = group.bytes / total;
    piece.style.background = group.fill;
    return piece;
  }));
  byId("legend").replaceChildren(...groups.map((group) => {
    const entry = element("li");
    const mark = element("i");
    mark.style.background = group.fill;
    entry.append(mark, element("span", group.name), element("b", size(group.bytes)), element("em", percent(group.bytes / total)));
    return entry;
  }));
}

// Working set

// A power of two, or a few quarters of one, so that the half is a round number, too.
function roundUp(bytes) {
  const quarter = 2 ** Math.floor(Math.log2(Math.max(bytes, 4))) / 4;
  return Math.ceil(bytes / quarter) * quarter || quarter;
}

function drawWorkingSet(samples, axis) {
  const visible = samples.filter((sample) => sample.to >= axis.end - axis.span);
  const sizes = visible.map((sample) => sample.bytes);
  const top = roundUp(Math.max(...sizes, 0));
  const runs = [];
  for (const { to, bytes, broken } of visible) {
    if (broken || !runs.length) runs.push([]);
    runs.at(-1).push([axis.x(to), 100 - bytes / top * 100].map((value) => value.toFixed(2)));
  }
  const lines = runs.map((run) => `M${run.map(String).join("L")}`);
  byId("line").setAttribute("d", lines.join(""));
  byId("area").setAttribute("d", runs.map((run, i) => `${lines[i]}V100H${run[0][0]}Z`).join(""));
  byId("size-top").textContent = sizes.length ? size(top) : "";
  byId("size-middle").textContent = sizes.length ? size(top / 2) : "";
  byId("range").textContent = sizes.length
    ? `now ${size(sizes.at(-1))}; in the last ${duration(axis.span)} ${size(Math.min(...sizes))} to ${size(Math.max(...sizes))}`
    : "";
}

// Numbers and schemes

function pairs(id, facts) {
  byId(id).replaceChildren(...Object.entries(facts).filter(([, fact]) => fact != null).map(([name, fact]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", String(fact)));
    return pair;
  }));
}

function drawNumbers(monitor, target) {
  const share = target.monitored_bytes ? ` (${percent(target.working_set_bytes / target.monitored_bytes)})` : "";
  pairs("sizes", {
    "Working set": size(target.working_set_bytes) + share,
    Monitored: size(target.monitored_bytes),
    "Of it resident": target.resident_bytes === null ? null : size(target.resident_bytes),
  });
  const interval = monitor.aggregation_interval_seconds;
  const age = monitor.last_snapshot_age_seconds;
  pairs("facts", {
    "Aggregation interval": interval && duration(interval),
    "Last snapshot": age === null ? "none yet" : `${age < 60 ? `${age.toFixed(1)}\u00a0s` : duration(age)} ago`,
    Regions: target.regions,
    Operations: monitor.operations,
    Owner: monitor.owner,
    Source: monitor.source,
  });
}

function activity(scheme) {
  if (scheme.action === "stat") return "counts only";
  if (scheme.active === null) return "acts, or is held back by its watermarks";
  return scheme.active ? "acts" : "held back by its watermarks";
}

// Over a minute at most: the kernel's counters are not read at every look.
function rate(monitor, scheme, { time: now, started_timestamp_seconds: since }) {
  const applied = scheme.counters?.sz_applied;
  if (applied == null) return "unknown";
  const history = kept(schemeHistories, JSON.stringify([monitor.name, scheme.name, scheme.action]), []);
  if (history.at(-1)?.since !== since) history.length = 0;
  history.push({ now, applied, since });
  while (history.length > 2 && history[0].now < now - RATE_SECONDS) history.shift();
  const seconds = now - history[0].now;
  return seconds > 0 ? `${size((applied - history[0].applied) / seconds)}/s` : "";
}

function drawSchemes(monitor, state) {
  byId("schemes").hidden = !monitor.schemes.length;
  byId("schemes").querySelector("tbody").replaceChildren(...monitor.schemes.map((scheme) => {
    const [tried, applied] = ["sz_tried", "sz_applied"].map((name) => scheme.counters?.[name]);
    const sizes = [tried, applied].map((bytes) => (bytes == null ? "unknown" : size(bytes)));
    const quota = scheme.effective_quota_bytes === null ? "none" : size(scheme.effective_quota_bytes);
    const row = element("tr");
    const cells = [scheme.action, activity(scheme), ...sizes, rate(monitor, scheme, state), quota];
    row.append(element("th", scheme.name, { scope: "row" }), ...cells.map((cell) => element("td", cell)));
    return row;
  }));
}

// The choice, which stands in the page's address: a reload, and whoever gets the link, sees the same

function wished() {
  const asked = new URLSearchParams(location.hash.slice(1));
  return { monitor: asked.get("monitor") || null, target: asked.get("target") }; // no monitor is without a name
}

function wish(monitor, target) {
  const given = Object.entries({ monitor, target }).filter(([, name]) => name != null);
  window.history.replaceState(null, "", `#${new URLSearchParams(given)}`);
}

function offer(select, names, name) {
  const gone = name != null && !names.includes(name);
  const offered = [...names.map((there) => [there, there]), ...(gone ? [[name, `${name} (gone)`]] : [])];
  const before = [...select.options].map((option) => [option.value, option.text]);
  if (JSON.stringify(before) !== JSON.stringify(offered)) { // a list that is open would close
    select.replaceChildren(...offered.map(([value, text]) => element("option", text, { value })));
  }
  select.value = name ?? "";
  select.disabled = !offered.length;
}

function choice(state) {
  const asked = wished();
  const names = state.monitors.map((monitor) => monitor.name);
  const first = state.monitors.find((monitor) => monitor.targets.length) ?? state.monitors[0];
  const monitor = asked.monitor === null ? first : state.monitors.find((known) => known.name === asked.monitor);
  const targets = monitor?.targets ?? [];
  const target = asked.target === null ? targets[0] : targets.find((known) => known.name === asked.target);
  const [monitorName, targetName] = [asked.monitor ?? monitor?.name, asked.target ?? target?.name];
  offer(byId("monitor"), names, monitorName);
  offer(byId("target"), targets.map((known) => known.name), targetName);
  if (target && asked.target === null) wish(monitorName, targetName); // stays, also if others come to stand before it
  return { monitor, target, gone: missing(monitor, target, monitorName, targetName) };
}

function missing(monitor, target, monitorName, targetName) {
  if (!monitor) return monitorName == null ? "" : `There is no monitor “${monitorName}” now. It is shown again when it returns.`;
  if (!target && targetName != null) return `There is no target “${targetName}” now. It is shown again when it returns.`;
  return target ? "" : "Nothing has been seen of this monitor yet.";
}

// Looking

function draw(state) {
  const { monitor, target, gone } = choice(state);
  const down = monitor && !monitor.up ? `Monitor ${monitor.name} is down.` : "";
  const nobody = state.monitors.length ? "" : "No kdamond is watched.";
  const why = state.recording === null ? state.reasons : [];
  say("recording", state.recording === null ? "" : `This is a recording, not this host: ${state.recording}`);
  say("reasons", [nobody, gone, down, monitor?.reason, ...why].filter(Boolean).join("\n"));
  byId("of-target").hidden = !target;
  byId("schemes").hidden = true;
  if (monitor) drawSchemes(monitor, state);
  if (!target) return;
  const samples = remember(monitor, target);
  const axis = timeAxis(samples, state.time, monitor);
  drawNumbers(monitor, target);
  drawTimes(axis);
  drawHeat(monitor, target, samples, axis);
  drawAges(target.idle_age);
  drawWorkingSet(samples, axis);
}

let request = new AbortController();
let timer = 0;
let answered = Date.now();

async function look() {
  clearTimeout(timer);
  request.abort(); // an answer to an earlier choice is not waited for
  const mine = request = new AbortController();
  const impatient = setTimeout(() => mine.abort(new Error(`none within ${duration(PATIENCE_MS / 1000)}`)), PATIENCE_MS);
  const state = await ask(mine.signal).catch((problem) => {
    if (mine === request) trouble(problem);
  });
  clearTimeout(impatient);
  if (mine !== request) return;
  if (!document.hidden) timer = setTimeout(look, EVERY_MS); // one question at a time, and none while nobody looks
  if (!state) return;
  answered = Date.now();
  trouble(null);
  draw(state);
}

async function ask(signal) {
  const { monitor, target } = wished();
  const query = new URLSearchParams(Object.entries({ monitor, target: monitor && target }).filter(([, name]) => name != null));
  const answer = await fetch(`api/v1/state?${query}`, { signal });
  if (!answer.ok) throw new Error(`status ${answer.status}: ${(await answer.text()).trim()}`);
  const state = await answer.json();
  if (state.version !== VERSION) throw new Error("it is of another version than this page: reload the page");
  return state;
}

function trouble(problem) {
  const silence = duration(Math.max(Math.round((Date.now() - answered) / 1000), 1));
  say("problem", problem && `No answer from the exporter for ${silence} (${problem.message}). The page shows what was, and goes on`
    + " as soon as there is one.");
  document.querySelector("main").classList.toggle("stale", Boolean(problem));
}

byId("scale").style.background = `linear-gradient(to right, ${CIVIDIS.map((colour) => `rgb(${colour})`)})`;
byId("heat").addEventListener("pointermove", pointed);
byId("monitor").addEventListener("change", (event) => { wish(event.target.value); look(); });
byId("target").addEventListener("change", (event) => { wish(byId("monitor").value, event.target.value); look(); });
window.addEventListener("hashchange", look);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
