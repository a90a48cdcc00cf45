// The scatter of the list: a drag selects a time and a duration, a click opens a trace that stands alone.

const FIELD = { across: 900, down: 240 };
const CELL = 10;

function figure() { return document.querySelector(".scatter"); }

function place(event, svg) {
  const box = svg.getBoundingClientRect();
  const part = (at, begin, size) => Math.min(1, Math.max(0, (at - begin) / size));
  return { x: part(event.clientX, box.left, box.width), y: part(event.clientY, box.top, box.height) };
}

function draw(svg, from, to) {
  const rect = svg.querySelector(".selection");
  rect.setAttribute("x", Math.min(from.x, to.x) * FIELD.across);
  rect.setAttribute("y", Math.min(from.y, to.y) * FIELD.down);
  rect.setAttribute("width", Math.abs(from.x - to.x) * FIELD.across);
  rect.setAttribute("height", Math.abs(from.y - to.y) * FIELD.down);
}

// Times are beyond what a number holds exactly: as a big integer, rounded outwards to the microsecond.
function moment(data, part, up) {
  const from = BigInt(data.from);
  const ns = from + (BigInt(data.to) - from) * BigInt(Math.round(part * 1e6)) / 1_000_000n;
  const us = ns / 1000n + (up ? 1n : 0n);
  return new Date(Number(us / 1000n)).toISOString().slice(0, -1) + String(us % 1000n).padStart(3, "0") + "Z";
}

function duration(data, part) {
  const low = Number(data.low);
  return `${(low * (Number(data.high) / low) ** (1 - part) / 1e6).toFixed(6)}ms`;
}

// To whole cells: a square that is touched is selected with all its traces.
function outwards(one, other, cells) {
  return [Math.floor(Math.min(one, other) * cells) / cells, Math.ceil(Math.max(one, other) * cells) / cells];
}

function select(from, to) {
  const { dataset } = figure();
  const url = new URL(location.href);
  const [left, right] = outwards(from.x, to.x, FIELD.across / CELL);
  const [top, bottom] = outwards(from.y, to.y, FIELD.down / CELL);
  const asked = { from: moment(dataset, left, false), to: moment(dataset, right, true), min: duration(dataset, bottom), max: duration(dataset, top) };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  url.searchParams.delete("page");
  location.assign(url);
}

let begun = null;

document.addEventListener("pointerdown", (event) => {
  const svg = event.target.closest?.(".scatter svg");
  if (!svg || event.button !== 0) return;
  begun = { svg, at: place(event, svg), trace: event.target.dataset.trace };
  event.preventDefault();
});

document.addEventListener("pointermove", (event) => {
  if (begun) draw(begun.svg, begun.at, place(event, begun.svg));
});

document.addEventListener("pointerup", (event) => {
  if (!begun) return;
  const { svg, at, trace } = begun;
  const to = place(event, svg);
  begun = null;
  draw(svg, at, at);
  if (Math.abs(to.x - at.x) > 0.01 || Math.abs(to.y - at.y) > 0.02) select(at, to);
  else if (trace) location.assign(`/trace/${trace}${location.search}`);
});

for (const one of document.querySelectorAll(".scatter .drag")) one.hidden = false;
