// The live page. The console owns the session; this page joins it, shows it, and asks for changes.

import { api } from "./api.js";
import { Controls } from "./controls.js";
import { SessionEvents } from "./events.js";
import { HeldStrip } from "./held.js";
import { LegMeter } from "./meters.js";
import { Pane, setText } from "./panes.js";
import { Plots } from "./plots.js";
import { ReceivedView } from "./received.js";
import { SnrScale } from "./snr.js";
import { EventLog, SchemeWatch } from "./switches.js";
import { WhepPlayer } from "./whep.js";
import { Webcam, cameraObstacle } from "./whip.js";

const TICK_MS = 250;
const IDLE_POLL_MS = 2000;
const STALE_MS = 2500;

const $ = (id) => document.getElementById(id);

const state = {
  phase: "loading", // loading, idle, live
  options: null,
  session: null,
  services: {},
  linked: false,
  starting: null, // a promise, while a start is not answered yet
  lastEvents: { main: null, baseline: null },
};
const panes = Object.fromEntries(["source", "main", "baseline"].map((leg) => [leg, new Pane($(`pane-${leg}`))]));
const received = new ReceivedView(panes.main, $("layers"));
const held = new HeldStrip($("held"));
const plots = new Plots($("plots"));
const log = new EventLog($("log"));
const snr = new SnrScale((snrDb) => apply({ snr_db: snrDb }));
const controls = new Controls((fields) => apply(fields));
let meters = newMeters();
let schemes = new SchemeWatch();
let players = {};
let events = null;
let webcam = null;
let generation = null;

// For tests and for the curious; nothing in the page reads it.
window.semcast = {
  state,
  received,
  held,
  get players() {
    return players;
  },
  get meters() {
    return meters;
  },
};

// Joining and leaving a session

function join(session) {
  leave();
  state.session = session;
  setPhase("live");
  history.replaceState(null, "", `#session=${session.id}`);
  events = new SessionEvents(api.eventsUrl(session.id), { onEvent, onLink: setLinked, onRefused: checkSession });
  const freezeMs = Math.max(2200, 5000 / session.fps);
  const open = (leg, path) =>
    new WhepPlayer(panes[leg].video, path, {
      iceServers: state.options.ice_servers,
      freezeMs,
      onState: (name, reason) => showVideoState(leg, name, reason),
    });
  const id = encodeURIComponent(session.id);
  players = { source: open("source", `/whep/${id}/source`), main: open("main", `/whep/${id}`) };
  if (session.baseline_scheme) players.baseline = open("baseline", `/whep/${id}/baseline`);
  showSession(session);
}

function showVideoState(leg, name, reason) {
  const pane = panes[leg];
  if (name === "playing") {
    pane.thaw();
    pane.setVeil("");
  } else if (name === "connecting") {
    pane.setVeil("Connecting…");
  } else {
    pane.freeze();
    const service = leg === "source" ? "transmitter" : "receiver";
    const away = (state.services[service] ?? "serving") !== "serving";
    pane.setVeil(away ? `The ${service} is away. The picture comes back with it.` : `Waiting for the picture. ${reason}`.trim());
  }
}

function leave() {
  events?.close();
  events = null;
  for (const player of Object.values(players)) player.close();
  players = {};
  meters = newMeters();
  schemes = new SchemeWatch();
  generation = null;
  state.session = null;
  state.lastEvents = { main: null, baseline: null };
  plots.clear();
  received.clear();
  held.clear();
  log.clear();
  for (const pane of Object.values(panes)) {
    pane.clear();
    pane.setTitle("");
  }
  snr.setEstimate(null);
  for (const name of ["measured", "estimated", "rung"]) setText($(`snr-${name}`), "–");
}

function goIdle(text) {
  leave();
  history.replaceState(null, "", location.pathname);
  setPhase("idle");
  setText($("state"), text);
}

function setPhase(phase) {
  state.phase = phase;
  document.body.dataset.phase = phase;
  $("stop").hidden = phase !== "live";
  $("copy-link").disabled = phase !== "live";
}

