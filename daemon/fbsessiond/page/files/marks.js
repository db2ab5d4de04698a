// Marks and words for what became of deliveries and follow-ups, and what the marks mean.

import { drawn, element, exact, keep } from "./elements.js";

const NAMED_STATES = ["Invited", "Chatting", "LeftChat", "Completed", "Revoked", "Vanished"];
const PENDING = ["waiting", "due", "running"];
const ENDED_WELL = ["confirmed", "observed", "unconfirmed", "captured"];
const STUCK = ["parked", "failed"];
const INSIDE = { delivered: "M-3 0 -1 2.5 3 -2.5", done: "M-3 0 -1 2.5 3 -2.5", dead: "M-2.5 -2.5 2.5 2.5M2.5 -2.5 -2.5 2.5", stuck: "M0 -4V1M0 3.4V3.6", withdrawn: "M-3 0H3" };

const MEANINGS = [
  ["delivery delivered", "delivered"],
  ["delivery pending", "to be delivered; a clock runs up to its time"],
  ["delivery dead", "given up"],
  ["delivery withdrawn", "withdrawn"],
  ["follow-up done", "follow-up took effect"],
  ["follow-up pending", "follow-up on its way"],
  ["follow-up stuck", "follow-up failed, or parked for a person"],
  ["follow-up withdrawn", "follow-up withdrawn"],
  ["gap", "a gap: notifications may be missing"],
  ["found", "found by a snapshot, not notified"],
];

/** Return the class that colours a state. */
export function classOf(state) {
  return NAMED_STATES.includes(state) ? `state-${state}` : "state-other";
}

export function isPending(delivery) {
  return PENDING.includes(delivery.state);
}

export function kindOfDelivery(one) {
  return `delivery ${isPending(one) ? "pending" : one.state}`;
}

export function kindOfFollowUp(one) {
  if (ENDED_WELL.includes(one.state)) {
    return "follow-up done";
  }
  if (STUCK.includes(one.state)) {
    return "follow-up stuck";
  }
  return one.state === "withdrawn" ? "follow-up withdrawn" : "follow-up pending";
}

/** Return a mark that can be told from the others by its shape, too, not by its colour alone. */
export function mark(kind, x, y) {
  const group = drawn("g", { class: `mark ${kind}`, transform: `translate(${x} ${y})` });
  group.append(kind.startsWith("delivery") ? drawn("circle", { r: 6.5 }) : drawn("path", { d: "M0 -8 8 0 0 8 -8 0Z" }));
  const inside = INSIDE[kind.split(" ")[1]];
  if (inside) {
    group.append(drawn("path", { class: "inside", d: inside }));
  }
  return group;
}

/** Return a mark by itself, beside words that say what it means. */
export function sample(kind) {
  const svg = drawn("svg", { class: "sample", width: 18, height: 18, viewBox: "0 0 18 18", "aria-hidden": "true" });
  if (kind === "gap") {
    svg.append(hatching("sample-hatching"), drawn("rect", { class: "gap-ground", x: 1, y: 1, width: 16, height: 16 }), drawn("rect", { x: 1, y: 1, width: 16, height: 16, fill: "url(#sample-hatching)" }));
  } else if (kind === "found") {
    svg.append(drawn("rect", { class: "bar state-other snapshot", x: 1, y: 4, width: 16, height: 10, rx: 3 }));
  } else {
    svg.append(mark(kind, 9, 9));
  }
  return svg;
}

export function hatching(id = "hatching") {
  return drawn("defs", {}, drawn("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, drawn("line", { class: "hatch", x1: 0, x2: 0, y1: 0, y2: 6 })));
}

/** Say what the marks mean, as far as they occur. */
export function explain(list, story) {
  const deliveries = story.entries.flatMap((entry) => entry.deliveries);
  const there = new Set([...deliveries.map(kindOfDelivery), ...deliveries.flatMap((one) => one.follow_ups).map(kindOfFollowUp)]);
  if (story.gaps.length > 0) {
    there.add("gap");
  }
  if (story.entries.some((one) => one.kind === "transition" && one.origin === "snapshot")) {
    there.add("found");
  }
  const meanings = MEANINGS.filter(([kind]) => there.has(kind));
  keep(list, meanings, ([kind]) => kind, ([kind, words]) => element("li", {}, sample(kind), words), () => {});
}

/** Say what became of a delivery; why stands in its `because`. */
export function deliveryTold(one) {
  const when = isPending(one) && one.state !== "running" && one.at ? `, due ${exact(one.at)}` : "";
  return `${one.state.replace("_", " ")}${one.behind ? ` behind ${one.behind}` : when}${attemptsTold(one)}${actsTold(one)}`;
}

/** Say what became of a follow-up; why stands in its `because`. */
export function followUpTold(one) {
  return `${one.operation} ${one.state}${attemptsTold(one)}${actsTold(one)}`;
}

/** Say who retried it, and who dropped it; why that was stands in its `because`. */
function actsTold(one) {
  return one.acts.map(({ act, at, by, because }) => (act === "retry" ? `, retried ${exact(at)} by ${by}${because ? ` (${because})` : ""}` : `, dropped by ${by}`)).join("");
}

function attemptsTold(one) {
  return one.attempts > 1 ? `, ${one.attempts} attempts` : "";
}
