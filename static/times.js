// Times in the reader's own zone, and ages that grow.

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

const WORDS = {
  age: (at) => age((Date.now() - at) / 1000, at),
  clock: (at) => clock.format(at),
  day: (at) => day.format(at),
};

/** Tell the times below an element. */
export function tell(root) {
  for (const time of root.querySelectorAll("time[data-time]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const words = WORDS[time.dataset.time](at);
    if (time.textContent !== words) time.textContent = words;
    time.title = day.format(at);
  }
}

export function keepTimes() {
  tell(document);
  setInterval(() => tell(document), 5000);
}

function age(seconds, at) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : day.format(at);
}
