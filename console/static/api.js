// The console's REST interface. Failures come out as Error with the one sentence the service gave.

export class ApiError extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status; // 0: the console could not be reached
  }
}

async function request(method, path, { json, sdp, keepalive = false } = {}) {
  const options = { method, keepalive, headers: {} };
  if (json !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(json);
  } else if (sdp !== undefined) {
    options.headers["Content-Type"] = "application/sdp";
    options.body = sdp;
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError("The console cannot be reached: check that it still runs.", 0);
  }
  if (!response.ok && !(path === "/readyz" && response.status === 503)) {
    throw new ApiError(await sentenceOf(response), response.status);
  }
  return response;
}

async function sentenceOf(response) {
  const body = await response.json().catch(() => null);
  return body?.error ?? `The console answered ${response.status}.`;
}

const getJson = async (path) => (await request("GET", path)).json();
const sessionPath = (id) => `/api/v1/sessions/${encodeURIComponent(id)}`;

export const api = {
  options: () => getJson("/api/v1/options"),
  ready: () => getJson("/readyz"),
  clips: async () => (await getJson("/api/v1/clips")).clips,
  sessions: async () => (await getJson("/api/v1/sessions")).sessions,
  session: (id) => getJson(sessionPath(id)),
  start: async (spec) => (await request("POST", "/api/v1/sessions", { json: spec })).json(),
  change: async (id, fields) => (await request("PATCH", sessionPath(id), { json: fields })).json(),
  stop: (id) => request("DELETE", sessionPath(id)),
  eventsUrl: (id) => `${sessionPath(id)}/events`,

  // SDP offer in; { answer, location, clip } out.
  async offer(path, sdp) {
    const response = await request("POST", path, { sdp });
    return {
      answer: await response.text(),
      location: response.headers.get("Location"),
      clip: response.headers.get("X-Semcast-Clip"),
    };
  },
  // Also works while the page is being closed.
  hangUp: (location) => request("DELETE", location, { keepalive: true }).catch(() => {}),

  // fetch() tells nothing of the progress of an upload, so this is XMLHttpRequest.
  upload(file, { onProgress, signal }) {
    return new Promise((resolve, reject) => {
      const form = new FormData();
      form.append("file", file);
      const xhr = new XMLHttpRequest();
      xhr.open("POST", "/api/v1/uploads");
      xhr.responseType = "json";
      xhr.upload.onprogress = (event) => onProgress(event.loaded / event.total);
      xhr.onload = () => {
        if (xhr.status === 201) resolve(xhr.response);
        else reject(new ApiError(xhr.response?.error ?? `The console answered ${xhr.status}.`, xhr.status));
      };
      xhr.onerror = () => reject(new ApiError("The upload broke off: try it again.", 0));
      xhr.onabort = () => reject(new DOMException("cancelled", "AbortError"));
      signal.addEventListener("abort", () => xhr.abort());
      xhr.send(form);
    });
  },
};
