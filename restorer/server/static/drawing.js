// Drawing on the photo: a box around a face that was not found, and a brush over what is damaged.
import * as api from "./api.js";
import { make } from "./dom.js";
import { t } from "./texts.js";

const LEAST = 8; // pixels of the photo; smaller boxes are refused by the server too
const byId = (id) => document.getElementById(id);

export class Drawing {
  constructor(viewer, { onBox, onMask, say }) {
    Object.assign(this, { viewer, onBox, onMask, say, mode: null, start: null });
    viewer.drawing = this;
    this.rubber = byId("sheet").appendChild(make("div", { id: "rubber", hidden: true }));
    this.holder = byId("sheet").appendChild(make("div", { id: "damage" }));
    byId("draw-face").onclick = () => this.choose(this.mode === "face" ? null : "face");
    byId("draw-damage").onclick = () => this.choose(this.mode === "brush" || this.mode === "erase" ? null : "brush");
    byId("brush").onclick = () => this.choose("brush");
    byId("erase").onclick = () => this.choose("erase");
    byId("wipe").onclick = () => this.wipe();
    byId("drawn").onclick = () => this.choose(null);
    addEventListener("keydown", (event) => event.key === "Escape" && this.mode && this.choose(null));
  }

  choose(mode) {
    if (mode && !this.viewer.photo?.facts.size) return;
    this.mode = mode;
    this.start = this.typed = null;
    this.rubber.hidden = true;
    const damage = mode === "brush" || mode === "erase";
    byId("viewer").classList.toggle("drawing", Boolean(mode));
    byId("draw-face").setAttribute("aria-pressed", mode === "face");
    byId("draw-damage").setAttribute("aria-pressed", damage);
    byId("brush").setAttribute("aria-pressed", mode === "brush");
    byId("erase").setAttribute("aria-pressed", mode === "erase");
    byId("brushes").hidden = !damage;
    byId("hint").hidden = !mode;
    byId("hint").textContent = !mode ? "" : mode === "face" ? `${t("draw_face_how")} ${t("draw_face_keys")}` : t("draw_damage_how");
    if (mode) this.say(byId("hint").textContent);
    if (mode === "face") byId("viewer").focus({ preventScroll: true }); // for who has no mouse
    this.show(this.viewer.photo);
  }

