// Changing the password.

import { attempt, keep } from "./account.js";
import { ask } from "./api.js";
import { fault, revealable, say, the } from "./dom.js";

const form = the("change");
const current = the("current");
const fresh = the("new");
const least = Number(form.dataset.least);

const characters = (text) => [...text.normalize("NFC")].length;

function checked() {
  const short = characters(fresh.value) < least;
  fault(current, current.value ? "" : "Type the password that you have now.");
  fault(fresh, short ? `Use at least ${least} characters; this has ${characters(fresh.value)}.` : "");
  const wrong = [current, fresh].find((input) => input.hasAttribute("aria-invalid"));
  if (wrong) wrong.focus();
  return !wrong;
}

function explained(refused) {
  const rule = refused.faults[0]?.description;
  if (refused.reason === "INVALID_CREDENTIALS") fault(current, "This is not your current password.");
  else if (refused.reason === "PASSWORD_TOO_WEAK" && rule) fault(fresh, `Choose another one: ${rule}.`);
  else throw refused;
  form.querySelector("[aria-invalid]").focus();
}

async function change() {
  const { revokedCount = 0 } = await ask("changePassword", { currentPassword: current.value, newPassword: fresh.value });
  form.reset();
  const ended = revokedCount === 1 ? "One other session has ended." : `${revokedCount} other sessions have ended.`;
  say(the("said"), `Your password has changed. ${revokedCount ? ended : ""}`.trim());
  the("main").focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  say(the("said"));
  if (checked()) attempt(() => change().catch(explained));
});

revealable();
// Whose password it is, for password managers; and whether somebody is logged in at all.
keep(async () => {
  const { sessions = [] } = await ask("sessions", { pageSize: 100 });
  the("username").value = sessions.find((session) => session.current)?.username || "";
});
