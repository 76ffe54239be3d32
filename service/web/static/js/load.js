// What the service does now: asks every two seconds while somebody looks, and draws the last three minutes.

import { byId } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const EVERY_MS = 2000;
const SAMPLES = 90;
const WIDTH = 300;
const HEIGHT = 84;
const MIB = 1048576;
const words = JSON.parse(byId("strings").textContent);
const charts = byId("charts");

// What each chart shows, from the answer now and the one before it; undefined is unknown.
const SERIES = {
  running: (now) => now.engine.running,
  waiting: (now) => now.engine.waiting,
  streams: (now) => now.web.streams,
  answer_speed: (now, before) => rate(now, before, "answer_tokens"),
  prompt_speed: (now, before) => rate(now, before, "prompt_tokens"),
  engine_memory: (now) => now.engine.memory_bytes,
  web_memory: (now) => now.web.memory_bytes,
  cache_usage: (now) => percent(now.engine.cache_usage),
  cache_hits: (now, before) => percent(ratio(now, before, "cache_hits", "cache_queries")),
  first_token: (now, before) => ratio(now, before, "first_token_s", "first_tokens"),
  memory_free: (now) => now.engine.memory_available_bytes,
  workers: (now) => now.web.workers,
};
const UNITS = {
  answer_speed: speed, prompt_speed: speed, engine_memory: mebibytes, web_memory: mebibytes, memory_free: mebibytes,
  cache_usage: share, cache_hits: share, first_token: seconds,
};
// The least that a chart's height stands for: two requests shall not look like a storm.
const FLOORS = { requests: 4, speed: 20, memory: 64 * MIB, cache: 100 };

const history = [];
let before = null;
let timer = 0;

function rate(now, then, name) {
  const seconds = then ? now.time - then.time : 0;
  const grown = now.engine[name] - (then ? then.engine[name] : NaN);
  return seconds > 0 && grown >= 0 ? grown / seconds : undefined;
}

// How much of one counter there is to another, over the time that is shown; where nothing happened, since the start.
function ratio(now, then, over, under) {
  const first = history.length ? history[0].answer : then || now;
  const count = now.engine[under] - first.engine[under];
  if (count > 0) return (now.engine[over] - first.engine[over]) / count;
  return now.engine[under] > 0 ? now.engine[over] / now.engine[under] : undefined;
}

function percent(value) {
  return value === undefined ? undefined : 100 * value;
}

function isKnown(value) {
  return typeof value === "number" && isFinite(value);
}

function speed(value) {
  return value.toFixed(value < 100 ? 1 : 0) + " /s";
}

function share(value) {
  return value.toFixed(0) + " %";
}

function seconds(value) {
  return value.toFixed(2) + " s";
}

function mebibytes(value) {
  return value >= 1000 * MIB ? (value / MIB / 1024).toFixed(2) + " GiB" : (value / MIB).toFixed(0) + " MiB";
}

async function ask() {
  window.clearTimeout(timer);
  try {
    const answer = await fetch(charts.getAttribute("data-url"), { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    take(await answer.json());
    byId("load-lost").textContent = "";
  } catch (_) {
    byId("load-lost").textContent = words.admin_load_lost;
  }
  if (!document.hidden) timer = window.setTimeout(ask, EVERY_MS);
}

function take(answer) {
  const values = {};
  for (const name of Object.keys(SERIES)) values[name] = SERIES[name](answer, before);
  history.push({ answer, values });
  if (history.length > SAMPLES) history.shift();
  before = answer;
  show(values);
  for (const figure of charts.querySelectorAll("[data-chart]")) draw(figure);
}

function show(values) {
  for (const element of document.querySelectorAll("[data-value]")) {
    const name = element.getAttribute("data-value");
    const unit = UNITS[name] || String;
    element.textContent = isKnown(values[name]) ? unit(values[name]) : words.admin_unknown;
  }
}

function draw(figure) {
  const svg = figure.querySelector("svg");
  const names = Array.from(figure.querySelectorAll("[data-value]"), (element) => element.getAttribute("data-value"));
  const seen = [];
  for (const sample of history) for (const name of names) if (isKnown(sample.values[name])) seen.push(sample.values[name]);
  const top = nextRound(Math.max(FLOORS[figure.getAttribute("data-chart")], ...seen));
  const unit = UNITS[names[0]] || String;
  figure.querySelector("[data-scale]").textContent = "0 – " + unit(top);
  while (svg.firstChild) svg.removeChild(svg.firstChild);
  names.forEach((name, index) => {
    const line = document.createElementNS(SVG, "polyline");
    line.setAttribute("class", "series-" + (index + 1));
    line.setAttribute("points", points(name, top));
    svg.append(line);
  });
}

// So that the scale does not move with every sample: 1, 2, 4, 5 or 8 and zeros behind it; powers of two for memory.
function nextRound(value) {
  if (value >= MIB) return Math.pow(2, Math.ceil(Math.log(value) / Math.LN2));
  const step = Math.pow(10, Math.floor(Math.log(value) / Math.LN10));
  return step * [1, 2, 4, 5, 8, 10].find((times) => times * step >= value);
}

// The newest sample is at the right edge.
function points(name, top) {
  const step = WIDTH / (SAMPLES - 1);
  const found = [];
  history.forEach((sample, index) => {
    const value = sample.values[name];
    if (!isKnown(value)) return;
    const x = WIDTH - (history.length - 1 - index) * step;
    found.push(x.toFixed(1) + "," + (HEIGHT - 2 - (value / top) * (HEIGHT - 6)).toFixed(1));
  });
  return found.join(" ");
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) ask();
});
ask();
