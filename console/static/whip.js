// WHIP (RFC 9725): this browser's camera becomes a clip.

import { api } from "./api.js";
import { completeOffer } from "./peer.js";

// Why the camera cannot be used here; "" where it can.
export function cameraObstacle() {
  if (!window.isSecureContext) {
    return "A browser gives its camera only to pages of localhost or over HTTPS: serve the console with a certificate, or open it on the machine itself.";
  }
  if (!navigator.mediaDevices?.getUserMedia) return "This browser offers no camera.";
  return "";
}

export class Webcam {
  // Resolves once the transmitter has answered. onEnded(sentence): the stream is over.
  static async publish(iceServers, onEnded) {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 24 } },
        audio: false,
      });
    } catch (error) {
      throw new Error(CAMERA_ERRORS[error.name] ?? `The camera cannot be used (${error.name}).`);
    }
    const webcam = new Webcam(stream, onEnded);
    try {
      await webcam.#connect(iceServers);
    } catch (error) {
      webcam.close();
      throw error;
    }
    return webcam;
  }

  constructor(stream, onEnded) {
    this.stream = stream;
    this.onEnded = onEnded;
    this.clip = null;
    this.location = null;
  }

  async #connect(iceServers) {
    const connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.connection = connection;
    const [track] = this.stream.getVideoTracks();
    connection.addTransceiver(track, { direction: "sendonly", streams: [this.stream] });
    track.addEventListener("ended", () => this.#end("The camera was switched off."));
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState === "failed") this.#end("The webcam’s connection was lost.");
    });
    const { answer, location, clip } = await api.offer("/whip", await completeOffer(connection));
    this.location = location;
    this.clip = clip;
    await connection.setRemoteDescription({ type: "answer", sdp: answer });
  }

  #end(sentence) {
    if (!this.connection) return;
    this.close();
    this.onEnded(sentence);
  }

  close() {
    this.connection?.close();
    this.connection = null;
    for (const track of this.stream.getTracks()) track.stop();
    if (this.location) api.hangUp(this.location);
    this.location = null;
  }
}

const CAMERA_ERRORS = {
  NotAllowedError: "The camera was not allowed: allow it for this page in the browser, then try again.",
  NotFoundError: "No camera was found: plug one in, then try again.",
  NotReadableError: "The camera is used by another program: close that, then try again.",
};
