// The operator page: asks for how things are, draws that, and asks again whenever the daemon says that something changed.

import { ago, byId, count, element, keep, say, setTime, span, tick } from "./elements.js";
import { classOf, draw, explain, tell } from "./timeline.js";

const LEAST_PAUSE = 300; // ms between two looks, however much happens
const LONGEST_PAUSE = 15000; // ms until the next look if nothing seems to happen
const SHORT_REASON = 160; // characters of a reason that are shown at once
const FEW = { "dead-letters": 5, sessions: 20 }; // how many are shown until somebody wants all of them
const RECONNECT = 5000; // ms until the next attempt where the browser makes none of its own

let overview = null;
let story = null;
let ahead = 0; // ms by which the daemon's clock is ahead of this machine's
let deadBefore = null;
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
      showOverview();
      await lookAtSession();
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
    say(byId("session-words"), error.message);
    byId("timeline").replaceChildren();
    byId("entries").replaceChildren();
    return;
  }
  showSession();
}

function listen() {
  const events = new EventSource("/events");
  events.addEventListener("open", () => {
    live(true, "live");
    look();
  });
  events.addEventListener("change", look);
  events.addEventListener("error", () => {
    live(false, "reconnecting");
    if (events.readyState === EventSource.CLOSED) {
      setTimeout(listen, RECONNECT);
    }
  });
}

function live(isLive, words) {
  byId("live").classList.toggle("on", isLive);
  say(byId("live"), words);
}

// Showing

function showOverview() {
  const { agents, sessions, dead_letters: dead, handlers, is_ready: isReady, checks } = overview;
  const failing = checks.filter((check) => !check.is_ok).map((check) => check.name);
  const readiness = byId("readiness");
  readiness.className = `pill ${isReady ? "well" : "ill"}`;
  say(readiness, isReady ? "ready" : `not ready: ${failing.join(", ")}`);
  document.title = `${dead.listed.length ? `(${dead.listed.length}${dead.has_more ? "+" : ""}) ` : ""}fbsessiond`;
  say(byId("version"), `fbsessiond ${overview.version}. Customer data is hidden behind tokens. Times are this machine’s.`);
  showSummary();
  fillList("agents", ".cards", agents, (one) => one.agent, makeAgent, fillAgent);
  fillList("dead-letters", ".letters", dead.listed, (one) => one.delivery, makeLetter, fillLetter, dead.has_more);
  fillList("sessions", "tbody", sessions.listed, (one) => `${one.agent} ${one.session}`, makeSession, fillSession, sessions.has_more);
  fillList("handlers", "tbody", handlers, (one) => one.handler, makeHandler, fillHandler);
  showChanging();
  if (deadBefore !== null && dead.listed.length > deadBefore) {
    announce(`${count(dead.listed.length, "dead letter")}, ${dead.listed.length - deadBefore} more than before`);
  }
  deadBefore = dead.listed.length;
  tick(Date.now() + ahead);
}

function showSummary() {
  const { agents, sessions, dead_letters: dead } = overview;
  const gaps = agents.filter((one) => one.gap).length;
  const plus = (part) => (part.has_more ? "+" : "");
  const open = sessions.listed.filter((one) => one.is_open).length;
  const parts = [
    ["#agents", `${agents.filter((one) => one.is_connected).length}/${agents.length}`, "connected", agents.some((one) => !one.is_connected)],
    ["#agents", gaps, gaps === 1 ? "gap" : "gaps", gaps > 0],
    ["#sessions", `${open}${plus(sessions)}`, open === 1 ? "open session" : "open sessions", false],
    ["#dead-letters", `${dead.listed.length}${plus(dead)}`, dead.listed.length === 1 ? "dead letter" : "dead letters", dead.listed.length > 0],
  ];
  keep(byId("summary"), parts, ([, , words], index) => words, ([href]) => element("a", { href }, element("strong"), element("span")), (link, [, number, words, isTrouble]) => {
    link.classList.toggle("trouble", isTrouble);
    say(link.children[0], String(number));
    say(link.children[1], ` ${words}`);
  });
}

function fillList(section, place, items, keyOf, make, fill, hasMore = false) {
  const node = byId(section);
  const list = node.querySelector(place);
  const few = FEW[section] ?? Infinity;
  const showsAll = node.dataset.all === "true";
  keep(list, showsAll ? items : items.slice(0, few), keyOf, make, fill);
  const all = node.querySelector(".all");
  if (all) {
    all.hidden = items.length <= few;
    say(all, showsAll ? "Show fewer" : `Show all ${items.length}`);
    all.setAttribute("aria-expanded", String(showsAll));
  }
  const shown = list.closest("table") ?? list;
  shown.hidden = items.length === 0;
  node.querySelector(".nothing").hidden = items.length > 0;
  const more = node.querySelector(".more");
  if (more) {
    more.hidden = !hasMore || !showsAll;
    say(more, `There are more than ${items.length}; the commands of fbsessiond show them all.`);
  }
}

function makeAgent(one) {
  return element(
    "li",
    {},
    element("h3", {}, one.agent),
    element("p", { class: "connection" }, element("span", { class: "dot", "aria-hidden": "true" }), element("span"), element("span", { class: "since" })),
    element("meter", { min: 0, max: 1, low: 0.9, high: 0.99, optimum: 1, "aria-label": `Coverage of ${one.agent}` }),
    element("p", { class: "figures" }, element("span"), element("span")),
    element("p", { class: "gap-words" }),
  );
}

