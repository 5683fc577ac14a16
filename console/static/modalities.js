// What a link carries: how each modality is called, and the colour it has everywhere in the page.
// The colours are Okabe and Ito's for colour-blind readers, some lightened for the dark ground.

export const MODALITIES = {
  pilot: { title: "pilots", color: "#5f6d77" },
  control: { title: "control", color: "#a9b6bf" },
  motion: { title: "motion", color: "#f4f7f9" },
  caption: { title: "caption", color: "#f0e442" },
  keyframe: { title: "keyframe", color: "#d55e00" },
  sketch: { title: "sketch", color: "#cc79a7" },
  contours: { title: "contours", color: "#56b4e9" },
  lowres: { title: "low-res", color: "#009e73" },
  video: { title: "video", color: "#e69f00" },
};

const OBJECT_COLORS = ["#56b4e9", "#f0e442", "#ff7a3c", "#35d6a4", "#f29ac9", "#ffffff", "#7fa2ff", "#ffb02e"];

// The pen of an object, label 1 to 15: always the same. Labels past the colours are dashed.
export function objectPen(label) {
  const index = label - 1;
  return { color: OBJECT_COLORS[index % OBJECT_COLORS.length], dashed: index >= OBJECT_COLORS.length };
}
