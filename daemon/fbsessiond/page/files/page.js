// The operator page: asks for how things are, draws that, and asks again whenever the daemon says that something changed.

import { byId, count, say, tick } from "./elements.js";
import { classOf, explain } from "./marks.js";
import { showOverview } from "./overview.js";
import { tell } from "./story.js";
import { draw } from "./timeline.js";

const LEAST_PAUSE = 300; // ms between two looks, however much happens
const LONGEST_PAUSE = 15000; // ms until the next look if nothing seems to happen
const QUIET = 30000; // ms between two announcements of what nobody here did
const RECONNECT = 5000; // ms until the next attempt where the browser makes none of its own

let events = null;
let overview = null;
let story = null;
let ahead = 0; // ms by which the daemon's clock is ahead of this machine's
let deadTold = { number: null, at: 0 };
let isLooking = false;
let isOutdated = false;
let wantedDrop = null;

// Asking

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, { ...options, credentials: "same-origin", cache: "no-store" });
  if (response.status === 401 && path !== "/api/sign-in") {
    openDialog("sign-in-dialog");
  }
  const answer = response.headers.get("Content-Type")?.startsWith("application/json") ? await response.json() : { error: (await response.text()).trim() };
  if (!response.ok) {
    throw new Error(answer.error);
  }
  return answer;
}

async function look() {
  if (isLooking) {
    isOutdated = true;
    return;
  }
  isLooking = true;
  do {
    isOutdated = false;
    try {
      overview = await ask("/api/overview");
      ahead = Date.parse(overview.now) - Date.now();
      showEverything();
      await lookAtSession();
      listen();
    } catch (error) {
      live(false, error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, LEAST_PAUSE));
  } while (isOutdated);
  isLooking = false;
}

async function lookAtSession() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  const wanted = chosen.get("session");
  byId("session").hidden = wanted === null;
  if (wanted === null) {
    story = null;
    return;
  }
  try {
    story = await ask(`/api/sessions/${encodeURIComponent(wanted)}${chosen.has("agent") ? `?agent=${encodeURIComponent(chosen.get("agent"))}` : ""}`);
  } catch (error) {
    story = null;
    say(byId("session-heading"), `Session ${wanted}`);
    showStanding(null, error.message);
    byId("timeline").replaceChildren();
    byId("legend").replaceChildren();
    byId("entries").replaceChildren();
    return;
  }
  showSession();
}

/** Listen for changes, once somebody may look: where the token is needed first, the browser would complain. */
function listen() {
  if (events !== null && events.readyState !== EventSource.CLOSED) {
    return;
  }
  events = new EventSource("/events");
  events.addEventListener("open", () => {
    live(true, "live");
    look();
  });
  events.addEventListener("change", look);
  events.addEventListener("error", () => {
    live(false, "reconnecting");
    if (events.readyState === EventSource.CLOSED) {
      setTimeout(look, RECONNECT);
    }
  });
}

function live(isLive, words) {
  byId("live").classList.toggle("on", isLive);
  say(byId("live"), words);
}

// Showing

function showEverything() {
  const { dead_letters: dead } = overview;
  document.title = `${dead.listed.length ? `(${dead.listed.length}${dead.has_more ? "+" : ""}) ` : ""}fbsessiond`;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  say(byId("version"), `fbsessiond ${overview.version}. Customer data is hidden behind tokens. Times are those of ${zone}.`);
  showOverview(overview, story, { retry, drop });
  showChanging();
  tellDead(dead.listed.length);
  tick(Date.now() + ahead);
}

/** Have a reader of the screen say that more was given up, now and then; everybody else sees it. */
function tellDead(number) {
  const before = deadTold.number;
  if (before !== null && number > before) {
    if (Date.now() - deadTold.at < QUIET) {
      return;
    }
    say(byId("told"), `${count(number, "dead letter")}, ${number - before} more than before`);
  }
  deadTold = { number, at: before !== null && number > before ? Date.now() : deadTold.at };
}

