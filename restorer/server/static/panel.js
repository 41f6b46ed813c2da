// The settings of the photo that is shown. What can be chosen comes from the server as data; here is how it looks.
import { album, chooseFor, defaultOf, restore, tell, valueOf } from "./album.js";
import * as api from "./api.js";
import { debounced, make } from "./dom.js";
import { has, number, t } from "./texts.js";

const SIZES = [1, 2, 4, 8];
const PRINT = ["repair", "tone", "colorize"]; // where they exist
const FIRST = [...PRINT, "scale", "model", "strength", "fidelity", "match_color", "grain", "format", "quality"]; // shown on their own
const HIDDEN = ["faces", "face", "adjust"]; // chosen in the picture
const SEARCHES = ["pulse", "mganprior"]; // they search for minutes, and for whole photos
const later = debounced((photo) => restore(photo), 150);

export class Panel {
  constructor({ say, onFace, onStrength, onTry }) {
    this.onStrength = onStrength;
    this.onTry = onTry;
    this.root = document.getElementById("panel");
    this.say = say;
    this.onFace = onFace;
    this.drawn = null;
  }

  // Draws anew for another photo or language; otherwise only what has changed, so that no slider is taken away.
  show(photo, anew = false) {
    if (!photo) return;
    if (anew || this.drawn !== photo) {
      this.drawn = photo;
      this.open = this.root.querySelector("details")?.open ?? false;
      this.root.replaceChildren(
        this.head(), this.faceCard(), this.presets(), this.size(), this.faces(), this.print(), this.file(), this.more(), this.command(), this.actions(),
      );
      this.values(photo);
    }
    this.update(photo);
  }

  change(name, value) {
    chooseFor(this.drawn, name, value);
    tell(this.drawn);
    later(this.drawn);
  }

  option(name) {
    return album.about.options.find((each) => each.name === name);
  }

  label(option) {
    const key = `option.${option.name}`;
    return has(key) ? t(key) : option.name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
  }

  // ------------------------------------------------------------------------------------------------------- parts

  head() {
    this.title = make("h2");
    this.facts = make("p", { class: "facts" });
    this.state = make("p", { class: "small" });
    this.bar = make("progress", { max: 1, value: 0, "aria-label": t("progress") });
    this.stop = make("button", { type: "button", onclick: () => this.cancel() }, t("cancel"));
    this.warnings = make("div", { class: "actions" });
    this.warningsDrawn = null;
    return make("section", {}, this.title, this.facts, this.state, this.bar, this.stop, this.warnings);
  }

  faceCard() {
    this.card = make("section", { "aria-label": t("faces") });
    this.cardOf = null; // nothing is drawn in it yet
    return this.card;
  }

  drawCard(photo) {
    const faces = photo.found;
    const drawn = JSON.stringify([faces.map((each) => [each.number, each.reason, photo.restores(each)]), photo.face, [...photo.adjust.keys()].filter((each) => each !== photo.face), photo.boxes, valueOf(photo, "model")]);
    if (this.cardOf === photo && this.cardDrawn === drawn) return;
    [this.cardOf, this.cardDrawn] = [photo, drawn];
    this.card.hidden = !faces.length;
    const rows = faces.slice(0, 60).map((face) => {
      const id = `face-${face.number}`;
      const box = make("input", { type: "checkbox", id, checked: photo.restores(face) });
      box.onchange = () => {
        photo.faces.set(face.number, box.checked);
        photo.face = face.number;
        tell(photo);
        later(photo);
      };
      const why = !photo.restores(face) && face.reason ? make("span", { class: "help" }, has(`reason.${face.reason}`) ? t(`reason.${face.reason}`) : face.reason) : null;
      const row = make("div", { class: "row" }, make("label", { htmlFor: id }, t("face", { n: face.number })), box, why);
      row.onclick = (event) => {
        if (event.target === row) this.onFace(photo, face.number);
      };
      if (photo.adjust.has(face.number)) row.firstChild.append(make("span", { class: "mark" }, ` · ${t("own_way")}`));
      if (photo.face !== face.number) return row;
      row.classList.add("face");
      if (photo.restores(face) && valueOf(photo, "model") !== "none") row.append(...this.ofFace(photo, face.number));
      return row;
    });
    const again = () => {
      photo.faces.clear();
      photo.adjust.clear();
      photo.boxes = [];
      tell(photo);
      later(photo);
    };
    const chosen = photo.faces.size || photo.adjust.size || photo.boxes.length;
    const reset = chosen ? make("button", { type: "button", onclick: again }, t("faces_auto")) : null;
    const focused = document.activeElement?.id;
    this.card.replaceChildren(make("h3", {}, t("faces_which")), ...rows, ...(reset ? [reset] : []));
    if (focused && this.card.querySelector(`#${CSS.escape(focused)}`)) document.getElementById(focused).focus();
  }

