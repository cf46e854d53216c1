// Your sessions: which there are, where, since when; and ending them.

import { attempt, keep } from "./account.js";
import { ask } from "./api.js";
import { icon, make, say, the } from "./dom.js";
import { device, distance, moment } from "./words.js";

const MOST = 500;

async function all() {
  const found = [];
  let page = {};
  do {
    page = await ask("sessions", { pageSize: 100, ...(page.nextPageToken && { pageToken: page.nextPageToken }) });
    found.push(...(page.sessions || []));
  } while (page.nextPageToken && found.length < MOST);
  return found.sort((one, other) => Number(other.current || 0) - Number(one.current || 0));
}

async function show() {
  const sessions = await all();
  const list = the("sessions");
  list.replaceChildren(...sessions.map(entry));
  the("end-others").hidden = sessions.length < 2;
}

function entry(session) {
  const { name, icon: picture } = device(session.device);
  const { ipAddress = "" } = session.device || {};
  const here = session.current && make("span", { class: "badge" }, "This device");
  return make(
    "li",
    { class: "thing", "data-session": session.id },
    make("span", { class: `icon${session.current ? " here" : ""}` }, icon(picture)),
    make("div", {}, make("h2", {}, name, here || ""), make("p", { class: "wraps" }, seen(session), [ipAddress, session.clientId].filter(Boolean).map((text) => ` · ${text}`)), make("p", {}, began(session))),
    make("div", { class: "actions" }, session.current ? "" : end(session, name)),
  );
}

function seen(session) {
  const at = Date.parse(session.lastSeenTime);
  const text = session.current ? "Active now" : `Last active ${distance(at)}`;
  return make("time", { datetime: session.lastSeenTime, title: moment(at, true) }, text);
}

function began(session) {
  const [at, until] = [session.createTime, session.sessionExpireTime || session.refreshExpireTime].map(Date.parse);
  const from = make("time", { datetime: session.createTime, title: moment(at, true) }, moment(at));
  const to = make("time", { datetime: new Date(until).toISOString(), title: moment(until, true) }, moment(until));
  return make("span", {}, "Logged in ", from, ", ends by ", to);
}

function end(session, name) {
  const label = `End the session of ${name}, logged in ${moment(Date.parse(session.createTime))}`;
  return make(
    "button",
    { type: "button", class: "danger", "aria-label": label, onclick: () => ending({ sessionId: session.id }, `${name} is logged out.`) },
    "End",
  );
}

async function ending(what, text) {
  say(the("said"));
  await attempt(async () => {
    await ask("revoke", what);
    say(the("said"), text);
    await show();
    the("main").focus();
  });
}

the("end-others").addEventListener("click", () => {
  const dialog = the("confirm");
  dialog.returnValue = "";
  dialog.addEventListener(
    "close",
    () => {
      if (dialog.returnValue === "yes") ending({ otherSessions: true }, "Every other device is logged out.");
    },
    { once: true },
  );
  dialog.showModal();
});

keep(show);
