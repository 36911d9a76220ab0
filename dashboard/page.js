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

function take(event) {
  const { version, parts } = JSON.parse(event.data);
  body.dataset.version = version;
  for (const [name, html] of Object.entries(parts)) place(name, html);
  ages();
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

setInterval(ages, 1000);
ages();