  // A box by keys alone: Enter shows one in the middle of what is seen, arrows move it, with Shift they change its size.
  key(event) {
    if (this.mode !== "face" || event.ctrlKey || event.metaKey || event.altKey) return false;
    const { facts } = this.viewer.photo;
    const step = Math.max(1, Math.round(Math.max(...facts.size) / 100));
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key === "Enter" && !this.start) this.typed = this.middle(facts.size);
    else if (event.key === "Enter") return this.take(event);
    else if (event.key in moves && this.start) {
      const [x, y] = moves[event.key];
      const far = [this.typed[0] + x, this.typed[1] + y];
      if (event.shiftKey) this.typed = far.map((each, i) => Math.min(Math.max(each, this.start[i] + LEAST), facts.size[i]));
      else {
        const by = [x, y].map((each, i) => Math.min(Math.max(each, -this.start[i]), facts.size[i] - this.typed[i]));
        this.start = this.start.map((each, i) => each + by[i]);
        this.typed = this.typed.map((each, i) => each + by[i]);
      }
    } else return false;
    event.preventDefault();
    this.draft(this.typed);
    const [left, top, width, height] = this.box(this.typed);
    this.say(t("box_now", { x: left, y: top, w: width, h: height }));
    return true;
  }

  // Begins a box of a fifth of the photo in the middle of what is seen; returns its far corner.
  middle(size) {
    const { place, size: shown, viewer } = this.viewer;
    const unit = size[0] / shown[0];
    const half = Math.max(Math.round(Math.min(...size) / 10), LEAST);
    const centre = [viewer.clientWidth / 2 - place.x, viewer.clientHeight / 2 - place.y].map((each, i) =>
      Math.round(Math.min(Math.max((each / place.scale) * unit, half), size[i] - half)));
    this.start = centre.map((each) => each - half);
    return centre.map((each) => each + half);
  }

  take(event) {
    const { photo } = this.viewer;
    const [x, y, width, height] = this.box(this.typed);
    event.preventDefault();
    this.choose(null);
    if (Math.min(width, height) >= LEAST) this.onBox(photo, `${x},${y},${width},${height}`);
    return true;
  }

  // Another photo has its own drawing.
  show(photo) {
    const canvas = photo?.damage ?? null;
    if (canvas !== this.holder.firstChild) this.holder.replaceChildren(...(canvas ? [canvas] : []));
  }

  canvas() {
    const { photo } = this.viewer;
    if (!photo.damage) {
      const [width, height] = photo.facts.size;
      photo.damage = make("canvas", { width, height });
      this.show(photo);
    }
    return photo.damage;
  }

  // Where a pointer is, in pixels of the photo.
  at(event) {
    const [x, y] = this.viewer.at(event);
    const { place, size, photo } = this.viewer;
    const unit = photo.facts.size[0] / size[0];
    return [((x - place.x) / place.scale) * unit, ((y - place.y) / place.scale) * unit];
  }

  begin(event) {
    if (!this.mode || event.button > 0) return false;
    this.typed = null;
    byId("viewer").setPointerCapture(event.pointerId);
    this.start = this.last = this.at(event);
    if (this.mode !== "face") this.stroke(this.last);
    return true;
  }

  go(event) {
    if (!this.start || this.typed) return false;
    const here = this.at(event);
    if (this.mode === "face") this.draft(here);
    else this.stroke(here);
    this.last = here;
    return true;
  }

  end(event) {
    if (!this.start || this.typed) return false;
    const { photo } = this.viewer;
    if (this.mode === "face") {
      const [x, y, width, height] = this.box(this.at(event));
      this.rubber.hidden = true;
      this.choose(null);
      if (Math.min(width, height) >= LEAST) this.onBox(photo, `${x},${y},${width},${height}`);
    } else this.send(photo);
    this.start = null;
    return true;
  }

  box(here) {
    const [wide, high] = this.viewer.photo.facts.size;
    const clip = (value, most) => Math.round(Math.min(Math.max(value, 0), most));
    const [x0, x1] = [this.start[0], here[0]].sort((a, b) => a - b).map((each) => clip(each, wide));
    const [y0, y1] = [this.start[1], here[1]].sort((a, b) => a - b).map((each) => clip(each, high));
    return [x0, y0, x1 - x0, y1 - y0];
  }

  draft(here) {
    const [wide, high] = this.viewer.photo.facts.size;
    const [x, y, width, height] = this.box(here);
    this.rubber.hidden = false;
    Object.assign(this.rubber.style, {
      left: `${(100 * x) / wide}%`, top: `${(100 * y) / high}%`, width: `${(100 * width) / wide}%`, height: `${(100 * height) / high}%`,
    });
  }

  stroke(here) {
    const canvas = this.canvas();
    const pen = canvas.getContext("2d");
    pen.globalCompositeOperation = this.mode === "erase" ? "destination-out" : "source-over";
    pen.strokeStyle = "#f22";
    pen.lineCap = pen.lineJoin = "round";
    pen.lineWidth = (Number(byId("brush-size").value) / 1000) * Math.max(canvas.width, canvas.height);
    pen.beginPath();
    pen.moveTo(...this.last);
    pen.lineTo(here[0] + 0.01, here[1]);
    pen.stroke();
  }

  // White where it is damaged, black elsewhere.
  async send(photo) {
    const { width, height } = photo.damage;
    const mask = make("canvas", { width, height });
    const pen = mask.getContext("2d");
    pen.drawImage(photo.damage, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, height);
    const some = pen.getImageData(0, 0, width, height).data.some((value, i) => i % 4 === 3 && value > 127);
    pen.globalCompositeOperation = "destination-over";
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, width, height);
    if (!some) return this.wipe(photo);
    const turn = (photo.drawn = (photo.drawn ?? 0) + 1);
    const drawing = await new Promise((done) => mask.toBlob(done, "image/png"));
    if (turn === photo.drawn) await this.tell(() => api.draw(photo.id, drawing), photo);
  }

  async wipe(photo = this.viewer.photo) {
    photo.drawn = (photo.drawn ?? 0) + 1;
    photo.damage = null;
    this.show(this.viewer.photo);
    await this.tell(() => api.wipe(photo.id), photo);
  }

  async tell(call, photo) {
    try {
      await call();
      this.onMask(photo);
    } catch (error) {
      this.say(`${error.message} ${error.remedy ?? ""}`, true, true);
    }
  }
}
