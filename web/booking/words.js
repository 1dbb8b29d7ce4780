// Words for people, in five languages, and numbers, money and times as they are
// written there. One file a language under words/, asked for when it is needed.

import { Lost } from "./api.js";

/** The languages, each by its own name. */
export const LANGUAGES = { en: "English", ko: "한국어", ja: "日本語", zh: "中文", es: "Español" };

const COOKIE = "usher_language";
const YEAR_S = 365 * 86_400;
const loaded = {};

/** The page's language, one of the five. */
export let language = "en";
/** How numbers and times are written: as the browser likes it, where that is of the language. */
let locale = "en";

/** What was chosen, here or on the waiting page; else what the browser likes. */
function wanted() {
  const chosen = document.cookie.match(/(?:^|; )usher_language=([a-z]+)/)?.[1];
  const tags = [chosen, ...navigator.languages].map((tag) => tag?.split("-")[0].toLowerCase());
  return tags.find((tag) => tag in LANGUAGES) ?? "en";
}

async function load(tag) {
  if (loaded[tag]) return;
  const answer = await fetch(new URL(`./words/${tag}.json`, import.meta.url)).catch(() => null);
  if (!answer?.ok) throw new Lost(`no words of ${tag}`);
  loaded[tag] = await answer.json();
}

/** Gets the words of the wanted language, and the English ones for what is missing there. */
export async function loadWords() {
  const tag = wanted();
  await Promise.all([load("en"), load(tag)]);
  language = tag;
  locale = navigator.languages.find((like) => like.split("-")[0].toLowerCase() === tag) ?? tag;
  document.documentElement.lang = tag;
}

/** Changes the language for every page of this site, the waiting page included. */
export async function choose(tag) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${COOKIE}=${tag}; Max-Age=${YEAR_S}; Path=/; SameSite=Lax${secure}`;
  await loadWords();
}

const find = (tag, key) => key.split(".").reduce((part, name) => part?.[name], loaded[tag]);

/**
 * The words for a key such as `events.left`, with `{name}` filled in from `values`.
 * Where words depend on a number, it is `n`: `{"one": …, "other": …}`.
 */
export function t(key, values = {}) {
  let words = find(language, key) ?? find("en", key) ?? key;
  if (typeof words === "object") words = words[new Intl.PluralRules(language).select(values.n)] ?? words.other;
  return words.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : value ?? whole;
  });
}

/** A number as it is written here. */
export const number = (n) => new Intl.NumberFormat(locale).format(n);

/** A share of a hundred. */
export const percent = (n) => new Intl.NumberFormat(locale, { style: "percent" }).format(n / 100);

/** An amount of money in the smallest unit. */
export function money(amount, currency) {
  const format = new Intl.NumberFormat(locale, { style: "currency", currency, currencyDisplay: "narrowSymbol" });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

/** A time of day. */
export const clockTime = (ms) => new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" }).format(ms);

/** An instant for people, in their own time zone, which is named. */
export function when(ms) {
  const parts = { weekday: "short", year: "numeric", month: "long", day: "numeric", hour: "numeric", minute: "2-digit" };
  return new Intl.DateTimeFormat(locale, { ...parts, timeZoneName: "short" }).format(ms);
}