function newMeters() {
  return { main: new LegMeter(), baseline: new LegMeter() };
}

// The page was reloaded, or the console restarted: the session may still be there.
async function checkSession() {
  const id = state.session?.id;
  try {
    await api.session(id);
  } catch (error) {
    if (error.status === 404 && state.session?.id === id) goIdle("The session was stopped.");
  }
}

async function findSession() {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("session");
  const sessions = await api.sessions();
  const alive = sessions.filter((session) => session.state === "streaming" || session.state === "connecting");
  return sessions.find((session) => session.id === wanted) ?? alive.at(-1) ?? null;
}

// Events

function onEvent(event) {
  if (event.type === "frame") onFrame(event);
  else if (event.type === "session") onSession(event);
  else if (event.type === "services") onServices(event);
}

function onFrame(frame) {
  const now = performance.now();
  const leg = frame.leg;
  if (!(leg in meters)) return;
  meters[leg].push(frame, now);
  state.lastEvents[leg] = frame;
  const receiver = frame.receiver ?? {};
  panes[leg].setOutage(receiver.outage === true);
  if (leg !== "main") return;
  received.onFrame(frame, now);
  held.push(frame, controls.schemeModalities(state.session.scheme));
  plots.addFrame(frame, now);
  showScheme(frame, now);
  showShortage(frame);
  showRemark(receiver.generator);
  plots.addConstellation(receiver.constellation ?? [], receiver.constellation_kind ?? "");
  if (generation !== null && frame.generation !== generation) suspectAll();
  generation = frame.generation;
}

// Which scheme "auto" has picked, and since when.
function showScheme(frame, now) {
  const change = schemes.push(frame);
  const isAuto = state.session.scheme === "auto";
  panes.main.setSchemeInForce(isAuto && schemes.scheme ? `auto: ${schemes.scheme}` : "");
  if (!change) return;
  const snr = change.snrDb === null ? "" : ` at ${change.snrDb.toFixed(1).replace("-", "−")} dB`;
  log.add(`auto: ${change.from} → ${change.to}${snr}`);
  plots.mark(change.to, now);
}

// The extractors work more coarsely than usual, so as to keep up.
function showShortage({ coarseness, coarseness_detail: detail }) {
  panes.source.setShortage(coarseness > 0 ? detail : "");
}

// A sentence says what is to be seen, not what it looks like: no picture made of it alone is the source.
function showRemark(generator) {
  if (!generator) return; // The frame was skipped.
  const isAlone = controls.schemeModalities(state.session.scheme).join() === "caption";
  panes.main.setRemark(isAlone && generator !== "passthrough" ? "Made from the caption alone: a curiosity." : "");
}

// A stage has started anew: its viewers may have been left behind.
function suspectAll() {
  for (const player of Object.values(players)) player.suspect();
}

function onSession(session) {
  if (session.state === "stopped") return goIdle("Stopped.");
  if (session.state === "ended") return goIdle("The clip has ended.");
  const before = state.session;
  if (session.starts !== before.starts) suspectAll();
  if (Boolean(before.baseline_scheme) !== Boolean(session.baseline_scheme)) return join(session);
  state.session = session;
  showSession(session);
}

function onServices({ transmitter, receiver }) {
  const before = state.services;
  showServices({ transmitter, receiver });
  if (before.transmitter && before.transmitter !== "serving" && transmitter === "serving") players.source?.reconnect();
  if (before.receiver && before.receiver !== "serving" && receiver === "serving") {
    players.main?.reconnect();
    players.baseline?.reconnect();
  }
}

// Showing

function showSession(session) {
  controls.show(session);
  snr.setValue(session.snr_db);
  const text = { connecting: "Connecting.", streaming: "Streaming.", failed: "Failed:" }[session.state] ?? session.state;
  setText($("state"), `${text} ${session.detail}`.trim());
  $("state").dataset.state = session.state;
  panes.baseline.element.classList.toggle("absent", !session.baseline_scheme);
  for (const pane of Object.values(panes)) pane.setAspect(session.width, session.height);
  received.setSize(session.width, session.height);
  panes.source.setTitle(controls.clipTitle(session.clip), `${session.width}×${session.height}`);
  if (!session.baseline_scheme) {
    panes.baseline.setTitle("none");
    panes.baseline.setVeil("No baseline chosen.");
  }
}

