// Asking the service, as JSON. Cookies go along by themselves; no token is ever in a script's hands.

const ASKED = {
  login: ["POST", "/v1/login"],
  logout: ["POST", "/v1/logout"],
  sessions: ["GET", "/v1/sessions"],
  revoke: ["POST", "/v1/revoke"],
  changePassword: ["POST", "/v1/password"],
  events: ["GET", "/v1/security-events"],
  secondFactor: ["GET", "/v1/second-factor"],
  enrollTotp: ["POST", "/v1/second-factor:enroll"],
  confirmTotp: ["POST", "/v1/second-factor:confirm"],
  disableTotp: ["POST", "/v1/second-factor:disable"],
  regenerateRecoveryCodes: ["POST", "/v1/second-factor:regenerate-recovery-codes"],
};
const INFO = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY = "type.googleapis.com/google.rpc.RetryInfo";
// Refusals of what was typed, not of who asks.
const TYPED = new Set(["INVALID_CREDENTIALS", "INVALID_ONE_TIME_CODE", "CHALLENGE_NOT_ACTIVE"]);
const FIELDS = "type.googleapis.com/google.rpc.BadRequest";

/** What the service says no to. `reason` is an ErrorReason, or UNREACHABLE; `retryMs` is 0 if waiting does not help. */
export class Refused extends Error {
  constructor(status, body, retryAfter) {
    super((body && body.message) || "");
    const details = (body && body.details) || [];
    const of = (type) => details.find((detail) => detail["@type"] === type) || {};
    this.status = status;
    this.reason = of(INFO).reason || (status === 0 || status >= 502 ? "UNREACHABLE" : "");
    this.retryMs = milliseconds(of(RETRY).retryDelay) || 1000 * Number(retryAfter || 0);
    this.faults = of(FIELDS).fieldViolations || [];
  }

  /** Whether whoever asked is not logged in (any more). */
  get loggedOut() {
    return this.status === 401 && !TYPED.has(this.reason);
  }

  /** A sentence for people. */
  get sentence() {
    const wait = this.retryMs ? ` Try again in ${seconds(this.retryMs)}.` : " Try again in a moment.";
    switch (this.reason) {
      case "RATE_LIMITED":
        return `Too many attempts.${wait}`;
      case "OVERLOADED":
        return "The service has too much to do just now. Try again in a moment.";
      case "UNREACHABLE":
      case "DEPENDENCY_UNAVAILABLE":
      case "VIEW_TOO_OLD":
        return "The service does not answer just now. Nothing is lost. Try again in a moment.";
      case "":
        return "That did not work. Load the page anew and try again.";
      default:
        return this.message || "That did not work.";
    }
  }
}

/** Ask by name; return the answer. `given` is the body of a POST, or the query of a GET. Raises Refused. */
export async function ask(name, given = {}) {
  const [method, path] = ASKED[name];
  const query = method === "GET" && Object.keys(given).length ? `?${new URLSearchParams(given)}` : "";
  const body = method === "POST" ? JSON.stringify(given) : undefined;
  const headers = method === "POST" ? { "content-type": "application/json" } : {};
  let response;
  try {
    response = await fetch(path + query, { method, headers, body, credentials: "same-origin", cache: "no-store", redirect: "error" });
  } catch {
    throw new Refused(0);
  }
  const said = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, said, response.headers.get("retry-after"));
  return said || {};
}

function milliseconds(duration) {
  return duration ? Math.round(1000 * Number.parseFloat(duration)) : 0;
}

function seconds(ms) {
  const whole = Math.max(1, Math.ceil(ms / 1000));
  if (whole < 100) return whole === 1 ? "a second" : `${whole} seconds`;
  return `${Math.ceil(whole / 60)} minutes`;
}