function showSession() {
  say(byId("session-heading"), `Session ${story.session}`);
  const more = story.has_more ? `, of which the last ${story.entries.length} are shown` : "";
  showStanding(story.state, `${story.agent}, ${count(story.count, "entry", "entries")}${more}`);
  draw(byId("timeline"), story);
  explain(byId("legend"), story);
  tell(byId("entries"), story);
}

function showStanding(state, words) {
  const [chip, rest] = byId("session-words").children;
  chip.hidden = state === null;
  chip.className = `chip ${classOf(state)}`;
  say(chip, state ?? "");
  say(rest, words);
}

function showChanging() {
  const words = { allowed: "", "sign-in": "Sign in to retry or drop.", off: "To retry or drop from this page, set [http] token in the configuration. On a terminal: fbsessiond dead retry." };
  const notice = byId("changing");
  notice.hidden = overview.changes === "allowed" || overview.dead_letters.listed.length === 0;
  say(notice, words[overview.changes]);
  byId("sign-in").hidden = overview.changes !== "sign-in";
  byId("sign-out").hidden = !overview.is_signed_in;
}

// Doing

async function retry(delivery) {
  try {
    await ask("/api/dead-letters/retry", { delivery });
    announce(`${delivery} is tried again.`);
    byId("dead-heading").focus();
  } catch (error) {
    announce(`${delivery}: ${error.message}`, true);
  }
  look();
}

function drop(delivery) {
  wantedDrop = delivery;
  say(byId("drop-heading"), `Drop ${delivery}`);
  openDialog("drop-dialog");
}

function form(name, send) {
  const dialog = byId(`${name}-dialog`);
  const wrong = dialog.querySelector(".wrong");
  byId(`${name}-form`).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await send();
      dialog.close();
    } catch (error) {
      say(wrong, error.message);
    }
  });
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    say(wrong, "");
    dialog.querySelector("input:not([hidden])").value = "";
  });
}

function openDialog(name) {
  const dialog = byId(name);
  if (!dialog.open) {
    dialog.showModal();
  }
}

function announce(words, isWrong = false) {
  const said = byId("said");
  said.classList.toggle("ill", isWrong);
  say(said, words);
  said.classList.add("shown");
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => said.classList.remove("shown"), 6000);
}

form("sign-in", async () => {
  await ask("/api/sign-in", { token: byId("token").value });
  announce("You are signed in.");
  look();
});
form("drop", async () => {
  await ask("/api/dead-letters/drop", { delivery: wantedDrop, reason: byId("reason").value });
  announce(`${wantedDrop} is dropped.`);
  look();
});
byId("sign-in").addEventListener("click", () => openDialog("sign-in-dialog"));
byId("sign-out").addEventListener("click", async () => {
  await ask("/api/sign-out", {});
  announce("You are signed out.");
  look();
});
for (const button of document.querySelectorAll(".all")) {
  button.addEventListener("click", () => {
    const section = button.closest("section");
    section.dataset.all = String(section.dataset.all !== "true");
    showEverything();
  });
}
byId("close").addEventListener("click", () => {
  const chosen = document.querySelector("tr.chosen a");
  history.pushState(null, "", location.pathname);
  lookAtSession();
  (chosen ?? byId("sessions")).focus();
});
globalThis.addEventListener("hashchange", async () => {
  if (!location.hash.startsWith("#session=")) {
    return;
  }
  await lookAtSession();
  if (overview !== null) {
    showEverything(); // which marks the session in the list: Close leads back there
  }
  byId("session-heading").focus();
  byId("session").scrollIntoView({ block: "start" });
  look();
});
new ResizeObserver(() => {
  if (story !== null) {
    draw(byId("timeline"), story);
  }
}).observe(byId("timeline"));
setInterval(() => tick(Date.now() + ahead), 1000);
setInterval(look, LONGEST_PAUSE);
look();
