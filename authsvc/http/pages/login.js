// Logging in: the password first, then a second step if the account has one.

import { ask } from "./api.js";
import { fault, revealable, say, the } from "./dom.js";

const first = the("first");
const second = the("second");
let challenge = "";
let recovering = false;

const device = () => ({ userAgent: navigator.userAgent.slice(0, 512) });

function lead() {
  const next = new URLSearchParams(location.search).get("next");
  if (next) say(the("lead"), "Log in to go on to where you wanted to go.");
}

/** The server knows by the cookie that we are in, and leads on to where we wanted to go, if that is here. */
function goOn() {
  location.replace(location.href);
}

async function trying(form, work) {
  const button = form.querySelector("button:not([type=button])");
  button.disabled = true;
  say(the("problem"));
  try {
    await work();
  } catch (refused) {
    if (!refused.sentence) throw refused;
    show(form, refused);
  } finally {
    button.disabled = false;
  }
}

function show(form, refused) {
  const wrong = ["INVALID_CREDENTIALS", "INVALID_ONE_TIME_CODE"].includes(refused.reason);
  if (form === second && refused.reason === "CHALLENGE_NOT_ACTIVE") return again("That took too long. Log in again.");
  const text = form === second ? "That code does not fit. Try the newest one." : "Username and password do not fit together. Check both.";
  say(the("problem"), wrong ? text : refused.sentence);
  const input = form === second ? the("code") : the("password");
  fault(input, wrong ? " " : "");
  input.focus();
  input.select();
}

function again(text) {
  second.hidden = true;
  first.hidden = false;
  the("password").value = "";
  say(the("problem"), text);
  the("password").focus();
}

async function answered(answer) {
  if (!answer.challenge) return goOn();
  challenge = answer.challenge.challengeToken;
  first.hidden = true;
  second.hidden = false;
  the("code").focus();
}

first.addEventListener("submit", (event) => {
  event.preventDefault();
  trying(first, async () => {
    await answered(
      await ask("login", {
        username: the("username").value,
        password: the("password").value,
        remember: the("remember").checked,
        credentials: ["CREDENTIAL_SESSION"],
        device: device(),
      }),
    );
  });
});

second.addEventListener("submit", (event) => {
  event.preventDefault();
  trying(second, async () => {
    const code = the("code").value.trim();
    await answered(await ask("login", { challengeToken: challenge, oneTimeCode: code, device: device() }));
  });
});

the("other-way").addEventListener("click", () => {
  recovering = !recovering;
  the("code-label").textContent = recovering ? "Recovery code" : "Code from your authenticator app";
  the("code-hint").textContent = recovering ? "One of those that you kept when you set this up. Each is good once." : "Six digits, new every half minute.";
  the("other-way").textContent = recovering ? "Use the authenticator app instead" : "Use a recovery code instead";
  the("code").inputMode = recovering ? "text" : "numeric";
  the("code").value = "";
  the("code").focus();
});

// A page that comes back from the browser's memory must not hold what was typed, nor offer a login to who is in already.
addEventListener("pagehide", () => {
  the("password").value = "";
  the("code").value = "";
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
lead();
revealable();
