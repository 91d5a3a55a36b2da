// The camera: what it sees, a hint four times a second, one photo.

import { qualityOf, type Quality } from "../measure/fundus.ts";
import { photoOf, type Pixels } from "../photo.ts";

/** Milliseconds between two hints, and the longest side of the frame that they are told from. */
const EVERY = 250;
const SIDE = 256;

/** Why a camera cannot be used: a key of messages. */
export class CameraError extends Error {}

export class Camera {
  private stream: MediaStream | null = null;
  private timer = 0;
  private readonly canvas = document.createElement("canvas");

  constructor(private readonly video: HTMLVideoElement) {}

  /** Open the rear camera and tell of each frame that is judged. */
  async open(hint: (quality: Quality) => void): Promise<void> {
    if (!navigator.mediaDevices?.getUserMedia) throw new CameraError("camera.none");
    const wanted = { facingMode: { ideal: "environment" }, width: { ideal: 1920 }, height: { ideal: 1440 } };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: wanted });
    } catch (error) {
      const name = error instanceof DOMException ? error.name : "";
      if (name === "NotAllowedError" || name === "SecurityError") throw new CameraError("camera.refused");
      if (name === "NotFoundError" || name === "OverconstrainedError") throw new CameraError("camera.none");
      throw new CameraError("camera.busy");
    }
    this.video.srcObject = this.stream;
    await this.video.play();
    const look = () => {
      if (!this.stream) return;
      if (this.video.videoWidth) hint(qualityOf(photoOf(this.frame(SIDE))));
      this.timer = window.setTimeout(look, EVERY);
    };
    look();
  }

  /** The frame of this moment, at its full size. */
  take(): Pixels {
    return this.frame(Infinity);
  }

  close(): void {
    window.clearTimeout(this.timer);
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }

  private frame(side: number): Pixels {
    const { videoHeight, videoWidth } = this.video;
    const factor = Math.min(1, side / Math.max(videoHeight, videoWidth));
    this.canvas.width = Math.max(32, Math.round(videoWidth * factor));
    this.canvas.height = Math.max(32, Math.round(videoHeight * factor));
    const context = this.canvas.getContext("2d", { willReadFrequently: true })!;
    context.drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    return context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }
}
