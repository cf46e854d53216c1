// What has happened to the account, day by day.

import { attempt, keep } from "./account.js";
import { ask } from "./api.js";
import { icon, make, the } from "./dom.js";
import { clockOf, dayOf, device, moment } from "./words.js";

const ENDED = {
  logout: "Logged out",
  user: "You ended a session",
  admin: "An administrator ended a session",
  password_changed: "Sessions ended, as the password changed",
  account_disabled: "Sessions ended, as the account was disabled",
  compromised: "A session ended, as it was in the wrong hands",
};
// What each event is called, its icon and its colour.
const EVENTS = {
  "session.created": ["Logged in", "in", "good"],
  "login.failed": ["A login failed: wrong password", "warning", "warn"],
  "login.throttled": ["Logins were slowed down: too many attempts", "warning", "warn"],
  "token.reused": ["A stolen token was used; its session has ended", "warning", "bad"],
  "session.stepped_up": ["You proved again who you are", "shield", ""],
  "second_factor.enrolled": ["Setting up a second factor was begun", "shield", ""],
  "second_factor.confirmed": ["The second factor was turned on", "shield", "good"],
  "second_factor.disabled": ["The second factor was turned off", "shield", "warn"],
  "second_factor.reset": ["An administrator turned the second factor off", "shield", "warn"],
  "second_factor.failed": ["A code of the second factor was wrong", "warning", "warn"],
  "second_factor.throttled": ["Codes were slowed down: too many wrong ones", "warning", "warn"],
  "recovery_code.used": ["A recovery code was used", "key", "warn"],
  "recovery_codes.replaced": ["New recovery codes were made", "key", ""],
  "user.created": ["The account was made", "person", ""],
  "user.disabled": ["The account was disabled", "person", "warn"],
  "user.enabled": ["The account was enabled again", "person", ""],
  "user.password_change_failed": ["Changing the password failed: the current one was wrong", "warning", "warn"],
};

let next = "";

function named(event) {
  if (event.event === "session.revoked") {
    const text = ENDED[event.reason] || "A session ended before its time";
    const others = event.reason === "user" && !event.sessionId ? "You ended your other sessions" : text;
    return [others, "out", event.reason === "compromised" ? "bad" : ""];
  }
  if (event.event === "user.password_changed") {
    return [event.own ? "You changed the password" : "An administrator set a new password", "key", event.own ? "good" : "warn"];
  }
  return EVENTS[event.event] || [event.event.replaceAll(/[._]/g, " "), "shield", ""];
}

function where(place) {
  if (!place) return "";
  return [device(place).name, place.ipAddress].filter(Boolean).join(" · ");
}

function entry(event) {
  const [text, picture, tone] = named(event);
  const at = Date.parse(event.eventTime);
  const other = event.otherTime && `Used before: ${moment(Date.parse(event.otherTime))}, ${where(event.otherDevice)}`;
  return make(
    "li",
    { class: "thing", "data-event": event.event },
    make("span", { class: `icon ${tone}` }, icon(picture)),
    make("div", {}, make("h2", {}, text), make("p", { class: "wraps" }, where(event.device)), other && make("p", { class: "wraps" }, other)),
    make("time", { class: "faint", datetime: event.eventTime, title: moment(at, true) }, clockOf(at)),
  );
}

function add(event) {
  const place = the("events");
  const date = dayOf(Date.parse(event.eventTime));
  if (place.lastElementChild?.dataset.day !== date) {
    place.append(make("h2", { class: "day" }, date), make("ul", { class: "card things", "data-day": date }));
  }
  place.lastElementChild.append(entry(event));
}

async function load() {
  const page = await ask("events", { pageSize: 50, ...(next && { pageToken: next }) });
  next = page.nextPageToken || "";
  return page.events || [];
}

async function show() {
  next = "";
  const events = await load();
  the("events").replaceChildren();
  events.forEach(add);
  the("more").hidden = !next;
}

the("more").addEventListener("click", () =>
  attempt(async () => {
    (await load()).forEach(add);
    the("more").hidden = !next;
  }),
);

keep(show);
