// The interface of the server: every call answers with its JSON, or throws a Refusal with the server's words.
export class Refusal extends Error {
  constructor(status, error, seconds) {
    super(error.message);
    this.status = status;
    this.remedy = error.remedy ?? "";
    this.seconds = seconds;
  }
}

async function call(method, path, body, json, type) {
  const headers = json ? { "Content-Type": "application/json" } : type ? { "Content-Type": type } : {};
  const answer = await fetch(path, { method, headers, body: json ? JSON.stringify(body) : body });
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  const error = told.error ?? { message: `${answer.status} ${answer.statusText}` };
  throw new Refusal(answer.status, error, Number(answer.headers.get("Retry-After")) || null);
}

export const about = () => call("GET", "/about");
export const photos = () => call("GET", "/photos");
export const remove = (photo) => call("DELETE", `/photos/${photo}`);
export const draw = (photo, drawing) => call("PUT", `/photos/${photo}/mask`, drawing, false, "image/png");
export const wipe = (photo) => call("DELETE", `/photos/${photo}/mask`);
export const cancel = (job) => call("DELETE", `/jobs/${job}`);
export const save = (job) => call("POST", `/jobs/${job}/save`);
export const again = (photo, options) => call("POST", `/photos/${photo}/jobs?instead=1`, options, true);

// A try: a job beside the one that is shown.
export const aside = (photo, options) => call("POST", `/photos/${photo}/jobs?aside=1`, options, true);

// A face's part of a result with another strength, which others have too: where it is, and its picture; null where that
// is kept no longer.
export async function blended(job, face, strength, also = []) {
  const answer = await fetch(`/jobs/${job}/faces/${face}?strength=${strength}&also=${also.join(",")}`);
  if (!answer.ok) return null;
  return { box: answer.headers.get("X-Box").split(",").map(Number), picture: await answer.blob() };
}

export function send(file, options) {
  const form = new FormData();
  form.append("photo", file, file.name || "photo.png");
  for (const [name, value] of Object.entries(options)) form.append(name, Array.isArray(value) ? value.join(";") : (value ?? ""));
  return call("POST", "/photos", form);
}

// Tells what happens as it happens; after a gap the whole state is asked for anew.
export function listen(hear, renew) {
  const stream = new EventSource("/events");
  let opened = false;
  stream.onopen = () => {
    if (opened) renew();
    opened = true;
  };
  for (const kind of ["photo", "job", "gone", "notice"]) {
    stream.addEventListener(kind, (event) => hear(kind, JSON.parse(event.data)));
  }
}
