// The token inspector: what is in a token, what it means, and whether it is signed.

import { make, the } from "./dom.js";
import { NoToken, decode, verdict } from "./jwt.js";
import { distance, length, moment } from "./words.js";

const MEANINGS = {
  alg: "how it is signed",
  typ: "what kind of token it is; access tokens here are at+jwt",
  kid: "which key signed it",
  iss: "who issued it",
  sub: "the user",
  aud: "the services that it is for",
  client_id: "the client that the user logged in through",
  exp: "no longer good from here on",
  nbf: "not good before",
  iat: "issued",
  auth_time: "the user proved who they are",
  jti: "the token's own id",
  sid: "the session that it belongs to; ending that ends this token",
  scope: "what it allows",
  amr: "how the user proved who they are (RFC 8176)",
  acr: "how sure that proof is",
};
const TIMES = new Set(["exp", "nbf", "iat", "auth_time"]);
const OPAQUE = {
  ats_: ["a session token", "It is opaque: there is nothing in it to read. Only authsvc knows whose it is."],
  atr_: ["a refresh token", "It is opaque: there is nothing in it to read. Only authsvc knows whose it is."],
  atc_: ["a client key", "It lets a service speak for itself. There is nothing in it to read."],
  atd_: ["a device credential", "It is opaque: there is nothing in it to read."],
};

const keys = fetch("/.well-known/jwks.json", { credentials: "omit" })
  .then((response) => (response.ok ? response.json() : null))
  .then((set) => set && set.keys)
  .catch(() => null);

function notice(tone, strong, text = "") {
  return make("p", { class: `notice ${tone}` }, make("strong", {}, strong), text && ` ${text}`);
}

function age(claims) {
  const now = Date.now() / 1000;
  const { exp, nbf, iat } = claims;
  if (!Number.isFinite(exp)) return notice("bad", "It has no expiry.", "No service here accepts that.");
  if (now >= exp) return notice("bad", "It has expired,", `${distance(exp * 1000)}.`);
  if (Number.isFinite(nbf) && now < nbf) return notice("warn", "It is not good yet:", `it begins ${distance(nbf * 1000)}.`);
  const life = Number.isFinite(iat) ? ` It was made for ${length(exp - iat)}.` : "";
  return notice("good", "It has not expired.", `It ends ${distance(exp * 1000)}.${life}`);
}

function value(name, given) {
  if (TIMES.has(name) && Number.isFinite(given)) {
    const at = given * 1000;
    return [make("time", { datetime: new Date(at).toISOString() }, `${moment(at, true)}, ${distance(at)}`), make("span", { class: "meaning" }, make("code", {}, String(given)))];
  }
  const text = typeof given === "string" ? given : JSON.stringify(given);
  return [make("code", {}, text)];
}

function part(kind, title, members) {
  const rows = Object.entries(members).map(([name, given]) => {
    const meaning = Object.hasOwn(MEANINGS, name) && make("span", { class: "meaning" }, MEANINGS[name]);
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value(name, given), meaning || ""));
  });
  return make("section", { class: `card part ${kind}` }, make("h2", {}, make("span", { class: "dot" }), title), make("table", { class: "members" }, make("tbody", {}, rows)));
}

function coloured([head, body, sign]) {
  const dot = () => make("span", { class: "dot" }, ".");
  const piece = (kind, text) => make("span", { class: kind }, text);
  return make("div", { class: "card token", "aria-hidden": "true" }, piece("head", head), dot(), piece("body", body), dot(), piece("sign", sign));
}

async function inspected(text) {
  const kind = Object.keys(OPAQUE).find((prefix) => text.startsWith(prefix));
  if (kind) return [make("div", { class: "verdicts" }, notice("warn", `This is ${OPAQUE[kind][0]}.`, `${OPAQUE[kind][1]} Clear it now, and keep it secret.`))];
  const token = decode(text);
  const [tone, sentence] = await verdict(token, await keys);
  const ended = "Whether its session has been ended meanwhile is not in a token: services hear that from authsvc.";
  return [
    make("div", { class: "verdicts" }, notice(tone, sentence), age(token.claims)),
    coloured(token.parts),
    part("head", "Header", token.header),
    part("body", "Claims", token.claims),
    make("p", { class: "hint" }, ended),
  ];
}

let newest = 0;

async function show() {
  const turn = ++newest;
  const text = the("token").value.replaceAll(/\s/g, "").replace(/^Bearer/i, "");
  let found = [];
  try {
    if (text) found = await inspected(text);
  } catch (error) {
    if (!(error instanceof NoToken)) throw error;
    found = [make("div", { class: "verdicts" }, notice("warn", "This is no JWT.", error.message))];
  }
  if (turn === newest) the("found").replaceChildren(...found);
}

the("token").addEventListener("input", show);
the("clear").addEventListener("click", () => {
  the("token").value = "";
  show();
  the("token").focus();
});
// A token must not wait here for whoever comes next.
addEventListener("pagehide", () => {
  the("token").value = "";
  the("found").replaceChildren();
});
show();
