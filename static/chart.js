// The scores of the last quarter of an hour. The numbers are in a table beside it.
import { ask } from "./http.js";
import { look } from "./live.js";

const SPAN = 900; // s
const LEAST = 120; // s
const EVERY = 2000; // ms between two points
const HEIGHT = 190;
const DASHES = [[], [8, 4], [2.5, 3.5], [10, 3, 2, 3], [5, 2], [1, 2]];

/** Begin to draw. Returns what takes the rows of providers as they change. */
export function chart() {
  const place = document.getElementById("chart");
  const table = document.getElementById("chart-table");
  if (!place || !window.uPlot) return null;
  const names = [...document.querySelectorAll("[data-provider]")].map((item) => item.dataset.provider);
  const top = Number(document.querySelector(".providers").dataset.top);
  const now = {};
  let data = [[], ...names.map(() => [])];
  let plot = null;

  function redraw() {
    plot?.destroy();
    plot = new window.uPlot(options(place, names, top), data, place);
  }

  function tick() {
    const at = Date.now() / 1000;
    data[0].push(at);
    names.forEach((name, place) => data[place + 1].push(now[name] ?? null));
    const first = data[0].findIndex((time) => time >= at - SPAN);
    data = data.map((column) => column.slice(first));
    if (!document.hidden) plot.setData(data);
  }

  async function begin() {
    try {
      const { at, scores } = await (await ask("/providers/scores")).json();
      data = [at.map((time) => Date.parse(time) / 1000), ...names.map((name) => scores[name] ?? at.map(() => null))];
    } catch {
      // then it begins with what comes
    }
    redraw();
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
    document.addEventListener("theme", redraw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    setInterval(tick, EVERY);
  }

  table.addEventListener("toggle", () => table.open && look(table.querySelector("[data-part]")));
  begin();
  return ({ name, score }) => (now[name] = score);
}

function options(place, names, top) {
  const style = getComputedStyle(place);
  const axis = { stroke: style.color, font: `11px ${style.fontFamily}`, ticks: { show: false } };
  const grid = { stroke: style.borderTopColor, width: 1 };
  const minutes = (_, splits) => splits.map((at) => new Date(at * 1000).toTimeString().slice(0, 5));
  return {
    width: place.clientWidth,
    height: HEIGHT,
    padding: [6, 18, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: span }, y: { range: [0, top * 1.06] } },
    axes: [
      { ...axis, grid: { show: false }, values: minutes, incrs: [60, 120, 300], size: 24, gap: 6 },
      { ...axis, grid, size: 30, gap: 4 },
    ],
    series: [{}, ...names.map((_, number) => line(number))],
  };
}

/** From the first sample, but neither more than what is kept nor so little that two points fill it. */
function span(_, first) {
  const now = Date.now() / 1000;
  return [Math.max(now - SPAN, Math.min(first ?? now, now - LEAST)), now];
}

/** The look of a line is that of its key beside the provider's name. */
function line(number) {
  const key = document.querySelector(`.key.series-${number % 6}`);
  return { stroke: getComputedStyle(key).stroke, width: 2, dash: DASHES[number % 6], points: { show: false } };
}
