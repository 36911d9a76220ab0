// Takes the parts of the page that the server pushes, and says how old what is shown has become.
// Everything can be read without it; markup comes from this page's own server, which escapes all text in it.

const body = document.body;
const offset = Date.parse(body.dataset.now) - Date.now();
const connection = document.getElementById("connection");
let lastHeard = Date.now();
let opened = false;

function age(milliseconds) {
  const s = Math.max(0, Math.round(milliseconds / 1000));
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${s % 60} s ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} m ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

function ages() {
  const now = Date.now() + offset;
  for (const when of document.querySelectorAll("time.when")) {
    when.dataset.age = age(now - Date.parse(when.dateTime));
  }
}

function say(text, lost) {
  if (connection.textContent === text) return;
  connection.textContent = text;
  connection.classList.toggle("lost", lost);
}

function place(name, html) {
  const old = document.getElementById(name);
  const made = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  if (!old || !made) return;
  if (old.querySelector(".trends") && made.querySelector(".trends")) return; // frames that hold charts already
  const active = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  old.replaceWith(document.adoptNode(made));
  if (name === "now") made.classList.add("changed");
  if (active !== null) {
    for (const link of made.querySelectorAll("a[href]")) {
      if (link.getAttribute("href") === active) {
        link.focus({ preventScroll: true });
        break;
      }
    }
  }
}

// What scrolls sideways must be reachable without a mouse.
function reach() {
  for (const wide of document.querySelectorAll(".wide")) {
    if (wide.scrollWidth > wide.clientWidth) {
      wide.tabIndex = 0;
      wide.setAttribute("role", "group");
      wide.setAttribute("aria-label", "Table, scrolls sideways");
    } else if (wide !== document.activeElement) {
      for (const name of ["tabindex", "role", "aria-label"]) wide.removeAttribute(name);
    }
  }
}

function take(event) {
  const { version, parts } = JSON.parse(event.data);
  body.dataset.version = version;
  for (const [name, html] of Object.entries(parts)) place(name, html);
  ages();
  reach();
  if ("trend" in parts || "points" in parts) follow();
}

