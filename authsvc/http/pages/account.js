// What the pages of an account share: they end when the session has ended, and leave nothing behind.

import { ask } from "./api.js";
import { say, the } from "./dom.js";

/** Go and log in, and come back here. */
export function logIn() {
  location.replace(`/login?next=${encodeURIComponent(location.pathname)}`);
}

let left = false;

/** Do something that asks the service; what it refuses is shown, and a session that has ended leads to the login. */
export async function attempt(work) {
  try {
    say(the("problem"));
    return await work();
  } catch (refused) {
    if (left) return undefined;
    if (refused.loggedOut) logIn();
    else if (refused.sentence) say(the("problem"), refused.sentence);
    else throw refused;
    return undefined;
  }
}

async function logOut() {
  await attempt(async () => {
    await ask("logout");
    location.replace("/login");
  });
}

/** Keep a page of an account: `show` fills it, and again when somebody comes back to it. */
export function keep(show) {
  the("logout").addEventListener("click", logOut);
  // Nothing stays for the back button: what was shown goes with the page, and a page that comes back asks anew.
  addEventListener("pagehide", () => {
    left = true;
    the("main").replaceChildren();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") attempt(show);
  });
  attempt(show).then(() => the("main").removeAttribute("aria-busy"));
}
