// Keeps a page current: at each event of the store it fetches the page again and puts the new parts in place.
"use strict";

const button = document.getElementById("live");
const label = document.getElementById("live-text");
const PAUSE_MS = 1000; // at most one fetch a second, however much comes in
const RETRY_MS = 5000;

let events = null;
let paused = false;
let due = false;
let busy = false;

function say(text, state) {
  label.textContent = text;
  button.dataset.state = state;
}

// What the reader opened and where the keyboard stands survive the exchange.
function exchange(old, fresh) {
  const open = new Set([...old.querySelectorAll("details[open]")].map((one) => one.id));
  const place = document.activeElement;
  const summary = place && place.tagName === "SUMMARY" ? place.parentElement.id : null;
  const href = place && place.closest("a") && old.contains(place) ? place.closest("a").getAttribute("href") : null;
  for (const one of fresh.querySelectorAll("details")) one.open = open.has(one.id);
  const scrolled = [...old.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  old.replaceWith(fresh);
  [...fresh.querySelectorAll(".scroll")].forEach((one, index) => { one.scrollLeft = scrolled[index] || 0; });
  const target = summary ? fresh.querySelector(`#${CSS.escape(summary)} > summary`)
    : href ? fresh.querySelector(`a[href="${CSS.escape(href)}"]`) : null;
  if (target) target.focus({ preventScroll: true });
}

async function refresh() {
  if (paused || busy || document.hidden) { due = true; return; }
  due = false;
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(old.id);
      if (!fresh) continue;
      const imported = document.importNode(fresh, true);
      const closed = old.cloneNode(true);
      for (const one of closed.querySelectorAll("details")) one.open = false;
      if (!closed.isEqualNode(imported)) exchange(old, imported);
    }
  } catch {
    // The stream tells when the store is back.
  }
  setTimeout(() => { busy = false; if (due) refresh(); }, PAUSE_MS);
}

function listen() {
  const own = events = new EventSource("/events");
  own.onopen = () => {
    if (!paused) say("Live", "live");
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
  const next = all[all.indexOf(document.activeElement) + step];
  if (next) { next.focus(); event.preventDefault(); }
});

button.hidden = false;
listen();
