// A session's story in words: each transition with what followed, and in one line what lies between.

import { clock, count, element, exact, fillReason, keep, makeReason, say, span } from "./elements.js";
import { classOf, deliveryTold, followUpTold, kindOfDelivery, kindOfFollowUp, sample } from "./marks.js";

/** Write a story as a list. */
export function tell(list, story) {
  keep(list, partsOf(story), (part) => part.key, (part) => part.make(part), (item, part) => part.fill(item, part));
}

/** Return entries and gaps in their order; entries that are no transitions stand together. */
function partsOf(story) {
  const parts = [];
  const gaps = [...story.gaps];
  for (const entry of story.entries) {
    while (gaps.length && gaps[0].from <= entry.at) {
      parts.push(gapPart(gaps.shift()));
    }
    const last = parts.at(-1);
    if (entry.kind === "transition") {
      parts.push({ key: entry.seq, entry, make: makeTransition, fill: fillTransition });
    } else if (last?.entries) {
      last.entries.push(entry);
    } else {
      parts.push({ key: `from ${entry.seq}`, entries: [entry], make: makeLine, fill: fillBetween });
    }
  }
  parts.push(...gaps.map(gapPart));
  if (story.others.length) {
    parts.push({ key: "others", others: story.others, make: makeOthers, fill: fillOthers });
  }
  return parts;
}

function gapPart(gap) {
  return { key: `gap ${gap.from}`, gap, make: makeLine, fill: fillGap };
}

function makeLine() {
  return element("li", { class: "between" }, element("p"));
}

function fillGap(item, { gap }) {
  item.className = "between gap-line";
  const lasted = gap.to ? `lasted ${span((Date.parse(gap.to) - Date.parse(gap.from)) / 1000)}` : "goes on";
  say(item.firstChild, `${exact(gap.from)}  a gap: ${gap.cause}, ${lasted}`);
}

function fillBetween(item, { entries }) {
  const kinds = new Map();
  for (const { kind, origin } of entries) {
    const words = origin === "live" ? kind : `${kind} (${origin})`;
    kinds.set(words, (kinds.get(words) ?? 0) + 1);
  }
  const until = entries.length > 1 ? ` until ${clock(new Date(entries.at(-1).at), true)}` : "";
  say(item.firstChild, `${exact(entries[0].at)}${until}  ${[...kinds].map(([kind, number]) => `${number} ${kind}`).join(", ")}`);
}

function makeTransition({ entry }) {
  const chip = (state) => element("span", { class: `chip ${classOf(state)}` }, state);
  const origin = { live: null, snapshot: "found by a snapshot", replay: "replayed" }[entry.origin];
  const line = element("p", { class: "change" }, element("span", { class: "at" }, exact(entry.at)), entry.before === null ? "first seen" : chip(entry.before), element("span", {}, "→"), chip(entry.after), origin && element("span", { class: "at" }, origin));
  return element("li", {}, line, element("ul"));
}

function fillTransition(item, { entry }) {
  fill(item.lastChild, linesOf(entry.deliveries));
}

function makeOthers() {
  return element("li", {}, element("p"), element("ul"));
}

function fillOthers(item, { others }) {
  const [line, below] = item.children;
  say(line, `${count(others.length, "follow-up")} on this session that another session’s change asked for`);
  fill(below, others.map((one) => ({ key: `${one.asked_by}/${one.step}`, kind: kindOfFollowUp(one), name: one.asked_by, words: followUpTold(one), because: one.because })));
}

/** Return a line for each way in which deliveries ended, with the handlers' names, and below it what they asked for. */
function linesOf(deliveries) {
  const groups = new Map();
  for (const one of deliveries) {
    const words = deliveryTold(one);
    const key = one.follow_ups.length ? one.handler : `${words}: ${one.because}`;
    const group = groups.get(key) ?? { key, kind: one.state === "not_wanted" ? null : kindOfDelivery(one), names: [], words, because: one.because, followUps: one.follow_ups };
    groups.set(key, group);
    group.names.push(one.handler);
  }
  const [wanted, unwanted] = [[], []];
  for (const group of groups.values()) {
    (group.kind === null ? unwanted : wanted).push({ ...group, name: group.names.join(", ") });
  }
  return [...wanted, ...unwanted].flatMap((group) => [
    group,
    ...group.followUps.map((each) => ({ key: `${group.key}/${each.step}`, kind: kindOfFollowUp(each), name: "", words: followUpTold(each), because: each.because })),
  ]);
}

function fill(list, lines) {
  keep(list, lines, ({ key }) => key, () => element("li", {}, element("span"), element("div", {}, element("p", {}, element("strong"), element("span")), makeReason())), (item, { kind, name, words, because }) => {
    const [place, { firstChild: line, lastChild: reason }] = item.children;
    item.className = kind === null ? "unwanted" : name ? "" : "deeper";
    if (place.dataset.kind !== String(kind)) {
      place.dataset.kind = String(kind);
      place.replaceChildren(...(kind === null ? [] : [sample(kind)]));
    }
    say(line.firstChild, name ? `${name} ` : "");
    say(line.lastChild, words);
    fillReason(reason, because);
  });
}
