// Making elements. Text goes in as text alone, so nothing that was typed, or that a server says, ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = "/account/assets/icons.svg";

/** The element with this id. */
export const the = (id) => document.getElementById(id);

/** A new element. `given`: attributes, where false and null leave one out; children are elements or texts. */
export function make(name, given = {}, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(given)) {
    if (attribute === "onclick") element.addEventListener("click", value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(attribute, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** An icon of icons.svg; it says nothing to those who cannot see it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

/** Show a text in an element, or hide the element if there is none. */
export function say(element, text = "") {
  element.textContent = text;
  element.hidden = !text;
}

/** Show what is wrong with a field, and that something is. */
export function fault(input, text = "") {
  const said = the(`${input.id}-fault`);
  if (said) {
    say(said, text);
    const hint = the(`${input.id}-hint`);
    const described = [hint && hint.id, text && said.id].filter(Boolean).join(" ");
    if (described) input.setAttribute("aria-describedby", described);
    else input.removeAttribute("aria-describedby");
  }
  if (text) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

/** Give each password field a button that shows what was typed. */
export function revealable() {
  for (const place of document.querySelectorAll(".revealed")) {
    const input = place.querySelector("input");
    const button = make("button", { type: "button", class: "reveal quiet", "aria-pressed": "false", "aria-label": "Show the password" }, "Show");
    button.addEventListener("click", () => {
      const shown = input.type === "password";
      input.type = shown ? "text" : "password";
      button.setAttribute("aria-pressed", String(shown));
      button.textContent = shown ? "Hide" : "Show";
      input.focus();
    });
    place.append(button);
  }
}