  // What can be chosen for the face that is looked at alone.
  ofFace(photo, face) {
    const model = this.option("model");
    const names = Object.keys(model.controls).filter((name) => !SEARCHES.includes(name));
    const shown = (value) => (has(`value.model.${value}`) ? t(`value.model.${value}`) : value);
    const change = (name, value) => {
      photo.adjustFace(face, name, value);
      later(photo);
    };
    const select = make("select", { id: `own-${face}-model` }, make("option", { value: "" }, t("as_photo", { value: shown(valueOf(photo, "model")) })));
    for (const name of names) select.append(make("option", { value: name }, shown(name)));
    select.value = photo.adjust.get(face)?.model ?? "";
    select.onchange = () => {
      photo.adjustFace(face, "model", select.value || undefined);
      photo.adjustFace(face, "fidelity", undefined);
      tell(photo);
      later(photo);
    };
    const rows = [make("div", { class: "row" }, make("label", { htmlFor: select.id }, t("option.model")), select)];
    const slide = (name, least, most) => {
      const value = make("output", { class: "value" });
      const input = make("input", { type: "range", min: 0, max: 1, step: 0.05, id: `own-${face}-${name}` });
      const now = photo.valueFor(face, name);
      input.value = typeof now === "number" ? now : 0.5;
      value.textContent = typeof now === "number" ? `${Math.round(100 * now)} %` : t("automatic");
      input.oninput = () => {
        value.textContent = `${Math.round(100 * input.value)} %`;
        if (name === "strength") this.onStrength(photo, [face], Number(input.value));
        change(name, Number(input.value));
      };
      const ends = make("div", { class: "ends", "aria-hidden": "true" }, make("span", {}, least), make("span", {}, most));
      rows.push(make("div", { class: "row" }, make("label", { htmlFor: input.id }, t(`option.${name}`)), value, input, ends));
    };
    slide("strength", t("weak"), t("strong"));
    if ((model.controls[photo.valueFor(face, "model")] ?? []).includes("fidelity")) slide("fidelity", t("beautiful"), t("faithful"));
    const several = make("button", { type: "button", class: "several" }, t("try"));
    several.onclick = () => this.onTry(photo, face);
    return [make("div", { class: "own", role: "group", "aria-label": t("face", { n: face }) }, ...rows, several)];
  }

  // A preset sets its options, and gives the others back to what they are without it.
  presets() {
    const names = Object.keys(album.about.presets);
    const shown = (name) => (has(`preset.${name}`) ? t(`preset.${name}`) : name);
    const input = make("select", { id: "preset" }, make("option", { value: "" }, t("preset.none")));
    for (const name of names) input.append(make("option", { value: name }, shown(name)));
    input.onchange = () => {
      const of = Object.values(album.about.presets).flatMap(Object.keys);
      for (const name of of) delete this.drawn.choices[name];
      for (const [name, value] of Object.entries(album.about.presets[input.value] ?? {})) chooseFor(this.drawn, name, value);
      this.values(this.drawn);
      tell(this.drawn);
      later(this.drawn);
    };
    this.preset = input;
    const part = make("section", {}, make("div", { class: "row" }, make("label", { htmlFor: "preset" }, t("preset")), input));
    part.hidden = !names.length;
    return part;
  }

  // The preset whose options are chosen, all of them and no others of its kind; "" where none is.
  presetOf(photo) {
    const all = album.about.presets;
    const of = new Set(Object.values(all).flatMap(Object.keys));
    const wanted = (name, option) => (option in all[name] ? all[name][option] : defaultOf(option));
    const differs = (name) => Object.entries(all[name]).some(([option, value]) => value !== defaultOf(option));
    return Object.keys(all).find((name) => differs(name) && [...of].every((option) => valueOf(photo, option) === wanted(name, option))) ?? "";
  }

  size() {
    const group = make("div", { class: "segments" });
    for (const size of SIZES) {
      const input = make("input", { type: "radio", name: "size", value: size });
      input.onchange = () => this.change("scale", size);
      group.append(make("label", {}, input, make("span", {}, `${size} ×`)));
    }
    this.sizes = group;
    this.pixels = make("p", { class: "small" });
    return make("section", {}, make("fieldset", {}, make("legend", {}, t("option.scale")), group), this.pixels);
  }

  faces() {
    const model = this.option("model");
    this.model = this.choice(model);
    this.strength = this.slider("strength", t("weak"), t("strong"));
    this.fidelity = this.slider("fidelity", t("beautiful"), t("faithful"));
    const switches = ["match_color", "grain"].map((name) => this.option(name)).filter(Boolean);
    return make("section", {}, this.model, this.strength, this.fidelity, ...switches.map((each) => this.control(each)));
  }