function showServices(services) {
  state.services = services;
  for (const name of ["transmitter", "receiver"]) $(`service-${name}`).dataset.health = services[name] ?? "unknown";
}

function setLinked(linked) {
  state.linked = linked;
  if (!linked && state.phase === "live") setText($("state"), "The console is away. Trying to reach it…");
  $("service-console").dataset.health = linked ? "serving" : "unreachable";
}

function tick() {
  const { session } = state;
  if (session === null) return;
  const now = performance.now();
  const pixels = session.width * session.height;
  const measures = { main: meters.main.measure(now, pixels), baseline: meters.baseline.measure(now, pixels) };
  for (const leg of ["main", "baseline"]) showLeg(leg, measures[leg], now);
  panes.source.setBadge(measures.main ? [`${session.fps} fps`] : []);
  const main = measures.main;
  snr.setEstimate(main?.snrEstimated ?? null);
  setText($("snr-measured"), decibels(main?.snrMeasured));
  setText($("snr-estimated"), decibels(main?.snrEstimated));
  setText($("snr-rung"), state.lastEvents.main?.receiver?.rung_id || "–");
  plots.sample(now, measures);
}

function showLeg(leg, measure, now) {
  const { session } = state;
  const scheme = leg === "main" ? session.scheme : session.baseline_scheme;
  if (!scheme) return;
  panes[leg].setTitle(controls.schemeTitle(scheme), measure ? `CBR ${measure.cbr.toFixed(4)}` : "");
  if (measure === null) return panes[leg].setBadge([]);
  const figures = [`${measure.fps === null ? "–" : measure.fps.toFixed(1)} fps`, `${Math.round(measure.symbolsPerFrame)} sym/frame`];
  if (measure.psnr !== null) figures.push(`${measure.psnr.toFixed(1)} dB`);
  const generator = state.lastEvents[leg].receiver?.generator;
  if (leg === "main" && generator) figures.push(generator);
  const stale = now - meters[leg].frames.at(-1).at > STALE_MS;
  panes[leg].setBadge(figures, stale || state.lastEvents[leg].receiver?.concealed === true);
}

const decibels = (value) => (typeof value === "number" ? `${value.toFixed(2).replace("-", "−")} dB` : "–");

function notify(sentence) {
  $("notice").hidden = !sentence;
  setText($("notice"), sentence);
}

// Acting

async function attempt(action) {
  try {
    notify("");
    return await action();
  } catch (error) {
    if (error.name !== "AbortError") notify(error.message);
    return null;
  }
}

async function start() {
  $("start").disabled = true;
  state.starting = attempt(async () => {
    if (state.session) await api.stop(state.session.id);
    join(await api.start({ ...controls.values(), snr_db: snr.snrDb }));
  });
  await state.starting;
  state.starting = null;
  $("start").disabled = false;
}

async function stop() {
  const { session } = state;
  await attempt(async () => {
    await api.stop(session.id);
    if (state.session?.id === session.id) goIdle("Stopped.");
  });
}

// Before a session is asked for, settings only wait for the start; while it starts, they wait for it.
async function apply(fields) {
  controls.hold(fields);
  let session = null;
  try {
    await state.starting;
    session = state.session;
    if (session === null) return;
    const changed = await api.change(session.id, fields);
    if (state.session?.id === session.id) state.session = { ...state.session, ...changed };
    if (!("snr_db" in fields)) notify("");
  } catch (error) {
    notify(error.message);
  } finally {
    controls.release(fields);
    if (session !== null && state.session?.id === session.id) showSession(state.session);
  }
}

async function refreshClips() {
  controls.setClips(await api.clips());
  if (state.session) controls.show(state.session);
}

