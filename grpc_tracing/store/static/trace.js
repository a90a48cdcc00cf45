// One trace: search, collapse, sort, zoom, errors, links to a span. The rows are the server's, those after the first
// ones too: they are fetched and put in place bit by bit. What a row is stands in its data attributes.
const fall = document.getElementById("fall");
const rowsBox = () => fall.querySelector(".rows");
const control = (id) => document.getElementById(id);
const SCALE = 1000; // the axis in its own units
const LEAST = 2; // of these, the narrowest stretch that one can zoom to
const CHUNK = 50;
const IN_SIGHT = 100; // so many rows fill any window

const state = { folded: new Set(), hits: null, zoom: [0, SCALE] };
let rows = []; // by place: { element, place, parent, below, ns, own, fault, critical }
let sortedBy = "";
let lastJump = { fault: -1, hit: -1 };

// The model of what the page holds

function read(element) {
  const data = element.dataset;
  return {
    element, key: data.key, place: Number(data.n), above: "p" in data ? Number(data.p) : -1,
    below: Number(data.below || 0), ns: Number(data.ns), own: Number(data.own), fault: data.fault || "",
    critical: "critical" in data, svg: element.querySelector(".lane svg"), fold: element.querySelector(".fold"),
    chunk: element.closest(".chunk"), depth: 0,
  };
}

function index() {
  rows = [];
  for (const element of fall.querySelectorAll(".row")) {
    const row = read(element);
    rows[row.place] = row;
  }
  for (const row of present()) row.depth = rows[row.above] ? rows[row.above].depth + 1 : 0;
}

const present = () => rows.filter(Boolean);

// What is shown

// A chunk of which nothing is shown is hidden as a whole, and its rows are left as they are until something is.
function apply() {
  const critical = control("critical").checked;
  const shut = new Set(); // rows below one that is collapsed
  const byChunk = new Map();
  for (const row of present()) {
    const above = rows[row.above];
    if (!sortedBy && above && (shut.has(above) || state.folded.has(above.key))) shut.add(row);
    row.out = shut.has(row) || (critical && !row.critical);
    if (!byChunk.has(row.chunk)) byChunk.set(row.chunk, []);
    byChunk.get(row.chunk).push(row);
  }
  const near = inSight();
  let room = IN_SIGHT;
  const later = [];
  for (const [chunk, held] of byChunk) {
    const count = held.reduce((sum, row) => sum + !row.out, 0);
    if (chunk && count) chunk.style.setProperty("--rows", count);
    if (count || !chunk) held.forEach(draw);
    if (!chunk) continue;
    if (count && near.has(chunk) && room <= 0) later.push(chunk);
    if (near.has(chunk)) room -= count;
    blank(chunk, count === 0 || later.includes(chunk));
  }
  // What is pushed out of sight by what grows above it would all be laid out once more, were it still in sight.
  if (later.length) requestAnimationFrame(() => requestAnimationFrame(apply));
}

function blank(chunk, empty) {
  if ("none" in chunk.dataset !== empty) chunk.toggleAttribute("data-none", empty);
}

// The chunks that stand in the window, and one and a half windows above and below: those a browser lays out.
function inSight() {
  const seen = new Set();
  for (const chunk of fall.querySelectorAll(".chunk:not([data-none])")) {
    const box = chunk.getBoundingClientRect();
    if (box.top > innerHeight * 2.6) break;
    if (box.bottom > -innerHeight * 1.6) seen.add(chunk);
  }
  return seen;
}

function draw(row) {
  if (row.element.hidden !== row.out) row.element.hidden = row.out;
  if (!row.fold) return;
  const open = String(!state.folded.has(row.key));
  if (row.fold.getAttribute("aria-expanded") !== open) row.fold.setAttribute("aria-expanded", open);
}

function foldBelow(depth) {
  state.folded = new Set(present().filter((row) => row.below && row.depth >= depth).map((row) => row.key));
  apply();
}

const RANK = { began: 2, carried: 1 };
const ORDERS = {
  "": (one, other) => one.place - other.place,
  ns: (one, other) => other.ns - one.ns || one.place - other.place,
  own: (one, other) => other.own - one.own || one.place - other.place,
  fault: (one, other) => (RANK[other.fault] || 0) - (RANK[one.fault] || 0) || one.place - other.place,
};

function sort() {
  if (sortedBy === control("sort").value) {
    apply();
    return;
  }
  sortedBy = control("sort").value;
  fall.classList.toggle("flat", sortedBy !== "");
  const ordered = present().sort(ORDERS[sortedBy]);
  const chunks = [...fall.querySelectorAll(".chunk")];
  if (chunks.length) {
    chunks.forEach((chunk, number) => {
      const own = ordered.slice(number * CHUNK, (number + 1) * CHUNK);
      for (const row of own) row.chunk = chunk;
      chunk.append(...own.map((row) => row.element));
    });
  } else {
    rowsBox().append(...ordered.map((row) => row.element));
  }
  apply();
}