if (body.dataset.events) {
  const source = new EventSource(`${body.dataset.events}?version=${encodeURIComponent(body.dataset.version)}`);
  source.addEventListener("open", () => {
    opened = true;
    lastHeard = Date.now();
    say("live", false);
  });
  source.addEventListener("parts", take);
  source.addEventListener("error", () => {
    const since = new Date(lastHeard).toISOString().slice(11, 19);
    say(`No answer from the dashboard since ${since}Z: what you see is stale. It goes on by itself.`, true);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
  setInterval(() => {
    if (source.readyState === EventSource.OPEN) lastHeard = Date.now();
    if (!opened && source.readyState === EventSource.CONNECTING) say("connecting", false);
  }, 1000);
}

// The charts over time. The page brings their frames and the newest panes; all of them are asked for once, and again
// when some were missed or the panes have become longer. uPlot comes after the page is there.

const REFRESH_MS = 60_000; // so long a late window may stay unseen beyond the newest panes
let panes = null; // {width, marks, begun: [...], rows: Map of at_ms to row, asked}
let charts = [];
let loading = null;

function css(name) {
  return getComputedStyle(body).getPropertyValue(name).trim();
}

function told(value, unit) {
  if (value === null || value === undefined) return "n/a";
  if (unit === "ratio") return `${Number((100 * value).toPrecision(3))} %`;
  if (unit === "ms") return `${Number(value.toPrecision(3))} ms`;
  return `${value < 1000 ? Number(value.toPrecision(3)) : Math.round(value).toLocaleString("en")} /s`;
}

function library() {
  if (window.uPlot) return Promise.resolve();
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = "/static/uPlot.min.css";
  const script = document.createElement("script");
  script.src = "/static/uPlot.iife.min.js";
  const loaded = new Promise((done, failed) => {
    script.onload = done;
    script.onerror = failed;
  });
  document.head.append(style, script);
  return loaded;
}

function rowsOf(all, columns) {
  return new Map(all.at_ms.map((at, i) => [at, columns.map((name) => all[name][i])]));
}

async function ask(source, columns) {
  const answer = await fetch(source);
  if (!answer.ok) throw new Error(`${answer.status}`);
  const all = await answer.json();
  panes = { width: all.pane_ms, begun: all.stages, rows: rowsOf(all, columns), asked: Date.now() };
}

async function follow() {
  const place = document.querySelector(".trends");
  const newest = document.getElementById("points");
  if (!place || !newest || loading) return;
  const columns = newest.dataset.columns.split(",");
  const rows = JSON.parse(newest.dataset.points);
  const width = Number(newest.dataset.pane);
  const jitter = REFRESH_MS * (1 + Math.random());
  const missed = panes && rows.length && panes.rows.size && !panes.rows.has(rows[0][0] - width) && !panes.rows.has(rows[0][0]);
  const whole =
    panes && !missed && panes.width === width && panes.begun.length === Number(newest.dataset.marks) && Date.now() - panes.asked < jitter;
  try {
    if (!whole) {
      loading = Promise.all([library(), ask(place.dataset.source, columns)]);
      await loading;
    }
  } catch {
    return; // the next push tries again, and the numbers are there as a table
  } finally {
    loading = null;
  }
  for (const row of rows) panes.rows.set(row[0], row);
  draw(place, columns);
}

function draw(place, columns) {
  const sorted = [...panes.rows.values()].sort((a, b) => a[0] - b[0]);
  charts = charts.filter(({ plot }) => plot.isConnected);
  for (const figure of place.querySelectorAll("figure")) {
    const lines = [...figure.querySelectorAll("[data-column]")];
    const data = [sorted.map((row) => row[0]), ...lines.map((line) => sorted.map((row) => row[columns.indexOf(line.dataset.column)]))];
    const plot = figure.querySelector(".plot");
    const known = charts.find((chart) => chart.plot === plot);
    if (known) known.u.setData(data);
    else charts.push({ plot, u: chartOf(figure, plot, lines, data) });
    legend(figure, plot, lines, data, data[0].length - 1);
  }
}

function legend(figure, plot, lines, data, at) {
  for (const [i, line] of lines.entries()) {
    const text = told(data[i + 1][at], figure.dataset.unit);
    const output = line.querySelector(".value");
    if (output.textContent !== text) output.textContent = text;
  }
  const title = figure.querySelector("figcaption").textContent;
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${title}, newest: ${lines.map((line) => line.textContent).join(", ")}`);
}

const COLOURS = { stable: "--quiet", candidate: "--accent", both: "--open" };

function chartOf(figure, plot, lines, data) {
  const unit = figure.dataset.unit;
  const axis = { stroke: () => css("--quiet"), grid: { stroke: () => css("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const options = {
    width: Math.max(plot.clientWidth, 200),
    height: 170,
    ms: 1,
    tzDate: (at) => window.uPlot.tzDate(new Date(at), "Etc/UTC"),
    legend: { show: false },
    cursor: { sync: { key: "trend" }, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, low, high) => [0, high > 0 ? 1.08 * high : 1] } },
    axes: [
      { ...axis, size: 28, space: 70, values: times },
      { ...axis, size: 64, space: 34, values: (_, values) => values.map((value) => told(value, unit)) },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        stroke: () => css(COLOURS[line.className]),
        width: line.className === "candidate" ? 2 : 1.5,
        dash: line.className === "stable" ? [6, 4] : undefined,
        points: { size: 4, fill: () => css(COLOURS[line.className]) },
      })),
    ],
    hooks: {
      setCursor: [(u) => legend(figure, plot, lines, u.data, u.cursor.idx ?? u.data[0].length - 1)],
      drawClear: [stages],
    },
  };
  const u = new window.uPlot(options, data, plot);
  new ResizeObserver(() => u.setSize({ width: Math.max(plot.clientWidth, 200), height: options.height })).observe(plot);
  return u;
}

function times(u, splits, _axis, _space, step) {
  const long = u.scales.x.max - u.scales.x.min > 86_400_000;
  const text = (at) => new Date(at).toISOString();
  return splits.map((at) => (long ? text(at).slice(5, 16).replace("T", " ") : text(at).slice(11, step < 60_000 ? 19 : 16)));
}

function stages(u) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = css("--quiet");
  ctx.fillStyle = css("--quiet");
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  let free = bbox.left;
  for (const begun of panes.begun) {
    const x = Math.round(u.valToPos(begun.at_ms, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const name = begun.stage === `${begun.weight}` ? `${begun.stage} %` : begun.stage;
    const width = ctx.measureText(name).width;
    const at = Math.min(x + 4 * devicePixelRatio, bbox.left + bbox.width - width);
    if (at < free) continue; // names do not lie upon each other
    ctx.fillText(name, at, bbox.top + 11 * devicePixelRatio);
    free = at + width + 6 * devicePixelRatio;
  }
  ctx.restore();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const { u } of charts) u.redraw(false, true);
});

setInterval(ages, 1000);
addEventListener("resize", reach);
ages();
reach();
follow();
