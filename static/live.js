// Keeps the pieces of the page true: they name where they come from (data-part) and what changes them (data-on).
import { ask } from "./http.js";
import { tell } from "./times.js";

const GAP = 400; // ms between two looks at the same piece
const POLL = 3000; // ms, where the stream of events cannot be had
const AGAIN = 30000; // ms until it is tried again
const states = new WeakMap();

/** Fetch a piece again: at once, and then no more often than every GAP, however much happens. */
export async function look(region) {
  const state = states.get(region) ?? { busy: false, dirty: false };
  states.set(region, state);
  state.dirty = true;
  if (state.busy) return;
  state.busy = true;
  while (state.dirty) {
    state.dirty = false;
    await fetchInto(region);
    await new Promise((done) => setTimeout(done, GAP));
  }
  state.busy = false;
}

/** Listen to the server as long as somebody looks. `heard` gets rows of providers. */
export function live(heard) {
  let source = null;
  let polls = 0;

  function connect() {
    source = new EventSource("/events");
    source.addEventListener("open", () => {
      clearInterval(polls);
      everything(heard);
    });
    for (const kind of ["mail", "attempt", "provider"]) {
      source.addEventListener(kind, (event) => {
        const data = JSON.parse(event.data);
        if (kind === "provider") heard([data]);
        for (const region of document.querySelectorAll(`[data-part][data-on~="${kind}"]`)) {
          const about = region.dataset.mail;
          if (!about || about === data.id) look(region);
        }
      });
    }
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // else the browser connects again by itself
      clearInterval(polls);
      polls = setInterval(() => everything(heard), POLL);
      setTimeout(() => document.hidden || source.readyState !== EventSource.CLOSED || connect(), AGAIN);
    });
  }

  // A browser has few connections to a server: pages that nobody looks at give theirs back.
  document.addEventListener("visibilitychange", () => {
    clearInterval(polls);
    source?.close();
    if (!document.hidden) connect();
  });
  if (!document.hidden) connect();
}

async function everything(heard) {
  for (const region of document.querySelectorAll("[data-part]")) look(region);
  if (!document.querySelector("[data-provider]")) return;
  try {
    const answer = await ask("/providers");
    if (answer.ok) heard(await answer.json());
  } catch {
    // the server is away; the next event or poll comes when it is back
  }
}

async function fetchInto(region) {
  const part = region.dataset.part;
  try {
    const answer = await ask(part);
    const html = await answer.text();
    if (!answer.ok || region.dataset.part !== part) return;
    blend(region, new DOMParser().parseFromString(html, "text/html").body);
    tell(region);
    region.dispatchEvent(new Event("renewed"));
  } catch {
    // as above
  }
}

/** Make `old` like `fresh`, and leave alone what is the same: focus, open details and selections stay. */
function blend(old, fresh) {
  const wanted = [...fresh.childNodes];
  wanted.forEach((node, place) => {
    const here = old.childNodes[place] ?? null;
    const twin = node.id ? old.querySelector(`:scope > #${CSS.escape(node.id)}`) : here?.id ? null : here;
    if (twin?.nodeName !== node.nodeName) {
      old.insertBefore(node, here);
      return;
    }
    if (twin !== here) old.insertBefore(twin, here);
    if (!twin.isEqualNode(node)) merge(twin, node);
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

function merge(twin, node) {
  if (twin.nodeType !== Node.ELEMENT_NODE) {
    twin.data = node.data;
    return;
  }
  for (const { name, value } of node.attributes) if (twin.getAttribute(name) !== value) twin.setAttribute(name, value);
  for (const { name } of [...twin.attributes]) {
    if (!node.hasAttribute(name) && !(name === "open" && twin.localName === "details")) twin.removeAttribute(name);
  }
  blend(twin, node);
}
