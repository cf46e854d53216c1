// Saying things in words: times, devices, reasons.

const LANGUAGE = "en-GB";
const STEPS = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [7, "day"],
  [4.35, "week"],
  [12, "month"],
  [Infinity, "year"],
];
const relative = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
const whole = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "full", timeStyle: "long" });
const short = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(LANGUAGE, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const clock = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit" });

/** How far a moment is from now: "3 minutes ago", "in 2 hours". */
export function distance(moment, now = Date.now()) {
  let count = (moment - now) / 1000;
  if (Math.abs(count) < 10) return "just now";
  for (const [next, unit] of STEPS) {
    if (Math.abs(count) < next) return relative.format(Math.round(count), unit);
    count /= next;
  }
  return "";
}

/** A moment with day and time, to the minute; to the second, with its zone, with `exactly`. */
export const moment = (at, exactly = false) => (exactly ? whole : short).format(at);
export const dayOf = (at) => day.format(at);
export const clockOf = (at) => clock.format(at);

/** How long something lasts: "5 minutes", "1 hour and 30 minutes". */
export function length(seconds) {
  const parts = [
    [86400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ];
  let left = Math.abs(Math.round(seconds));
  const said = [];
  for (const [size, unit] of parts) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count && said.length < 2) said.push(`${count} ${unit}${count === 1 ? "" : "s"}`);
  }
  return said.join(" and ") || "no time at all";
}

const BROWSERS = [
  [/\bEdg(?:A|iOS)?\//, "Edge"],
  [/\bOPR\//, "Opera"],
  [/\bFirefox\/|\bFxiOS\//, "Firefox"],
  [/\bSamsungBrowser\//, "Samsung Internet"],
  [/\b(?:Headless)?Chrome\/|\bCriOS\//, "Chrome"],
  [/\bVersion\/.*\bSafari\//, "Safari"],
];
const SYSTEMS = [
  [/\biPhone\b/, "iPhone", "phone"],
  [/\biPad\b/, "iPad", "phone"],
  [/\bAndroid\b/, "Android", "phone"],
  [/\bWindows NT\b/, "Windows", "computer"],
  [/\bCrOS\b/, "ChromeOS", "computer"],
  [/\bMac OS X\b/, "macOS", "computer"],
  [/\bLinux\b|\bX11\b/, "Linux", "computer"],
];

/** What a device is called, and the icon for it. */
export function device({ userAgent = "", label = "" } = {}) {
  const browser = BROWSERS.find(([pattern]) => pattern.test(userAgent));
  const system = SYSTEMS.find(([pattern]) => pattern.test(userAgent));
  const said = [browser && browser[1], system && system[1]].filter(Boolean).join(" on ");
  const program = userAgent.split(/[\s/]/, 1)[0];
  return { name: label || said || program || "Unknown device", icon: system ? system[2] : userAgent ? "program" : "computer" };
}
