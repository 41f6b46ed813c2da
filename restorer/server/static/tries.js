// A face in several ways, side by side: each model that is on this machine, at two strengths, to choose from.
import { album, chooseFor, onAside, restore, tell } from "./album.js";
import * as api from "./api.js";
import { make } from "./dom.js";
import { has, number, t } from "./texts.js";

const STRENGTHS = [0.5, 1];
const byId = (id) => document.getElementById(id);

export class Tries {
  constructor({ say, onChosen }) {
    Object.assign(this, { say, onChosen, turn: 0 });
    this.dialog = byId("tries");
    byId("tries-close").onclick = () => this.dialog.close();
    this.dialog.onclose = () => this.stop();
  }

  // Ends what is under way: a try that nobody waits for is given up.
  stop() {
    this.turn += 1;
    if (this.job) api.cancel(this.job).catch(() => null); // it may be over by now
    this.job = null;
  }

  async show(photo, face) {
    this.stop();
    const { turn } = this;
    const models = album.about.at_hand;
    byId("tries-title").textContent = t("tries", { n: face });
    const list = byId("tries-list");
    list.replaceChildren();
    this.dialog.showModal();
    const tell = (text) => (byId("tries-state").textContent = text);
    let seen = 0;
    for (const model of models) {
      if (turn !== this.turn) return;
      tell(t("trying", { model: shown(model), i: models.indexOf(model) + 1, of: models.length }));
      try {
        const job = await this.one(photo, face, model, turn);
        if (turn !== this.turn) return;
        if (job.state !== "done") throw new Error(job.error?.message ?? t(`state.${job.state}`));
        const strengths = seen ? STRENGTHS : [0, ...STRENGTHS];
        for (const strength of strengths) {
          const found = await api.blended(job.job, face, strength);
          if (turn !== this.turn) return;
          if (!found) throw new Error(t("try_nothing"));
          list.append(this.tile(photo, face, model, strength, found.picture, job));
        }
        seen += 1;
      } catch (error) {
        if (turn !== this.turn) return;
        list.append(make("li", { class: "warn bad" }, `${shown(model)}: ${error.message} ${error.remedy ?? ""}`));
      }
    }
    this.job = null;
    tell(seen ? t("tries_done") : t("try_nothing"));
  }

  // Restores the photo with one model, this face alone, beside what is shown; returns the job once it is over.
  async one(photo, face, model, turn) {
    const { adjust, fidelity, ...options } = photo.options();
    let done = () => null;
    const over = new Map(); // of jobs that end before the answer says which one is ours
    const end = onAside((facts) => {
      if (["done", "failed", "cancelled"].includes(facts.state)) over.set(facts.job, facts);
      done();
    });
    try {
      const job = await api.aside(photo.id, { ...options, model, strength: 1, faces: String(face) });
      this.job = job.job;
      while (!over.has(job.job) && turn === this.turn) await new Promise((go) => (done = go));
      return over.get(job.job) ?? { ...job, state: "cancelled" };
    } finally {
      end();
    }
  }

  tile(photo, face, model, strength, picture, job) {
    const url = URL.createObjectURL(picture);
    const words = strength ? `${shown(model)}, ${t("option.strength")} ${Math.round(100 * strength)} %` : t("before");
    const image = make("img", { alt: "", src: url });
    image.onload = () => URL.revokeObjectURL(url);
    const told = strength && job.seconds ? make("span", { class: "small" }, t("took", { s: number(job.seconds, 1) })) : null;
    const take = make("button", { type: "button", disabled: !strength }, image, make("span", {}, words), told);
    take.onclick = () => {
      this.choose(photo, face, model, strength);
      this.dialog.close();
    };
    return make("li", {}, take);
  }

  // Of a photo with one face it holds for the photo; else for that face.
  choose(photo, face, model, strength) {
    if (photo.found.length === 1) {
      photo.adjust.delete(face);
      delete photo.choices.fidelity;
      chooseFor(photo, "model", model);
      chooseFor(photo, "strength", strength);
    } else {
      photo.adjustFace(face, "fidelity", undefined);
      photo.adjustFace(face, "model", model);
      photo.adjustFace(face, "strength", strength);
    }
    this.onChosen(photo);
    tell(photo);
    restore(photo);
  }
}

const shown = (model) => (has(`value.model.${model}`) ? t(`value.model.${model}`) : model);
