// The form: send and stay, faults beside their fields, a preview, and the same mail as a request.
import { ask, token } from "./http.js";
import { look } from "./live.js";

const FIELDS = ["to", "to_name", "subject", "content"];
const PAUSE = 350; // ms after the last key until the requests below are written anew

export function send() {
  const form = document.getElementById("mail");
  if (!form) return;
  form.addEventListener("submit", (event) => {
    if (event.submitter?.id === "show-preview") return;
    event.preventDefault();
    submit(form);
  });
  document.getElementById("pane-preview").addEventListener("change", () => preview(form));
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => rewrite(form), PAUSE);
  });
  document.addEventListener("click", copy);
  const timeline = document.getElementById("timeline-body");
  timeline.addEventListener("renewed", () => say(timeline.querySelector(".step.last p")?.textContent ?? ""));
}

async function submit(form) {
  const button = document.getElementById("send-button");
  if (button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  const given = new FormData(form);
  const mail = Object.fromEntries(FIELDS.map((name) => [name, given.get(name)]).filter(([, value]) => value));
  const headers = { "Content-Type": "application/json", "Idempotency-Key": form._once.value, ...token() };
  try {
    const answer = await ask("/email", { method: "POST", headers, body: JSON.stringify(mail) });
    const said = await answer.json();
    form._once.value = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16)).join("-");
    mark(form, answer.ok ? [] : said.errors, answer.ok || said.errors.length ? "" : said.detail);
    if (answer.ok) follow(said.id);
  } catch {
    mark(form, [], "No answer from the server. Send again: the mail will not go out twice.");
  }
  button.removeAttribute("aria-busy");
}

function follow(id) {
  const timeline = document.getElementById("timeline-body");
  document.getElementById("timeline-title").textContent = "Your mail";
  timeline.dataset.part = `/parts/timeline/${id}`;
  timeline.dataset.mail = id;
  look(timeline);
  document.getElementById("timeline").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

/** Show what is wrong: beside its field where it has one here, above the form where not. */
function mark(form, faults, words) {
  const above = document.getElementById("above");
  const rest = [];
  const beside = {};
  for (const { field, message } of faults) {
    const name = field.replace(/\[.*/, "");
    if (FIELDS.includes(name)) beside[name] ??= message;
    else rest.push(`${field} ${message}`);
  }
  for (const name of FIELDS) {
    const place = document.getElementById(`${name}-fault`);
    place.textContent = beside[name] ?? "";
    place.hidden = !beside[name];
    if (beside[name]) form[name].setAttribute("aria-invalid", "true");
    else form[name].removeAttribute("aria-invalid");
  }
  const first = FIELDS.find((name) => beside[name]);
  if (first) rest.unshift("Nothing was sent. Mend what is marked, and send again.");
  if (words) rest.push(words);
  above.textContent = rest.join(" ");
  above.hidden = !rest.length;
  if (first === "content") document.getElementById("pane-write").checked = true;
  if (first) form[first].focus();
}

/** Into a new frame each time: a frame that is used again would add a page to the way back. */
function preview(form) {
  const old = document.querySelector('iframe[name="preview-frame"]');
  old.replaceWith(old.cloneNode());
  form.requestSubmit(document.getElementById("show-preview"));
}

async function rewrite(form) {
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await ask("/parts/requests", { method: "POST", headers: token(), body });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const code of fresh.querySelectorAll("code")) document.getElementById(code.id).textContent = code.textContent;
  } catch {
    // it is written with the next key
  }
}

async function copy(event) {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const code = document.getElementById(button.dataset.copy);
  const words = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(code.textContent);
    words.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    words.textContent = "Selected"; // not over plain HTTP: the reader's own keys must do it
  }
  say(words.textContent);
  setTimeout(() => (words.textContent = "Copy"), 2000);
}

/** For those who listen to the page. */
function say(words) {
  document.getElementById("spoken").textContent = words;
}