async function upload(file) {
  const { max_upload_bytes: limit, upload_suffixes: suffixes } = state.options;
  if (!suffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix))) {
    return notify(`“${file.name}” is not a video file: give one of ${suffixes.map((suffix) => suffix.slice(1)).join(", ")}.`);
  }
  if (file.size > limit) {
    return notify(`“${file.name}” is larger than the ${Math.round(limit / 1e6)} MB this console takes: cut it shorter or lower its resolution.`);
  }
  const progress = $("upload-progress");
  const abort = new AbortController();
  $("upload-cancel").onclick = () => abort.abort();
  const onProgress = (fraction) => {
    progress.querySelector("progress").value = fraction;
    setText(progress.querySelector("span"), fraction < 1 ? `${Math.round(100 * fraction)} %` : "checking…");
  };
  onProgress(0);
  progress.hidden = false;
  $("upload").disabled = true;
  await attempt(async () => {
    const clip = await api.upload(file, { onProgress, signal: abort.signal });
    await refreshClips();
    controls.chooseClip(clip.id);
  });
  progress.hidden = true;
  $("upload").disabled = false;
}

async function toggleWebcam() {
  if (webcam) return endWebcam("");
  $("webcam").disabled = true;
  webcam = await attempt(() => Webcam.publish(state.options.ice_servers, endWebcam));
  $("webcam").disabled = false;
  if (!webcam) return;
  showWebcam();
  await attempt(refreshClips);
  controls.chooseClip(webcam.clip);
  if (state.phase === "idle") await start();
}

function endWebcam(sentence) {
  webcam?.close();
  webcam = null;
  showWebcam();
  notify(sentence);
  attempt(refreshClips);
}

function showWebcam() {
  $("webcam").setAttribute("aria-pressed", String(webcam !== null));
  setText($("webcam"), webcam ? "Stop webcam" : "Use webcam");
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    setText($("copy-link"), "Copied");
  } catch {
    notify(`The browser did not let the page copy its link: ${location.href}`);
  }
  setTimeout(() => setText($("copy-link"), "Copy link"), 1500);
}

function wire() {
  $("start").addEventListener("click", start);
  $("stop").addEventListener("click", stop);
  $("upload").addEventListener("click", () => $("upload-file").click());
  $("upload-file").addEventListener("change", () => {
    const [file] = $("upload-file").files;
    $("upload-file").value = "";
    if (file) upload(file);
  });
  $("webcam").addEventListener("click", toggleWebcam);
  $("copy-link").addEventListener("click", copyLink);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const pane of Object.values(panes)) pane.enlarge(false);
  });
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    $("dropzone").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) $("dropzone").hidden = true;
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    $("dropzone").hidden = true;
    const [file] = event.dataTransfer.files;
    if (file && state.options) upload(file);
  });
  window.addEventListener("pagehide", () => {
    for (const player of Object.values(players)) player.close();
    webcam?.close();
  });
  const obstacle = cameraObstacle();
  $("webcam").disabled = obstacle !== "";
  $("webcam-hint").hidden = obstacle === "";
  setText($("webcam-hint"), obstacle);
}

// Coming up, and watching out for a session while there is none

async function watchIdle() {
  if (state.phase !== "live" && !state.starting) {
    try {
      const { services } = await api.ready();
      setLinked(true);
      showServices(services);
      if (state.options === null) await prepare();
      const session = state.options && (await findSession());
      if (session && state.session === null && !state.starting) join(session);
      else if (state.phase === "loading") {
        setPhase("idle");
        setText($("state"), "Ready.");
      }
    } catch (error) {
      if (error.status === 0) setLinked(false);
      setText($("state"), error.message);
    }
  }
  setTimeout(watchIdle, IDLE_POLL_MS);
}

async function prepare() {
  const [options, clips] = await Promise.all([api.options(), api.clips()]);
  snr.setRange(options.snr_db);
  controls.draw(options);
  controls.setClips(clips);
  $("upload-file").accept = options.upload_suffixes.join(",");
  $("start").disabled = false;
  state.options = options;
}

wire();
setInterval(tick, TICK_MS);
watchIdle();
