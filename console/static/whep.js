// WHEP: one video of a session, kept playing. Whatever breaks it (a service restarted, the network
// gone, frames that stop) leads to a fresh connection, after a wait that grows from 0.25 s to 4 s.

import { api } from "./api.js";
import { completeOffer } from "./peer.js";

const RETRY_FIRST_MS = 250;
const RETRY_LAST_MS = 4000;
const CHECK_MS = 400;
const SUSPECT_MS = 900;
const FIRST_FRAME_MS = 5000;

export class WhepPlayer {
  // onState("connecting" | "playing" | "waiting", sentence): "waiting" goes on until a frame is there.
  constructor(video, path, { iceServers, freezeMs, onState }) {
    this.video = video;
    this.path = path;
    this.iceServers = iceServers;
    this.freezeMs = freezeMs;
    this.onState = onState;
    this.closed = false;
    this.attempts = 0; // in a row without a picture
    this.connects = 0;
    this.framesReceived = 0;
    this.bytesReceived = 0;
    this.connection = null;
    this.location = null;
    this.timer = null;
    this.checker = setInterval(() => this.#check(), CHECK_MS);
    this.#connect();
  }

  close() {
    this.closed = true;
    clearInterval(this.checker);
    clearTimeout(this.timer);
    this.#hangUp();
    this.video.srcObject = null;
  }

  // Something has happened that may have ended the stream: look soon, and not after `freezeMs`.
  suspect() {
    this.deadline = Math.min(this.deadline ?? Infinity, performance.now() + SUSPECT_MS);
  }

  // The service is back after a failure: do not wait out the back-off.
  reconnect() {
    if (this.closed) return;
    this.attempts = 0;
    this.#retry("", 0);
  }

  async #connect() {
    if (this.connects === 0) this.onState("connecting", "");
    this.connects += 1;
    const connection = new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: "max-bundle" });
    this.connection = connection;
    const { receiver } = connection.addTransceiver("video", { direction: "recvonly" });
    // Live: show a frame when it is there, smooth nothing.
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
    const isCurrent = () => !this.closed && this.connection === connection;
    connection.addEventListener("connectionstatechange", () => {
      if (isCurrent() && ["failed", "closed"].includes(connection.connectionState)) {
        this.#retry("");
      }
    });
    connection.addEventListener("track", ({ track, streams }) => {
      if (!isCurrent()) return;
      track.addEventListener("ended", () => isCurrent() && this.#retry(""));
      this.video.srcObject = streams[0] ?? new MediaStream([track]);
      // Autoplay of a muted video is allowed; being interrupted by a newer stream is no fault.
      this.video.play().catch(() => {});
    });
    try {
      const { answer, location } = await api.offer(this.path, await completeOffer(connection));
      if (!isCurrent()) {
        if (location) api.hangUp(location);
        return;
      }
      this.location = location;
      await connection.setRemoteDescription({ type: "answer", sdp: answer });
      this.framesReceived = 0;
      this.deadline = performance.now() + Math.max(this.freezeMs, FIRST_FRAME_MS);
    } catch (error) {
      if (isCurrent()) this.#retry(error.message);
    }
  }

  async #check() {
    const connection = this.connection;
    if (this.closed || connection === null || this.location === null) return;
    const report = await connection.getStats();
    if (this.connection !== connection) return;
    for (const stats of report.values()) {
      if (stats.type !== "inbound-rtp" || stats.kind !== "video") continue;
      this.bytesReceived = stats.bytesReceived;
      if (stats.framesReceived > this.framesReceived) {
        this.framesReceived = stats.framesReceived;
        this.deadline = performance.now() + this.freezeMs;
        this.attempts = 0;
        this.onState("playing", "");
      }
    }
    if (performance.now() > this.deadline) this.#retry("");
  }

  #retry(reason, waitMs = Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** this.attempts)) {
    // Told first: the picture goes with the connection.
    this.onState("waiting", reason);
    this.#hangUp();
    this.attempts += 1;
    clearTimeout(this.timer);
    // Pages that lost the same service should not all come back in the same instant.
    this.timer = setTimeout(() => this.#connect(), waitMs * (0.8 + 0.4 * Math.random()));
  }

  #hangUp() {
    const { connection, location } = this;
    this.connection = null;
    this.location = null;
    connection?.close();
    if (location) api.hangUp(location);
  }
}
