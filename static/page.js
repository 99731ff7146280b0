// Brings the page to life. Everything here works without it, too: as forms and links.
import { chart } from "./chart.js";
import { live, look } from "./live.js";
import { providers, show } from "./providers.js";
import { send } from "./send.js";
import { keepTimes } from "./times.js";

keepTimes();
send();
providers();
filter();
const draw = chart();

if (document.querySelector("[data-part]")) {
  live((rows) => {
    for (const row of rows) {
      show(row);
      draw?.(row);
    }
  });
}

function filter() {
  const form = document.getElementById("filter");
  const region = document.getElementById("mails-body");
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    history.replaceState(null, "", `/?${query}#mails`);
    region.dataset.part = `/parts/mails?${query}`;
    look(region);
  });
  form?.querySelector("select").addEventListener("change", () => form.requestSubmit());
}