// Zoom

function duration(ns) {
  for (const [size, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) {
    if (ns >= size * 0.9995) {
      const value = ns / size;
      return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
    }
  }
  return `${Math.round(ns)} ns`;
}

let zooming = 0;

function zoomTo(from, to) {
  state.zoom = [Math.max(0, Math.min(from, SCALE - LEAST)), Math.min(SCALE, Math.max(to, from + LEAST))];
  if (!zooming) zooming = requestAnimationFrame(() => { zooming = 0; drawZoom(present()); });
}

function drawZoom(which) {
  const [from, to] = state.zoom;
  const box = `${from} 0 ${to - from} 14`;
  for (const row of which) row.svg.setAttribute("viewBox", box);
  const length = Number(fall.dataset.length);
  fall.querySelectorAll(".ticks span").forEach((tick, quarter) => {
    const at = (length * (from + ((to - from) * quarter) / 4)) / SCALE;
    tick.textContent = at ? duration(at) : "0";
  });
  control("off-left").setAttribute("width", from);
  control("off-right").setAttribute("x", to);
  control("off-right").setAttribute("width", SCALE - to);
  control("zoom-from").value = from;
  control("zoom-to").value = to;
  for (const [id, at] of [["zoom-from", from], ["zoom-to", to]]) {
    control(id).setAttribute("aria-valuetext", duration((length * at) / SCALE));
  }
}

function dragged() {
  const overview = control("overview");
  const at = (event) => {
    const box = overview.getBoundingClientRect();
    return Math.max(0, Math.min(SCALE, ((event.clientX - box.left) / box.width) * SCALE));
  };
  let begun = null;
  overview.addEventListener("pointerdown", (event) => {
    begun = at(event);
    overview.setPointerCapture(event.pointerId);
  });
  overview.addEventListener("pointermove", (event) => {
    if (begun !== null) zoomTo(Math.min(begun, at(event)), Math.max(begun, at(event)));
  });
  overview.addEventListener("pointerup", (event) => {
    if (begun !== null && Math.abs(at(event) - begun) < 5) zoomTo(0, SCALE);
    begun = null;
  });
}

// Going to a row

function reveal(row) {
  if (!sortedBy) {
    for (let above = rows[row.above]; above; above = rows[above.above]) state.folded.delete(above.key);
  }
  if (!row.critical) control("critical").checked = false;
  apply();
  const summary = row.element.querySelector("summary");
  summary.scrollIntoView({ block: "center" });
  summary.focus({ preventScroll: true });
}

// The next one in the order that is shown, after the last one; then the first one again.
function jump(kind, wanted) {
  const order = present().sort(ORDERS[sortedBy]).filter(wanted);
  if (!order.length) return;
  lastJump[kind] = (lastJump[kind] + 1) % order.length;
  reveal(order[lastJump[kind]]);
}

function follow() {
  const key = decodeURIComponent(location.hash).replace(/^#span-/, "");
  const row = location.hash.startsWith("#span-") && present().find((one) => one.key === key);
  if (!row) return;
  row.element.querySelector("details").open = true;
  reveal(row);
}

// Search: the server knows more of a span than its row shows

async function find() {
  const text = new FormData(control("find")).get("find").trim();
  const asked = new URLSearchParams(location.search);
  if (text) asked.set("find", text); else asked.delete("find");
  history.replaceState(null, "", `${location.pathname}${asked.size ? `?${asked}` : ""}${location.hash}`);
  fall.querySelector(".hits")?.remove();
  if (!text) {
    show(new Set(), "");
    return;
  }
  const answer = await fetch(`/trace/${fall.dataset.trace}/find?${asked}`);
  if (!answer.ok || answer.status === 204) {
    show(new Set(), "this trace is no longer kept");
    return;
  }
  const found = (await answer.json()).rows;
  const count = found.length.toLocaleString("en");
  show(new Set(found), `${count} ${found.length === 1 ? "span" : "spans"} of ${Number(fall.dataset.total).toLocaleString("en")}`);
  jumpToHit();
}

function mark() {
  if (state.hits) for (const row of present()) row.element.classList.toggle("hit", state.hits.has(row.place));
}

function show(hits, text) {
  state.hits = hits;
  lastJump.hit = -1;
  mark();
  control("found").textContent = text;
  control("next-hit").disabled = hits.size === 0;
  apply();
}

const jumpToHit = () => jump("hit", (row) => state.hits?.has(row.place));

// The rows that the page does not hold yet

const idle = () => new Promise((done) => setTimeout(done, 0));

async function rest() {
  const total = Number(fall.dataset.total);
  const here = Number(fall.dataset.first);
  control("pager")?.setAttribute("hidden", "");
  const step = rows.filter(Boolean).length;
  const asked = new URLSearchParams(location.search);
  const before = rowsBox().firstElementChild;
  const wanted = [];
  for (let from = 0; from < total; from += 200) if (from < here || from >= here + step) wanted.push(from);
  const ask = (from) => {
    asked.set("row", from);
    return fetch(`/trace/${fall.dataset.trace}/rows?${asked}`, { headers: { "x-live": "1" } });
  };
  let next = wanted.length ? ask(wanted[0]) : null;
  for (const [number, from] of wanted.entries()) {
    const answer = await next;
    next = number + 1 < wanted.length ? ask(wanted[number + 1]) : null; // on its way while this one is put in place
    if (!answer.ok || answer.status === 204) {
      control("loading").textContent = "The other rows are no longer kept";
      break;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const chunk of [...page.querySelectorAll(".chunk")]) {
      if (from < here) before.before(document.adoptNode(chunk)); else rowsBox().append(document.adoptNode(chunk));
      await idle();
    }
    control("loading").textContent = `${Math.min(total, from + 200).toLocaleString("en")} of ${total.toLocaleString("en")} rows`;
  }
  index();
  if (rows.filter(Boolean).length === total) control("loading").textContent = "";
  restore();
}

// What a span tells is on a page of its own where a trace is long

async function fill(details) {
  const link = details.querySelector(".more a");
  if (!link) return;
  const answer = await fetch(link.href, { headers: { "x-live": "1" } });
  if (!answer.ok || answer.status === 204) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const about = page.querySelector(".about");
  if (about) link.closest(".more")?.replaceWith(document.adoptNode(about));
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.dataset.done = "";
    button.addEventListener("blur", () => delete button.dataset.done, { once: true });
  } catch {
    // Where a page may not write to the clipboard, what is to be copied is marked.
    document.getSelection().selectAllChildren(button.parentElement);
  }
}

// Puts what is asked for upon rows as the server drew them, in the order of the calls.
function restore() {
  fall.dataset.owned = "";
  sortedBy = "";
  if (state.zoom[0] > 0 || state.zoom[1] < SCALE) drawZoom(present());
  mark();
  sort();
}

function listen() {
  control("depth").addEventListener("change", (event) => {
    foldBelow(event.target.value === "" ? Infinity : Number(event.target.value));
  });
  control("fold-all").addEventListener("click", () => foldBelow(0));
  control("unfold-all").addEventListener("click", () => foldBelow(Infinity));
  control("sort").addEventListener("change", sort);
  control("critical").addEventListener("change", apply);
  control("next-fault").addEventListener("click", () => jump("fault", (row) => row.fault === "began"));
  control("next-hit").addEventListener("click", jumpToHit);
  control("zoom-from").addEventListener("input", (event) => zoomTo(Number(event.target.value), state.zoom[1]));
  control("zoom-to").addEventListener("input", (event) => {
    const to = Math.max(LEAST, Number(event.target.value));
    zoomTo(Math.min(state.zoom[0], to - LEAST), to);
  });
  control("zoom-all").addEventListener("click", () => zoomTo(0, SCALE));
  control("find").addEventListener("submit", (event) => { event.preventDefault(); find(); });
  dragged();
}

// One branch: by its button, or as in any tree by the arrows to the left and right.
function fold(row, shut) {
  if (shut) state.folded.add(row.key); else state.folded.delete(row.key);
  apply();
}

const rowOf = (element) => rows[Number(element.closest(".row")?.dataset.n)];

document.addEventListener("click", (event) => {
  const foldButton = event.target.closest(".fold");
  const copyButton = event.target.closest(".copy");
  if (foldButton) {
    const row = rowOf(foldButton);
    if (row) fold(row, !state.folded.has(row.key));
  } else if (copyButton) {
    copy(copyButton);
  }
});

document.addEventListener("keydown", (event) => {
  if (!["ArrowLeft", "ArrowRight"].includes(event.key) || document.activeElement.tagName !== "SUMMARY" || sortedBy) return;
  const row = rowOf(document.activeElement);
  if (!row) return;
  event.preventDefault();
  const shut = state.folded.has(row.key);
  if (event.key === "ArrowRight" && row.below) fold(row, false);
  else if (event.key === "ArrowLeft" && row.below && !shut) fold(row, true);
  else if (event.key === "ArrowLeft" && rows[row.above]) rows[row.above].element.querySelector("summary").focus();
});

document.addEventListener("toggle", (event) => { if (event.target.open) fill(event.target); }, true);
addEventListener("hashchange", follow);

// More spans of this trace: a short one is drawn anew around what is open, a long one says so.
fall.addEventListener("outdated", (event) => {
  if (!("lean" in fall.dataset) && fall.querySelectorAll(".row").length === rows.length) return;
  document.getElementById("stale").hidden = false;
  event.preventDefault();
});
document.addEventListener("patched", () => {
  if ("owned" in fall.dataset) return;
  index();
  restore();
});

document.documentElement.classList.add("scripted");
index();
listen();
restore();
if (control("find").elements.find.value) find().then(follow); else follow();
if ("lean" in fall.dataset) rest().then(follow);
