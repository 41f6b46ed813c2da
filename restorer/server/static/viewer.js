// The photo before and after, at full resolution: a divider between them, zoom and pan by wheel, fingers and keys.
import * as api from "./api.js";
import { t, number } from "./texts.js";

const MOST = 16;
const byId = (id) => document.getElementById(id);

export class Viewer {
  constructor({ onFace }) {
    this.onFace = onFace;
    this.viewer = byId("viewer");
    this.sheet = byId("sheet");
    this.before = byId("before");
    this.after = byId("after");
    this.patches = byId("patches");
    this.divider = byId("divider");
    this.size = [1, 1];
    this.place = { x: 0, y: 0, scale: 1 };
    this.share = 0.5;
    this.pointers = new Map();
    this.fitted = true;
    this.listen();
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(this.viewer);
  }

  listen() {
    const { viewer, divider } = this;
    viewer.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...this.at(event));
    }, { passive: false });
    viewer.addEventListener("pointerdown", (event) => this.down(event));
    viewer.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) viewer.addEventListener(end, (event) => this.up(event));
    viewer.addEventListener("dblclick", (event) => {
      if (event.target.closest("#divider, #boxes button")) return;
      if (this.fitted) this.zoom(1 / this.place.scale / devicePixelRatio, ...this.at(event));
      else this.fit();
    });
    viewer.addEventListener("keydown", (event) => this.key(event));
    divider.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowUp: 0.02, PageDown: -0.2, PageUp: 0.2, Home: -1, End: 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      event.stopPropagation();
      this.divide(this.share + steps[event.key]);
    });
    byId("zoom-in").onclick = () => this.zoom(1.5);
    byId("zoom-out").onclick = () => this.zoom(1 / 1.5);
    byId("zoom-fit").onclick = () => this.fit();
    byId("zoom-full").onclick = () => this.zoom(1 / this.place.scale / devicePixelRatio);
    byId("show-faces").onclick = (event) => {
      const on = event.target.getAttribute("aria-pressed") !== "true";
      event.target.setAttribute("aria-pressed", on);
      byId("boxes").classList.toggle("none", !on);
    };
  }

  at(event) {
    const box = this.viewer.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (this.drawing?.begin(event)) return;
    if (event.button > 0 || event.target.closest("#boxes button")) return;
    this.dividing = Boolean(event.target.closest("#divider"));
    this.pointers.set(event.pointerId, this.at(event));
    this.viewer.setPointerCapture(event.pointerId);
    if (this.dividing) this.divider.focus({ preventScroll: true });
  }

  move(event) {
    if (this.drawing?.go(event)) return;
    if (!this.pointers.has(event.pointerId)) return;
    const before = [...this.pointers.values()];
    this.pointers.set(event.pointerId, this.at(event));
    const after = [...this.pointers.values()];
    if (this.dividing) {
      this.divide(after[0][0] / this.viewer.clientWidth);
    } else if (after.length === 1) {
      this.pan(after[0][0] - before[0][0], after[0][1] - before[0][1]);
    } else {
      const middle = (points) => [(points[0][0] + points[1][0]) / 2, (points[0][1] + points[1][1]) / 2];
      const apart = (points) => Math.hypot(points[0][0] - points[1][0], points[0][1] - points[1][1]);
      const [from, to] = [middle(before), middle(after)];
      this.pan(to[0] - from[0], to[1] - from[1]);
      this.zoom(apart(after) / Math.max(apart(before), 1), ...to);
    }
  }

  up(event) {
    if (this.drawing?.end(event)) return;
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.dividing = false;
  }

  key(event) {
    if (this.drawing?.key(event)) return;
    if (event.target !== this.viewer || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 60;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key in moves) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.zoom(1 / this.place.scale / devicePixelRatio);
    else return;
    event.preventDefault();
  }

  fit() {
    const [width, height] = this.size;
    const { clientWidth: w, clientHeight: h } = this.viewer;
    const scale = Math.min(w / width, h / height) * 0.98;
    this.place = { scale, x: (w - width * scale) / 2, y: (h - height * scale) / 2 };
    this.fitted = true;
    this.draw();
  }

  zoom(factor, x = this.viewer.clientWidth / 2, y = this.viewer.clientHeight / 2) {
    const least = Math.min(this.viewer.clientWidth / this.size[0], this.viewer.clientHeight / this.size[1]) * 0.5;
    const scale = Math.min(Math.max(this.place.scale * factor, Math.min(least, 1)), MOST);
    const real = scale / this.place.scale;
    this.place = { scale, x: x - (x - this.place.x) * real, y: y - (y - this.place.y) * real };
    this.fitted = false;
    this.hold();
    this.draw();
  }

  pan(x, y) {
    this.place.x += x;
    this.place.y += y;
    this.fitted = false;
    this.hold();
    this.draw();
  }

  // Some of the photo is always to be seen.
  hold() {
    const edge = 60;
    const [width, height] = this.size.map((each) => each * this.place.scale);
    this.place.x = Math.min(Math.max(this.place.x, edge - width), this.viewer.clientWidth - edge);
    this.place.y = Math.min(Math.max(this.place.y, edge - height), this.viewer.clientHeight - edge);
  }

  divide(share) {
    this.share = Math.min(Math.max(share, 0), 1);
    this.draw();
  }

  draw() {
    const { x, y, scale } = this.place;
    this.sheet.style.width = `${this.size[0]}px`;
    this.sheet.style.height = `${this.size[1]}px`;
    this.sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    this.sheet.style.setProperty("--zoom", scale);
    this.sheet.classList.toggle("crisp", scale * devicePixelRatio >= 4);
    const line = this.share * this.viewer.clientWidth;
    const cut = Math.min(Math.max((line - x) / scale, 0), this.size[0]);
    this.before.style.clipPath = this.both ? `inset(0 ${this.size[0] - cut}px 0 0)` : "none";
    this.divider.style.left = `${line}px`;
    const percent = Math.round(this.share * 100);
    this.divider.setAttribute("aria-valuenow", percent);
    this.divider.setAttribute("aria-valuetext", t("divided", { share: percent }));
    byId("zoom-now").textContent = this.viewer.classList.contains("nothing") ? "" : `${number(scale * devicePixelRatio * 100)} %`;
  }

  // Shows a photo; pictures that are there already are not loaded again, and what is shown stays until the new is here.
  async show(photo) {
    const same = this.photo === photo;
    this.photo = photo;
    const original = photo.id && photo.facts.size ? `/photos/${photo.id}/file` : photo.local;
    const result = photo.shown ? `/jobs/${photo.shown.job}/shown` : null;
    const size = photo.shown?.output_size ?? photo.facts.size ?? null;
    if (!same) this.url = null;
    if (this.url !== `${original} ${result}`) {
      const url = `${original} ${result}`;
      this.url = url;
      const first = original ? await loaded(original) : null;
      const second = result ? await loaded(result) : null;
      if (this.url !== url) return;
      if (first) this.before.src = first.src;
      else this.before.removeAttribute("src");
      this.after.src = second ? second.src : (first?.src ?? "");
      this.patches.replaceChildren();
      this.both = Boolean(second);
      this.viewer.classList.toggle("nothing", !first && !second);
      const wanted = size ?? (first ? [first.naturalWidth, first.naturalHeight] : [1, 1]);
      this.scaleTo(wanted, same);
      this.viewer.classList.toggle("alone", !this.both);
      this.before.alt = t("alt_before", { name: photo.name });
      this.after.alt = this.both ? t("alt_after", { name: photo.name }) : "";
    }
    this.boxes(photo);
    this.drawing?.show(photo);
  }

  // Shows faces with another strength at once; the whole result with it follows. One question at a time, the last counts.
  async blend(photo, faces, strength) {
    this.wish = { photo, faces, strength };
    if (this.asking) return;
    this.asking = true;
    try {
      while (this.wish) {
        const wish = this.wish;
        this.wish = null;
        const job = wish.photo.shown?.job;
        const began = performance.now();
        for (const face of job ? wish.faces : []) {
          const found = await api.blended(job, face, wish.strength, wish.faces);
          if (this.photo !== wish.photo || wish.photo.shown?.job !== job) break;
          if (found) await this.patch(face, found);
          if (this.wish) break; // the slider is elsewhere by now
        }
        performance.measure("blend", { start: began });
      }
    } finally {
      this.asking = false;
    }
  }

  async patch(face, { box, picture }) {
    const image = new Image();
    const url = URL.createObjectURL(picture);
    image.src = url;
    await image.decode();
    URL.revokeObjectURL(url);
    const [width, height] = this.size;
    const [x0, y0, x1, y1] = box;
    image.alt = "";
    image.draggable = false;
    image.dataset.face = face;
    Object.assign(image.style, {
      left: `${(100 * x0) / width}%`, top: `${(100 * y0) / height}%`,
      width: `${(100 * (x1 - x0)) / width}%`, height: `${(100 * (y1 - y0)) / height}%`,
    });
    this.patches.querySelector(`[data-face="${face}"]`)?.remove();
    this.patches.append(image);
  }

  // Another size of the same photo shows the same part of it.
  scaleTo(size, same) {
    const factor = this.size[0] / size[0];
    this.size = size;
    if (!same || this.fitted) this.fit();
    else {
      this.place.scale *= factor;
      this.draw();
    }
  }

  boxes(photo) {
    const holder = byId("boxes");
    const [width, height] = photo.facts.size ?? [0, 0];
    const faces = width ? photo.found : [];
    while (holder.children.length > faces.length) holder.lastChild.remove();
    faces.forEach((face, i) => {
      const box = holder.children[i] ?? holder.appendChild(document.createElement("button"));
      box.type = "button";
      const [x0, y0, x1, y1] = face.box;
      Object.assign(box.style, {
        left: `${(100 * x0) / width}%`, top: `${(100 * y0) / height}%`,
        width: `${(100 * (x1 - x0)) / width}%`, height: `${(100 * (y1 - y0)) / height}%`,
      });
      const on = photo.restores(face);
      box.classList.toggle("left-alone", !on);
      box.setAttribute("aria-pressed", photo.face === face.number);
      box.setAttribute("aria-label", t(on ? "face_restored" : "face_left", { n: face.number }));
      box.innerHTML = "";
      box.appendChild(document.createElement("span")).textContent = face.number;
      box.onclick = () => this.onFace(photo, face.number);
    });
  }
}

function loaded(url) {
  const picture = new Image();
  picture.src = url;
  return picture.decode().then(() => picture, () => null);
}
