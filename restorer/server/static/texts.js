// The page's texts: one file a language, chosen by the browser's wish or by hand.
export const LANGUAGES = { en: "English", de: "Deutsch", es: "Español", fr: "Français", zh: "中文" };
const KEPT = "restore-language";
let texts = {};
let plain = {};
export let language = "en";

function wished() {
  const kept = localStorage.getItem(KEPT);
  if (kept in LANGUAGES) return kept;
  return navigator.languages.map((each) => each.slice(0, 2).toLowerCase()).find((each) => each in LANGUAGES) ?? "en";
}

async function read(name) {
  const answer = await fetch(`/static/languages/${name}.json`);
  return answer.json();
}

export async function load(name = wished()) {
  language = name;
  plain = Object.keys(plain).length ? plain : await read("en");
  texts = name === "en" ? plain : await read(name);
  document.documentElement.lang = name;
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = t(each.dataset.text);
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  if (!here) document.querySelector(".promise").textContent = t("promise_far", { host: location.hostname });
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", t(each.dataset.label));
}

export async function choose(name) {
  localStorage.setItem(KEPT, name);
  await load(name);
}

// A text with {names} filled in; "one|many" by the number n.
export function t(key, values = {}) {
  let text = texts[key] ?? plain[key] ?? key;
  if ("n" in values && text.includes("|")) text = text.split("|")[values.n === 1 ? 0 : 1];
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const has = (key) => key in texts || key in plain;
export const number = (value, digits = 0) => value.toLocaleString(language, { maximumFractionDigits: digits });
