// Draws what was received over the picture: outlines of objects, and the strokes of a sketch.
// Legible on any picture: each line is a bright one on a dark one. No state in here.

import { MODALITIES, objectPen } from "./modalities.js";

const DARK = "rgb(4 6 8 / 82%)";
const FILL_ALPHA = 0.14;
const OLD_ALPHA = 0.4;

// Where a picture of this aspect lies in a box, as CSS's object-fit: contain puts it.
export function containedBox(boxWidth, boxHeight, width, height) {
  const scale = Math.min(boxWidth / width, boxHeight / height);
  const box = { width: width * scale, height: height * scale, scale };
  return { ...box, left: (boxWidth - box.width) / 2, top: (boxHeight - box.height) / 2 };
}

// contours: [{ label, xy_px }] of outlines; pixel (x, y) of the video frame covers x to x + 1.
// box: of containedBox, in canvas pixels; lineWidth in canvas pixels; isOld: dimmed.
export function drawContours(context, contours, box, lineWidth, isOld) {
  const paths = new Map();
  for (const { label, xy_px: xy } of contours) {
    const path = paths.get(label) ?? new Path2D();
    paths.set(label, path);
    for (let index = 0; index < xy.length; index += 2) {
      const x = box.left + xy[index] * box.scale;
      const y = box.top + xy[index + 1] * box.scale;
      if (index === 0) path.moveTo(x, y);
      else path.lineTo(x, y);
    }
    path.closePath();
  }
  context.save();
  context.lineJoin = "round";
  for (const [label, path] of paths) {
    context.globalAlpha = FILL_ALPHA;
    context.fillStyle = objectPen(label).color;
    // Outlines of holes run the other way round, so holes stay empty: as the contour codec fills.
    context.fill(path, "nonzero");
    context.globalAlpha = isOld ? OLD_ALPHA : 1;
    context.lineWidth = lineWidth * 2.8;
    context.strokeStyle = DARK;
    context.stroke(path);
  }
  // The bright line lies inside its object: where two touch, both are seen.
  for (const [label, path] of paths) {
    const { color, dashed } = objectPen(label);
    context.save();
    context.clip(path, "nonzero");
    context.lineWidth = lineWidth * 2;
    context.setLineDash(dashed ? [5 * lineWidth, 3 * lineWidth] : []);
    context.strokeStyle = color;
    context.stroke(path);
    context.restore();
  }
  context.restore();
}

// sketch: of readSketch. The strokes are as thick as they came.
export function drawSketch(context, sketch, box, lineWidth) {
  const around = [-1, 0, 1].flatMap((dx) => [-1, 0, 1].map((dy) => [dx, dy]));
  const reach = lineWidth * 0.6;
  for (const [dx, dy] of around) {
    context.drawImage(sketch.dark, box.left + dx * reach, box.top + dy * reach, box.width, box.height);
  }
  context.drawImage(sketch.bright, box.left, box.top, box.width, box.height);
}

// { width_px, height_px, bits_deflated } as two canvases with nothing but strokes.
export async function readSketch({ width_px: width, height_px: height, bits_deflated: text }) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bits = new Uint8Array(await new Response(stream).arrayBuffer());
  const rowBytes = Math.ceil(width / 8);
  const mask = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const bit = (bits[y * rowBytes + (x >> 3)] >> (7 - (x & 7))) & 1;
      mask.data[4 * (y * width + x) + 3] = 255 * bit;
    }
  }
  return { bright: tinted(mask, MODALITIES.sketch.color), dark: tinted(mask, "#040608") };
}

// A canvas of one colour where the mask is opaque.
function tinted(mask, color) {
  const canvas = new OffscreenCanvas(mask.width, mask.height);
  const context = canvas.getContext("2d");
  context.putImageData(mask, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = color;
  context.fillRect(0, 0, mask.width, mask.height);
  return canvas;
}

// { width_px, height_px, rgb } on a canvas of its own size.
export function drawTile(canvas, { width_px: width, height_px: height, rgb: text }) {
  const rgb = bytesOf(text);
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    image.data.set(rgb.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel);
    image.data[4 * pixel + 3] = 255;
  }
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
