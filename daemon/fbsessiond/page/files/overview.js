// How everything is: agents, dead letters, sessions, handlers, each kept in its place.

import { ago, byId, count, element, fillReason, keep, makeReason, say, setTime, span } from "./elements.js";
import { classOf } from "./marks.js";

const FEW = { agents: 12, "dead-letters": 5, sessions: 20 }; // how many are shown until somebody wants all of them

/** Show it all. `chosen` is the session that is open, and `act` does what a person wants with a dead letter. */
export function showOverview(overview, chosen, act) {
  const { agents, sessions, dead_letters: dead, handlers } = overview;
  showReadiness(overview);
  showSummary(overview);
  const letters = { keyOf: (one) => one.delivery, make: (one) => makeLetter(one, act), fill: (item, one) => fillLetter(item, one, overview.changes) };
  const rows = { keyOf: (one) => `${one.agent} ${one.session}`, make: makeSession, fill: (row, one) => fillSession(row, one, chosen) };
  const inTrouble = agents.toSorted((one, other) => isInTrouble(other) - isInTrouble(one));
  fillList("agents", ".cards", inTrouble, { keyOf: (one) => one.agent, make: makeAgent, fill: fillAgent });
  fillList("dead-letters", ".letters", dead.listed, letters, dead.has_more);
  fillList("sessions", "tbody", sessions.listed, rows, sessions.has_more);
  fillList("handlers", "tbody", handlers, { keyOf: (one) => one.handler, make: makeHandler, fill: fillHandler });
}

function showReadiness({ is_ready: isReady, checks }) {
  const failing = checks.filter((check) => !check.is_ok).map((check) => check.name);
  const others = failing.length > 1 ? `, and ${failing.length - 1} more` : "";
  const readiness = byId("readiness");
  readiness.className = `pill ${isReady ? "well" : "ill"}`;
  readiness.title = failing.join(", ");
  say(readiness, isReady ? "ready" : `not ready: ${failing[0]}${others}`);
}

function showSummary({ agents, sessions, dead_letters: dead }) {
  const gaps = agents.filter((one) => one.gap).length;
  const open = sessions.listed.filter((one) => one.is_open).length;
  const parts = [
    ["#agents", `${agents.filter((one) => one.is_connected).length}/${agents.length}`, "connected", agents.some((one) => !one.is_connected)],
    ["#agents", gaps, gaps === 1 ? "gap" : "gaps", gaps > 0],
    ["#sessions", `${open}${sessions.has_more_open ? "+" : ""}`, open === 1 ? "open session" : "open sessions", false],
    ["#dead-letters", `${dead.listed.length}${dead.has_more ? "+" : ""}`, dead.listed.length === 1 ? "dead letter" : "dead letters", dead.listed.length > 0],
  ];
  keep(byId("summary"), parts, ([, , words], index) => words, ([href]) => element("a", { href }, element("strong"), element("span")), (link, [, number, words, isTrouble]) => {
    link.classList.toggle("trouble", isTrouble);
    say(link.children[0], String(number));
    say(link.children[1], ` ${words}`);
  });
}

function fillList(section, place, items, { keyOf, make, fill }, hasMore = false) {
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
  node.querySelector(".foot")?.toggleAttribute("hidden", items.length === 0);
  const more = node.querySelector(".more");
  if (more) {
    more.hidden = !hasMore || !showsAll;
    say(more, `There are more than ${items.length}; the commands of fbsessiond show them all.`);
  }
}

function isInTrouble(agent) {
  return agent.gap !== null || !agent.is_connected;
}

function makeAgent(one) {
  return element(
    "li",
    {},
    element("h3", {}, one.agent),
    element("p", { class: "connection" }, element("span", { class: "dot", "aria-hidden": "true" }), element("span", {}, element("span"), element("span", { class: "since" }))),
    element("meter", { min: 0, max: 1, low: 0.9, high: 0.99, optimum: 1, "aria-label": `Coverage of ${one.agent}` }),
    element("p", { class: "figures" }, element("span"), element("span")),
    element("p", { class: "gap-words" }),
  );
}

function fillAgent(item, one) {
  const [, connection, meter, figures, gap] = item.children;
  item.className = isInTrouble(one) ? "card ill" : "card well";
  const [words, since] = connection.lastChild.children;
  connection.firstChild.classList.toggle("on", one.is_connected);
  say(words, one.connection);
  timeIn(since, one.since, " for ");
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

function fillSession(row, one, chosen) {
  const [name, state, since, , clockCell, trouble] = row.children;
  const isChosen = chosen !== null && chosen.session === one.session && chosen.agent === one.agent;
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

function makeLetter(one, act) {
  const button = (words, name, run) => {
    const made = element("button", { type: "button", class: name, "aria-label": `${words} ${one.delivery}` }, words);
    made.addEventListener("click", () => run(one.delivery));
    return made;
  };
  const link = element("a", { href: `#${new URLSearchParams({ session: one.session })}` }, one.session);
  return element(
    "li",
    { class: "letter" },
    element("p", { class: "what" }, element("strong", {}, one.delivery), " on ", link, one.after ? [" ", element("span", { class: `chip ${classOf(one.after)}` }, one.after)] : null),
    makeReason(),
    element("p", { class: "when" }, element("span"), ago(one.at, "", " ago")),
    element("p", { class: "buttons" }, button("Retry", "main", act.retry), button("Drop", "quiet", act.drop)),
  );
}

function fillLetter(item, one, changes) {
  const [, reason, when, buttons] = item.children;
  fillReason(reason, one.reason || "no reason is known");
  say(when.children[0], `${one.attempts ? count(one.attempts, "attempt") : "not attempted"}, `);
  setTime(when.children[1], one.at);
  for (const button of buttons.children) {
    button.disabled = changes !== "allowed";
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
