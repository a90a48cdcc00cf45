// Keeps a page current: at each event of the store it fetches the page again and changes what is not the same.
"use strict";

const button = document.getElementById("live");
const label = document.getElementById("live-text");
const gone = document.getElementById("gone");
const PAUSE_MS = 1000; // at most one fetch a second, however much comes in
const RETRY_MS = 5000;
const NOT_KEPT = 204; // the store's answer where what this page shows has been dropped

let events = null;
let paused = false;
let due = false;
let busy = false;

function say(text, state) {
  label.textContent = text;
  button.dataset.state = state;
}

function sayLive() {
  if (!paused && events?.readyState === EventSource.OPEN) say("Live", "live");
}

// Whether the reader has marked something in here: a change would take it away.
function marked(element) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && selection.containsNode(element, true);
}

const named = (node) => node.nodeType === Node.ELEMENT_NODE && (node.id || node.dataset.key) || "";

function alike(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && named(old) === named(fresh);
}

// Nodes stay where they are: what is open stays open, and focus, marks and scrolling stay with what they belong to.
function patch(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (kept(old, fresh)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.tagName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  patchChildren(old, fresh);
}

// What another script has taken over stays as it is while it shows the same; where not, that script says what is done.
function kept(old, fresh) {
  if (!("owned" in old.dataset)) return false;
  if (old.dataset.version === fresh.dataset.version) return true;
  return !old.dispatchEvent(new CustomEvent("outdated", { cancelable: true }));
}

const classOf = (node) => node.getAttribute?.("class");

// Among the nodes from here on that have no name, the first of the same kind.
function next(at, wanted) {
  for (let node = at; node; node = node.nextSibling) {
    if (!named(node) && alike(node, wanted) && classOf(node) === classOf(wanted)) return node;
  }
  return null;
}

function patchChildren(old, fresh) {
  const kept = new Set([...fresh.childNodes].map(named));
  const known = new Map([...old.childNodes].filter(named).map((node) => [named(node), node]));
  for (const [name, node] of known) if (!kept.has(name)) node.remove();
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const same = named(wanted) ? known.get(named(wanted)) : next(at, wanted);
    if (!same || !alike(same, wanted)) {
      old.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    while (!named(wanted) && at !== same) at = passed(at);
    if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
    patch(same, wanted);
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

// What has a name may be wanted later on.
function passed(node) {
  const after = node.nextSibling;
  if (!named(node)) node.remove();
  return after;
}

function show(page) {
  let waits = false;
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(old.id);
    if (!fresh) continue;
    if (marked(old)) waits = true; else patch(old, fresh);
  }
  document.dispatchEvent(new Event("patched"));
  if (waits) due = true;
  if (waits && !paused) say("Waits: text is selected", "live"); else sayLive();
}

async function refresh() {
  if (paused || busy || document.hidden) { due = true; return; }
  due = false;
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html", "x-live": "1" } });
    if (answer.status === NOT_KEPT) {
      if (gone) gone.hidden = false;
    } else {
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
  } catch {
    // The stream tells when the store is back.
  }
  setTimeout(() => { busy = false; if (due && !document.getSelection()?.toString()) refresh(); }, PAUSE_MS);
}

// What waited for the end of a selection goes on.
document.addEventListener("selectionchange", () => {
  if (paused || !due || busy || document.getSelection()?.toString()) return;
  sayLive();
  refresh();
});

function listen() {
  const own = events = new EventSource("/events");
  own.onopen = () => {
    sayLive();
    refresh(); // what changed before the stream was open, nobody told
  };
  own.onerror = () => {
    say("Store not reached", "lost");
    // Where the store refused, the browser does not try again.
    if (own.readyState === EventSource.CLOSED) setTimeout(() => { if (own === events) listen(); }, RETRY_MS);
  };
  own.addEventListener("change", refresh);
}

button.addEventListener("click", () => {
  paused = !paused;
  button.setAttribute("aria-pressed", String(!paused));
  say(paused ? "Paused" : "Live", paused ? "paused" : "live");
  if (!paused && due) refresh();
});

// A browser has six connections to a host: a page that nobody sees leaves them to the others.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    events.close();
    events = null;
  } else {
    listen();
  }
});

// Up and down walk through the spans; Enter opens one, as it does for every <summary>.
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || document.activeElement.tagName !== "SUMMARY") return;
  const all = [...document.querySelectorAll("summary")];
  let at = all.indexOf(document.activeElement) + step;
  while (all[at] && all[at].closest("[hidden], [data-none]")) at += step;
  if (all[at]) { all[at].focus(); event.preventDefault(); }
});

button.hidden = false;
listen();
