// The providers: their rows as they change, the hand that pauses one, and the knobs of a rehearsal.
import { ask, post } from "./http.js";
import { tell } from "./times.js";

const SHOWN = { score: (score) => score.toFixed(1) };

/** Bring a provider's row up to date. `row` is what the API says of it. */
export function show(row) {
  const item = document.querySelector(`[data-provider="${CSS.escape(row.name)}"]`);
  if (!item) return;
  for (const place of item.querySelectorAll("[data-field]")) {
    const name = place.dataset.field;
    const text = row[name] === null ? "" : (SHOWN[name]?.(row[name]) ?? String(row[name]));
    if (name === "last_error_at") place.dateTime = text;
    else if (place.textContent !== text) place.textContent = text;
  }
  item.querySelector('[data-field="reason"]').hidden = !row.reason;
  item.querySelector("[data-error]").hidden = !row.last_error;
  const top = Number(item.parentElement.dataset.top);
  item.querySelector("[data-bar]").setAttribute("width", `${((100 * row.score) / top).toFixed(1)}%`);
  if (item.dataset.state !== row.state) change(item, row);
  tell(item);
}

function change(item, row) {
  item.dataset.state = row.state;
  const state = item.querySelector("[data-state-word]");
  state.className = `state ${row.state}`;
  state.querySelector("use").setAttribute("href", `#i-${row.state}`);
  const paused = row.state === "paused";
  const form = item.querySelector("form.hand");
  form.action = `/providers/${row.name}/${paused ? "resume" : "pause"}`;
  form.querySelector("button").firstChild.data = paused ? "Resume" : "Pause";
}

export function providers() {
  const card = document.getElementById("providers");
  card?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await post(event.target);
    if (event.target.matches(".hand")) for (const row of await (await ask("/providers")).json()) show(row);
    else if (answer.ok) count(await answer.json());
  });
  card?.addEventListener("input", ({ target }) => {
    const output = target.parentElement.querySelector("output");
    if (output) output.value = target.value;
  });
  card?.addEventListener("change", ({ target }) => target.closest("[data-turn]")?.requestSubmit());
  if (document.getElementById("stream-words")) again();
}

let waiting = 0;

function count({ stream }) {
  if (!stream) return;
  const ended = stream.running ? "" : `, ${stream.error ?? "ended"}`;
  document.getElementById("stream-words").textContent = `${stream.sent} of ${stream.total} mails sent${ended}`;
  clearTimeout(waiting);
  if (stream.running) waiting = setTimeout(again, 1000);
}

async function again() {
  try {
    count(await (await ask("/rehearsal")).json());
  } catch {
    waiting = setTimeout(again, 3000);
  }
}
