// The second factor: setting it up, recovery codes, turning it off.

import { attempt, keep } from "./account.js";
import { ask } from "./api.js";
import { fault, make, revealable, say, the } from "./dom.js";
import { picture } from "./qr.js";
import { moment } from "./words.js";

const SECTIONS = ["off", "making", "codes", "on"];
const FACTOR_TEXTS = {
  INVALID_CREDENTIALS: "This is not your password.",
  INVALID_ONE_TIME_CODE: "This code does not fit. Try the newest one.",
};

let busy = false;

function only(shown) {
  for (const section of SECTIONS) the(section).hidden = section !== shown;
  // Coming back to the page must not take away what is shown once.
  busy = shown === "making" || shown === "codes";
}

/** Ask; what is wrong with what was typed is said at its field. */
async function asking(input, name, given) {
  fault(input);
  try {
    const answer = await ask(name, given);
    input.value = "";
    return answer;
  } catch (refused) {
    const text = FACTOR_TEXTS[refused.reason];
    if (!text) throw refused;
    fault(input, text);
    input.focus();
    input.select();
    return undefined;
  }
}

function enrol({ secret, uri }) {
  the("picture").replaceChildren(picture(uri, "QR code for the authenticator app"));
  the("secret").textContent = secret.match(/.{1,4}/g).join(" ");
  only("making");
  the("first-code").focus();
}

function showCodes({ recoveryCodes }) {
  the("recovery").replaceChildren(...recoveryCodes.map((code) => make("li", {}, make("code", {}, code))));
  only("codes");
  the("main").focus();
}

async function show() {
  if (busy) return;
  const { totpConfirmTime, recoveryCodesLeft = 0 } = await ask("secondFactor");
  if (totpConfirmTime) {
    const left = recoveryCodesLeft === 1 ? "One recovery code is left." : `${recoveryCodesLeft || "No"} recovery codes are left.`;
    say(the("since"), `Since ${moment(Date.parse(totpConfirmTime))}. ${left}`);
  }
  only(totpConfirmTime ? "on" : "off");
}

function forget() {
  for (const id of ["picture", "secret", "recovery"]) the(id).replaceChildren();
  busy = false;
}

function submitted(id, work) {
  the(id).addEventListener("submit", (event) => {
    event.preventDefault();
    say(the("said"));
    attempt(() => work(event.submitter));
  });
}

submitted("begin", async () => {
  const made = await asking(the("password"), "enrollTotp", { password: the("password").value });
  if (made) enrol(made);
});

submitted("confirm", async () => {
  const made = await asking(the("first-code"), "confirmTotp", { oneTimeCode: the("first-code").value.replaceAll(/\s/g, "") });
  if (!made) return;
  forget();
  say(the("said"), "The second factor is on.");
  showCodes(made);
});

submitted("changing", async (button) => {
  const [name, then] = { regenerate: ["regenerateRecoveryCodes", showCodes], replace: ["enrollTotp", enrol], disable: ["disableTotp", null] }[button?.value || "regenerate"];
  const made = await asking(the("code"), name, { oneTimeCode: the("code").value.trim() });
  if (!made) return;
  if (then) return then(made);
  say(the("said"), "The second factor is off.");
  await show();
});

the("cancel").addEventListener("click", () => {
  forget();
  attempt(show);
});

the("kept").addEventListener("click", () => {
  forget();
  say(the("said"));
  attempt(show);
});

the("copy").addEventListener("click", async () => {
  const codes = [...the("recovery").querySelectorAll("code")].map((code) => code.textContent);
  await navigator.clipboard.writeText(codes.join("\n"));
  the("copy").textContent = "Copied";
});

revealable();
keep(show);