function fillAgent(item, one) {
  const [, connection, meter, figures, gap] = item.children;
  item.className = one.gap || !one.is_connected ? "card ill" : "card well";
  say(connection.children[1], one.connection);
  timeIn(connection.children[2], one.since, " for ");
  meter.value = one.coverage;
  say(figures.children[0], `${shareOf(one.coverage)} covered, ${count(one.gaps, "gap")}`);
  timeIn(figures.children[1], one.proven_until, "last heard ", " ago");
  gap.hidden = !one.gap;
  if (one.gap) {
    if (!gap.firstChild) {
      gap.append(element("span"), ago(one.gap.from, " for "));
    }
    say(gap.children[0], `${one.gap.to ? "What was missed isn’t known yet" : "Notifications may be missed"}: ${one.gap.cause},`);
    setTime(gap.children[1], one.gap.from);
  }
}

function makeSession(one) {
  const link = element("a", { href: `#${new URLSearchParams({ session: one.session, agent: one.agent })}` }, one.session);
  const cell = (label, ...inside) => element("td", { "data-label": label }, ...inside);
  return element("tr", {}, element("th", { scope: "row" }, link), cell("State", element("span")), cell("Since"), cell("Agent", one.agent), cell("Next clock", element("span"), element("span")), cell("Trouble"));
}

function fillSession(row, one) {
  const [name, state, since, , clockCell, trouble] = row.children;
  const isChosen = story !== null && story.session === one.session && story.agent === one.agent;
  row.classList.toggle("chosen", isChosen);
  if (isChosen) {
    name.firstChild.setAttribute("aria-current", "true");
  } else {
    name.firstChild.removeAttribute("aria-current");
  }
  state.firstChild.className = `chip ${classOf(one.state)}`;
  say(state.firstChild, one.state ?? "unknown");
  timeIn(since, one.since, "", " ago");
  say(clockCell.children[0], one.clock ? `${one.clock.handler} ` : "");
  timeIn(clockCell.children[1], one.clock?.at ?? null, "in ");
  clockCell.classList.toggle("empty", !one.clock);
  say(trouble, one.trouble ?? "");
  trouble.classList.toggle("empty", !one.trouble);
}

function makeLetter(one) {
  const act = (words, name, run) => {
    const button = element("button", { type: "button", class: name, "aria-label": `${words} ${one.delivery}` }, words);
    button.addEventListener("click", run);
    return button;
  };
  return element(
    "li",
    { class: "letter" },
    element("p", { class: "what" }, element("strong", {}, one.delivery), " on ", element("a", { href: `#${new URLSearchParams({ session: one.session })}` }, one.session), element("span")),
    element("div", { class: "reason" }, element("p"), element("details", {}, element("summary", {}, "All of it"), element("p"))),
    element("p", { class: "when" }, element("span"), ago(one.at, "", " ago")),
    element(
      "p",
      { class: "buttons" },
      act("Retry", "main", () => retry(one.delivery)),
      act("Drop", "quiet", () => {
        wantedDrop = one.delivery;
        say(byId("drop-heading"), `Drop ${one.delivery}`);
        openDialog("drop-dialog");
      }),
    ),
  );
}

function fillLetter(item, one) {
  const [what, reason, when, buttons] = item.children;
  say(what.lastChild, one.after ? `, which came to ${one.after}` : "");
  const words = one.reason || "no reason is known";
  const isLong = words.length > SHORT_REASON;
  say(reason.firstChild, isLong ? `${words.slice(0, SHORT_REASON)}…` : words);
  reason.lastChild.hidden = !isLong;
  say(reason.lastChild.lastChild, isLong ? words : "");
  say(when.children[0], `${count(one.attempts, "attempt")}, `);
  setTime(when.children[1], one.at);
  for (const button of buttons.children) {
    button.disabled = overview.changes !== "allowed";
  }
}

function makeHandler(one) {
  const cell = (label) => element("td", { class: "number", "data-label": label });
  return element("tr", {}, element("th", { scope: "row" }, one.handler), ...["A minute", "Takes (median)", "19 of 20 within", "Failed", "To do", "Given up"].map(cell));
}

function fillHandler(row, one) {
  const seconds = (value) => (value === null ? "–" : span(value));
  const figures = [one.per_minute.toLocaleString("en-GB", { maximumFractionDigits: 1 }), seconds(one.median_seconds), seconds(one.percentile_95_seconds), one.failed, one.to_do, one.dead];
  figures.forEach((figure, index) => say(row.children[index + 1], String(figure)));
  row.children[4].classList.toggle("trouble", one.failed > 0);
  row.children[6].classList.toggle("trouble", one.dead > 0);
}

function showSession() {
  say(byId("session-heading"), `Session ${story.session}`);
  const more = story.has_more ? `, of which the last ${story.entries.length} are shown` : "";
  say(byId("session-words"), `${story.state ?? "unknown"}, ${story.agent}, ${count(story.count, "entry", "entries")}${more}`);
  draw(byId("timeline"), story);
  explain(byId("legend"), story);
  tell(byId("entries"), story);
}

function showChanging() {
  const words = { allowed: "", "sign-in": "Sign in to retry or drop.", off: "To retry or drop from this page, set [http] token in the configuration. On a terminal: fbsessiond dead retry." };
  const notice = byId("changing");
  notice.hidden = overview.changes === "allowed" || overview.dead_letters.listed.length === 0;
  say(notice, words[overview.changes]);
  byId("sign-in").hidden = overview.changes !== "sign-in";
  byId("sign-out").hidden = !overview.is_signed_in;
}

function timeIn(place, at, before = "", after = "") {
  if (!at) {
    place.replaceChildren();
  } else if (place.firstChild) {
    setTime(place.firstChild, at);
  } else {
    place.replaceChildren(ago(at, before, after));
  }
}

function shareOf(share) {
  return `${(Math.floor(share * 100000) / 1000).toFixed(3)} %`;
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
    showOverview();
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
listen();
