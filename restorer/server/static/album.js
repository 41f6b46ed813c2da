// The photos on the page, with what was chosen for each; whoever wants to know hears of every change.
import * as api from "./api.js";

const SIDE_BY_SIDE = 2;
const listeners = new Set();
const asides = new Set();
let made = 0;

export const album = { photos: [], current: null, about: null };
export const onChange = (listener) => listeners.add(listener);
// Hears of jobs that are tries, until the function that is returned is called.
export const onAside = (listener) => {
  asides.add(listener);
  return () => asides.delete(listener);
};
export const tell = (photo, what = "photo") => listeners.forEach((each) => each(photo, what));

export class Photo {
  constructor(name) {
    this.key = ++made;
    this.name = name;
    this.id = null;
    this.facts = {};
    this.job = null; // the latest
    this.shown = null; // the latest that is done
    this.choices = {}; // by option, where it is not the default
    this.faces = new Map(); // by number, where somebody said so: true = restore it, false = leave it
    this.face = null; // the one that is looked at
    this.adjust = new Map(); // by number, what is otherwise for that face: {model, strength, fidelity}
    this.boxes = []; // of faces that nobody found, "x,y,width,height" in pixels of the photo
    this.error = null;
    this.sending = false;
  }

  get thumbnail() {
    return this.facts.looked && !this.facts.error ? `/photos/${this.id}/thumbnail` : (this.local ?? null);
  }

  get found() {
    return this.shown?.faces?.length ? this.shown.faces.map((face, i) => ({ number: i + 1, ...face })) : (this.facts.faces ?? []);
  }

  // Whether a face is restored, as far as is known: as somebody said, else as it went.
  restores(face) {
    return this.faces.get(face.number) ?? face.restored ?? face.reason === null;
  }

  // The options of a request. Faces are named only when somebody has said something about one: that insists on them.
  options() {
    const given = { ...this.choices };
    const known = this.baseline ?? this.found;
    if (this.faces.size && known.length) {
      const wanted = known.filter((face) => this.faces.get(face.number) ?? (face.restored || face.reason === null));
      const drawn = this.boxes.map((_, i) => (this.plain ?? known).length + 1 + i);
      const numbers = new Set([...wanted.map((face) => face.number), ...drawn.filter((each) => this.faces.get(each) ?? true)]);
      if (numbers.size) given.faces = [...numbers].sort((a, b) => a - b).join(",");
      else return { ...given, model: "none" };
    }
    if (this.boxes.length) given.face = this.boxes;
    const adjusted = [...this.adjust].map(([face, said]) => written(face, said)).filter(Boolean);
    if (adjusted.length && given.model !== "none") given.adjust = adjusted;
    return given;
  }

  // What holds for one face: what was said of it, else what holds for all.
  valueFor(face, name) {
    return this.adjust.get(face)?.[name] ?? valueOf(this, name);
  }

  adjustFace(face, name, value) {
    const said = { ...this.adjust.get(face), [name]: value };
    if (value === undefined || value === null || value === valueOf(this, name)) delete said[name];
    if (Object.keys(said).length) this.adjust.set(face, said);
    else this.adjust.delete(face);
  }
}

const written = (face, said) => {
  const parts = ["model", "strength", "fidelity"].filter((name) => said[name] !== undefined).map((name) => `${name}=${said[name]}`);
  return parts.length ? `${face}:${parts.join(",")}` : null;
};

// What a job says of single faces, as `written` writes it.
function read(photo, options) {
  photo.boxes = [...(options.face ?? [])];
  photo.adjust = new Map((options.adjust ?? []).map((text) => {
    const [face, said] = [Number(text.split(":")[0]), text.slice(text.indexOf(":") + 1)];
    const parts = said.split(",").map((part) => part.split("="));
    return [face, Object.fromEntries(parts.map(([name, value]) => [name, name === "model" || value === "auto" ? value : Number(value)]))];
  }));
}

export function defaultOf(name) {
  return album.about.options.find((each) => each.name === name)?.default;
}

export function valueOf(photo, name) {
  return name in photo.choices ? photo.choices[name] : defaultOf(name);
}

export function chooseFor(photo, name, value) {
  if (value === defaultOf(name)) delete photo.choices[name];
  else photo.choices[name] = value;
}