  print() {
    const rows = PRINT.map((name) => this.option(name)).filter(Boolean);
    const part = make("section", {}, make("h3", {}, t("print")), ...rows.map((each) => this.control(each)));
    part.hidden = !rows.length;
    return part;
  }

  file() {
    const rows = ["format", "quality"].map((name) => this.option(name)).filter(Boolean);
    return make("section", {}, ...rows.map((each) => this.control(each)));
  }

  more() {
    const rest = album.about.options.filter((each) => !FIRST.includes(each.name) && !HIDDEN.includes(each.name));
    const rows = rest.map((each) => this.control(each, true));
    const all = make("button", { type: "button", onclick: () => this.forAll() }, t("for_all"));
    const back = make("button", { type: "button", onclick: () => this.reset() }, t("reset"));
    const details = make("details", { open: this.open }, make("summary", {}, t("more")), ...rows);
    return make("section", {}, details, all, back);
  }

  command() {
    this.line = make("code", { tabIndex: 0 });
    const copy = make("button", { type: "button" }, t("copy"));
    copy.onclick = async () => {
      await navigator.clipboard.writeText(this.line.textContent);
      this.say(t("copied"));
    };
    return make("section", {}, make("h3", {}, t("command")), make("div", { class: "command" }, this.line, copy));
  }

  actions() {
    this.save = make("a", { class: "button main", download: "" }, t("save"));
    this.keep = make("button", { type: "button", hidden: !album.about.saves }, t("save_folder", { folder: album.about.folder ?? "" }));
    this.keep.onclick = async () => {
      try {
        const { saved, folder } = await api.save(this.drawn.shown.job);
        this.say(t("saved", { name: saved, folder }), true);
      } catch (error) {
        this.say(`${error.message} ${error.remedy ?? ""}`, true, true);
      }
    };
    return make("section", { class: "actions last" }, this.save, this.keep);
  }

  // ---------------------------------------------------------------------------------------------------- controls

  control(option, help = false) {
    const row = option.kind === "switch" ? this.toggle(option) : option.kind === "choice" ? this.choice(option) : this.entry(option);
    if (help) row.append(make("span", { class: "help" }, option.help));
    return row;
  }

  row(option, input, value = null) {
    input.id = `option-${option.name}`;
    input.dataset.option = option.name;
    return make("div", { class: "row" }, make("label", { htmlFor: input.id }, this.label(option)), value ?? input, value ? input : null);
  }

  toggle(option) {
    const input = make("input", { type: "checkbox" });
    input.onchange = () => this.change(option.name, input.checked);
    return this.row(option, input);
  }

  choice(option) {
    const shown = (value) => (has(`value.${option.name}.${value}`) ? t(`value.${option.name}.${value}`) : value);
    const input = make("select", {}, ...(option.optional ? [make("option", { value: "" }, t("automatic"))] : []));
    for (const value of option.values) input.append(make("option", { value }, shown(value)));
    input.onchange = () => this.change(option.name, input.value === "" ? option.default : input.value);
    return this.row(option, input);
  }

  entry(option) {
    const numeric = option.kind === "number" || option.kind === "whole number";
    const input = make("input", { type: numeric ? "number" : "text" });
    if (numeric) {
      if (option.least !== null) input.min = option.least;
      if (option.most !== null && option.most < 1e6) input.max = option.most;
      input.step = option.kind === "number" ? "any" : 1;
    }
    input.placeholder = option.default === null ? t("automatic") : String(option.default);
    input.onchange = () => {
      if (!input.reportValidity()) return;
      this.change(option.name, input.value === "" ? option.default : numeric ? Number(input.value) : input.value);
    };
    return this.row(option, input);
  }

  slider(name, least, most) {
    const option = this.option(name);
    const value = make("output", { class: "value" });
    const input = make("input", { type: "range", min: 0, max: 1, step: 0.05 });
    input.oninput = () => {
      value.textContent = `${Math.round(100 * input.value)} %`;
      const { drawn } = this;
      const faces = drawn.found.filter((face) => drawn.restores(face) && drawn.adjust.get(face.number)?.strength === undefined);
      if (name === "strength" && faces.length) this.onStrength(drawn, faces.map((face) => face.number), Number(input.value));
      this.change(name, Number(input.value));
    };
    const row = this.row(option, input, value);
    row.append(make("div", { class: "ends", "aria-hidden": "true" }, make("span", {}, least), make("span", {}, most)));
    return row;
  }

  // ------------------------------------------------------------------------------------------------ what changes

  values(photo) {
    for (const input of this.root.querySelectorAll("[data-option]")) {
      const value = valueOf(photo, input.dataset.option);
      if (input.type === "checkbox") input.checked = Boolean(value);
      else if (input.type === "range") {
        input.value = typeof value === "number" ? value : 0.5;
        input.previousElementSibling.textContent = typeof value !== "number" ? t("automatic") : `${Math.round(100 * value)} %`;
      } else if (input.tagName === "SELECT") input.value = value ?? "";
      else input.value = value === defaultOf(input.dataset.option) || value === null ? "" : value;
    }
    for (const input of this.sizes.querySelectorAll("input")) input.checked = Number(input.value) === valueOf(photo, "scale");
  }

