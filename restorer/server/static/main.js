// The page: photos come in here, and every part hears what has changed.
import { add, album, hear, onChange, remove, renew, restore, tell } from "./album.js";
import * as api from "./api.js";
import { make } from "./dom.js";
import { Drawing } from "./drawing.js";
import { Panel, stateOf } from "./panel.js";
import { LANGUAGES, choose, language, load, t } from "./texts.js";
import { Tries } from "./tries.js";
import { Viewer } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const viewer = new Viewer({ onFace: lookAt });
const tries = new Tries({ say, onChosen: (photo) => panel.values(photo) });
const panel = new Panel({
  say, onFace: lookAt, onStrength: (...given) => viewer.blend(...given), onTry: (...given) => tries.show(...given),
});
const rows = new Map();
new Drawing(viewer, {
  say,
  onMask: restore,
  onBox: (photo, box) => {
    photo.boxes.push(box);
    tell(photo);
    restore(photo);
  },
});

// ------------------------------------------------------------------------------------------------------- telling

function say(text, seen = false, bad = false) {
  byId("news").textContent = text;
  if (!seen) return;
  const close = make("button", { type: "button", "aria-label": t("close") }, "×");
  const box = make("div", { class: bad ? "bad" : "" }, make("p", {}, text), close);
  close.onclick = () => box.remove();
  byId("notices").append(box);
  if (!bad) setTimeout(() => box.remove(), 12000);
}

function lookAt(photo, number) {
  photo.face = photo.face === number ? null : number;
  tell(photo);
  document.getElementById(`face-${number}`)?.focus({ preventScroll: false });
}

// --------------------------------------------------------------------------------------------------------- strip

function rowOf(photo) {
  const picture = make("img", { alt: "", loading: "lazy" });
  picture.onerror = () => picture.removeAttribute("src"); // no browser shows it, or it is none
  const name = make("span", { class: "name" }, photo.name);
  const state = make("span", { class: "state" });
  const bar = make("progress", { max: 1, value: 0, "aria-label": t("progress") });
  const button = make("button", { type: "button", class: "photo" }, picture, name, state, bar);
  button.onclick = () => select(photo);
  const away = make("button", { type: "button", class: "remove" }, "×");
  away.onclick = () => remove(photo);
  const item = make("li", {}, button, away);
  byId("strip").firstElementChild.append(item);
  return { item, picture, name, state, bar, button, away };
}

function drawRow(photo) {
  const row = rows.get(photo) ?? rows.set(photo, rowOf(photo)).get(photo);
  if (photo.thumbnail && row.shown !== photo.thumbnail) row.picture.src = row.shown = photo.thumbnail;
  row.state.textContent = stateOf(photo);
  const state = photo.error || photo.facts.error ? "failed" : (photo.job?.state ?? "waiting");
  row.state.className = `state ${state}`;
  row.bar.hidden = state !== "working";
  row.bar.value = photo.job?.done ?? 0;
  row.button.setAttribute("aria-current", album.current === photo);
  row.away.setAttribute("aria-label", t("remove", { name: photo.name }));
}

function select(photo) {
  const before = album.current;
  album.current = photo;
  for (const each of [before, photo]) if (each && album.photos.includes(each)) drawRow(each);
  show();
}

function show(anew = false) {
  const photo = album.current;
  const some = album.photos.length > 0;
  byId("empty").hidden = some;
  byId("work").hidden = !some;
  document.body.classList.toggle("working", some);
  const done = album.photos.filter((each) => each.shown);
  const all = byId("save-all");
  all.hidden = done.length < 2;
  all.href = `/zip?${done.map((each) => `job=${each.shown.job}`).join("&")}`;
  if (!photo) return;
  viewer.show(photo);
  panel.show(photo, anew);
}

onChange((photo, what) => {
  if (what === "removed") {
    rows.get(photo)?.item.remove();
    rows.delete(photo);
    if (album.current) drawRow(album.current);
  } else {
    drawRow(photo);
    if (!album.current) select(photo);
    const state = photo.job?.state;
    if (state !== photo.told && ["done", "failed"].includes(state)) say(t(`news.${state}`, { name: photo.name }));
    photo.told = state;
  }
  show();
});

// ----------------------------------------------------------------------------------------------------- coming in

const PICTURE = /\.(jpe?g|jpe|jfif|png|webp|tiff?|bmp|heic|heif|avif|gif|jxl|dng|cr2|nef|arw)$/i;

async function inside(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const each of some) found.push(...(await inside(each)));
  }
}

async function take(data) {
  const items = [...(data.items ?? [])].filter((each) => each.kind === "file");
  const entries = items.map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
  const folders = entries.some((each) => each.isDirectory);
  const files = folders ? (await Promise.all(entries.map(inside))).flat() : [...data.files];
  add(folders ? files.filter((each) => PICTURE.test(each.name)) : files);
}

let depth = 0;
addEventListener("dragenter", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  depth += 1;
  byId("over").hidden = false;
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  byId("over").hidden = depth === 0;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  byId("over").hidden = true;
  take(event.dataTransfer);
});
addEventListener("paste", (event) => event.clipboardData.files.length && take(event.clipboardData));
byId("files").onchange = (event) => {
  add([...event.target.files]);
  event.target.value = "";
};
for (const id of ["add", "choose"]) byId(id).onclick = () => byId("files").click();

// ---------------------------------------------------------------------------------------------------------- start

const languages = byId("language");
for (const [code, name] of Object.entries(LANGUAGES)) languages.append(make("option", { value: code, lang: code }, name));
languages.onchange = async () => {
  await choose(languages.value);
  for (const photo of album.photos) drawRow(photo);
  show(true);
};

await load();
languages.value = language;
try {
  album.about = await api.about();
  await renew();
  if (!album.current && album.photos.length) select(album.photos[0]);
  api.listen((kind, facts) => {
    if (kind === "notice") say(facts.text, true);
    else hear(kind, facts);
  }, renew);
  document.documentElement.dataset.ready = "true";
} catch (error) {
  say(`${error.message} ${error.remedy ?? ""}`, true, true);
}