// ------------------------------------------------------------------------------------------------------ sending

const waiting = [];
let busy = 0;

export function add(files, choices = {}) {
  for (const file of files) {
    const photo = new Photo(file.name || "photo.png");
    photo.choices = { ...choices };
    photo.local = file.type.startsWith("image/") ? URL.createObjectURL(file) : null;
    photo.sending = true;
    album.photos.push(photo);
    waiting.push([photo, file]);
    tell(photo, "added");
  }
  next();
}

function next() {
  while (busy < SIDE_BY_SIDE && waiting.length) {
    busy += 1;
    const [photo, file] = waiting.shift();
    sendOne(photo, file).finally(() => {
      busy -= 1;
      next();
    });
  }
}

async function sendOne(photo, file) {
  for (;;) {
    try {
      const job = await api.send(file, photo.choices);
      photo.id = job.photo;
      const early = earlier.get(photo.id);
      if (early) hear("photo", early);
      hear("job", earlier.get(job.job) ?? job);
      break;
    } catch (error) {
      if (error.status === 429) {
        await new Promise((done) => setTimeout(done, 1000 * Math.min(error.seconds ?? 5, 30)));
        continue;
      }
      photo.error = error;
      break;
    }
  }
  photo.sending = false;
  tell(photo);
}

// ------------------------------------------------------------------------------------------------------ hearing

const earlier = new Map(); // events that came before the answer to what they are about

export function hear(kind, facts) {
  const photo = album.photos.find((each) => each.id === facts.photo);
  if (kind === "photo") {
    if (!photo) return void earlier.set(facts.photo, facts);
    photo.facts = facts;
  } else if (kind === "job" && facts.aside) {
    asides.forEach((each) => each(facts));
    return;
  } else if (kind === "job") {
    if (!photo) return void earlier.set(facts.job, facts);
    if (photo.removed.has(facts.job)) return;
    photo.job = facts;
    if (facts.state === "done") {
      photo.shown = facts;
      if (!photo.boxes.length && facts.faces) photo.plain = facts.faces;
      if ((!photo.faces.size || photo.boxes.length) && facts.faces?.length) photo.baseline = facts.faces.map((face, i) => ({ number: i + 1, ...face }));
    }
  } else if (kind === "gone" && photo) {
    drop(photo);
    return;
  }
  if (photo) tell(photo);
}

export async function renew() {
  const { photos } = await api.photos();
  for (const facts of photos) {
    let photo = album.photos.find((each) => each.id === facts.photo);
    if (!photo) {
      photo = new Photo(facts.name);
      photo.id = facts.photo;
      album.photos.push(photo);
      tell(photo, "added");
    }
    const { job, ...rest } = facts;
    hear("photo", rest);
    if (job) {
      if (!photo.shown) {
        photo.choices = own(job.options);
        read(photo, job.options);
      }
      hear("job", job);
    }
  }
}

// The options of a job that the page may choose, without the faces.
function own(options) {
  const known = new Set(album.about.options.map((each) => each.name));
  return Object.fromEntries(
    Object.entries(options).filter(([name, value]) => known.has(name) && !["faces", "face", "adjust"].includes(name) && value !== defaultOf(name)),
  );
}

// ------------------------------------------------------------------------------------------------------- changing

export async function restore(photo) {
  if (!photo.id) return;
  photo.turn = (photo.turn ?? 0) + 1;
  const turn = photo.turn;
  try {
    const job = await api.again(photo.id, photo.options());
    if (photo.job && photo.job.job !== job.job && !["done", "failed"].includes(photo.job.state)) photo.removed.add(photo.job.job);
    photo.error = null;
    if (turn === photo.turn) hear("job", earlier.get(job.job) ?? job);
  } catch (error) {
    photo.error = error;
  }
  tell(photo);
}

Photo.prototype.removed = new Set();

export async function remove(photo) {
  drop(photo);
  if (photo.id) await api.remove(photo.id).catch(() => null);
}

function drop(photo) {
  const place = album.photos.indexOf(photo);
  if (place < 0) return;
  album.photos.splice(place, 1);
  if (photo.local) URL.revokeObjectURL(photo.local);
  if (album.current === photo) album.current = album.photos[Math.min(place, album.photos.length - 1)] ?? null;
  tell(photo, "removed");
}