  update(photo) {
    const { job, shown, facts } = photo;
    this.title.textContent = photo.name;
    this.facts.textContent = described(photo);
    const working = photo.sending || (job && ["waiting", "working"].includes(job.state));
    this.state.textContent = stateOf(photo);
    this.bar.hidden = !working;
    this.stop.hidden = !working || !job;
    if (job?.state === "working" && job.done > 0.01) this.bar.value = job.done;
    else this.bar.removeAttribute("value");
    this.drawWarnings(photo);
    this.drawCard(photo);
    const size = facts.size;
    const most = album.about.limits.pixels;
    for (const input of this.sizes.querySelectorAll("input")) {
      input.disabled = Boolean(size) && size[0] * size[1] * input.value ** 2 > most;
    }
    const scale = valueOf(photo, "scale");
    this.pixels.textContent = size ? t("becomes", { w: Math.round(size[0] * scale), h: Math.round(size[1] * scale) }) : "";
    const controls = this.option("model").controls;
    const model = valueOf(photo, "model");
    this.fidelity.hidden = !(controls[model] ?? []).includes("fidelity");
    if (this.fidelity.hidden && "fidelity" in photo.choices) delete photo.choices.fidelity;
    this.strength.hidden = model === "none";
    this.preset.value = this.presetOf(photo);
    this.line.textContent = job?.command ?? "";
    const ready = Boolean(shown) && !working;
    this.save.setAttribute("aria-disabled", !ready);
    if (ready) {
      this.save.href = `/jobs/${shown.job}/result?download`;
      this.save.download = shown.name;
    } else this.save.removeAttribute("href");
    this.keep.disabled = !ready;
  }

  drawWarnings(photo) {
    const lines = [];
    const error = photo.error ?? photo.facts.error ?? photo.job?.error;
    if (error) lines.push([`${error.message} ${error.remedy ?? ""}`, true]);
    const { faded, screened } = photo.facts;
    const told = [[faded && valueOf(photo, "tone") === "none", "tone", "faded"], [screened && valueOf(photo, "repair") === "none", "repair", "screened"]];
    for (const line of photo.shown?.warnings ?? photo.facts.warnings ?? []) {
      if (!/^The print has (faded|a screen)/.test(line)) lines.push([line, false]); // said here in the reader's language
    }
    const hints = told.filter(([is]) => is).map(([, name, key]) => [name, key]);
    const drawn = JSON.stringify([lines, hints, photo.key]);
    if (this.warningsDrawn === drawn) return;
    this.warningsDrawn = drawn;
    const help = hints.map(([name, key]) => {
      const mend = make("button", { type: "button" }, t(`hint.${name}`));
      mend.onclick = () => {
        this.change(name, "auto");
        this.values(photo);
      };
      return make("div", { class: "warn hint" }, make("p", {}, t(`hint.${key}`)), mend);
    });
    const said = lines.map(([line, bad]) => make("p", { class: bad ? "warn bad" : "warn", role: bad ? "alert" : "note" }, line));
    this.warnings.replaceChildren(...help, ...said);
  }

  cancel() {
    if (this.drawn.job) api.cancel(this.drawn.job.job);
  }

  forAll() {
    for (const each of album.photos) {
      if (each === this.drawn) continue;
      each.choices = { ...this.drawn.choices };
      tell(each);
      restore(each);
    }
    this.say(t("for_all_done"), true);
  }

  reset() {
    this.drawn.choices = {};
    this.drawn.faces.clear();
    this.drawn.adjust.clear();
    this.drawn.boxes = [];
    this.values(this.drawn);
    tell(this.drawn);
    restore(this.drawn);
  }
}

export function stateOf(photo) {
  const { job } = photo;
  if (photo.error || photo.facts.error) return t("state.failed");
  if (photo.sending || !job) return t("state.sending");
  if (job.state === "waiting") return job.ahead ? t("state.ahead", { n: job.ahead }) : t("state.next");
  if (job.state !== "working") return t(`state.${job.state}`);
  const words = has(`stage.${job.stage}`) ? t(`stage.${job.stage}`) : job.words;
  return job.seconds_left ? `${words} ${t("left", { s: number(Math.max(1, job.seconds_left)) })}` : words;
}

function described(photo) {
  const { size, grey, faces } = photo.facts;
  const told = [];
  if (size) told.push(`${size[0]} × ${size[1]}`);
  if (faces) told.push(t("count_faces", { n: photo.found.length }));
  if (grey) told.push(t("grey"));
  return told.join(" · ");
}
