// What a node of this pack found is drawn on the node: a report as text, the picture that is being worked on, a slider
// between before and after. All of it is one DOM widget per node, which both of ComfyUI's renderers lay out, and which is
// there from the start, so that a node is as tall after its run as before.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const WIDGET = "vldm_result";
const LIVE_EVENT = "vldm.live";
const WARNING = "warning: ";
// Least height in pixels. A report scrolls; a picture takes whatever is left of the node.
const REPORT_HEIGHT = 96;
const LIVE_HEIGHT = 180;
const SLIDER_HEIGHT = 300;
const PLACES_HEIGHT = 120;

// What each node shows beside its stock preview.
const SHOWS = {
  VLDM_CaptionShots: ["report"],
  VLDM_Compare: ["slider", "places", "report"],
  VLDM_DetectShots: ["report"],
  VLDM_Era: ["report"],
  VLDM_FilmSettings: ["report"],
  VLDM_KeyFrames: ["report"],
  VLDM_LoadRestorationControl: ["report"],
  VLDM_RestoreReel: ["live", "report"],
  VLDM_ShotConditioning: ["report"],
  VLDM_TagShots: ["report"],
};

function element(tag, className, style) {
  const made = document.createElement(tag);
  made.className = className;
  Object.assign(made.style, style);
  return made;
}

function picture(className, style) {
  const made = element("img", className, { display: "none", width: "100%", objectFit: "contain", ...style });
  made.draggable = false;
  return made;
}

function show(image, url) {
  image.style.display = url ? "block" : "none";
  if (url) image.src = url;
  else image.removeAttribute("src");
}

function textOf(output) {
  return [output?.text ?? []].flat().filter((part) => typeof part === "string").join("\n");
}

function viewUrl(file) {
  return file && api.apiURL(`/view?${new URLSearchParams(file)}`);
}

// Two pictures of one size, one over the other, with a border between them that follows the pointer.
class Slider {
  constructor() {
    this.element = element("div", "vldm-slider", {
      display: "none", position: "relative", flex: "1 1 0", minHeight: `${SLIDER_HEIGHT}px`, cursor: "ew-resize",
      touchAction: "none",
    });
    const over = { position: "absolute", inset: "0", height: "100%", userSelect: "none" };
    this.before = picture("vldm-before", over);
    this.after = picture("vldm-after", over);
    this.border = element("div", "vldm-border", {
      position: "absolute", top: "0", bottom: "0", width: "2px", background: "#fff", pointerEvents: "none",
    });
    const label = (text, side) => {
      const made = element("span", "vldm-label", {
        position: "absolute", top: "4px", [side]: "6px", padding: "1px 6px", font: "12px sans-serif", color: "#eee",
        background: "rgba(0, 0, 0, 0.6)", borderRadius: "3px", pointerEvents: "none",
      });
      made.textContent = text;
      return made;
    };
    this.element.append(this.before, this.after, this.border, label("before", "left"), label("after", "right"));
    this.move(0.5);
    const follow = (event) => {
      const box = this.element.getBoundingClientRect();
      this.move((event.clientX - box.left) / box.width);
      // The canvas below would otherwise drag the node.
      event.stopPropagation();
    };
    this.element.addEventListener("pointermove", follow);
    this.element.addEventListener("pointerdown", follow);
  }

  move(share) {
    const place = `${Math.min(1, Math.max(0, share)) * 100}%`;
    this.after.style.clipPath = `inset(0 0 0 ${place})`;
    this.border.style.left = place;
  }

  show(before, after) {
    this.element.style.display = before && after ? "block" : "none";
    show(this.before, before);
    show(this.after, after);
  }
}

class Result {
  constructor(node, parts) {
    const box = element("div", "vldm-result", {
      display: "flex", flexDirection: "column", width: "100%", height: "100%", boxSizing: "border-box",
      overflow: "hidden",
    });
    if (parts.includes("live")) {
      this.live = picture("vldm-live", { flex: "1 1 0", minHeight: `${LIVE_HEIGHT}px` });
      box.append(this.live);
    }
    if (parts.includes("slider")) {
      this.slider = new Slider();
      box.append(this.slider.element);
    }
    if (parts.includes("places")) {
      this.places = picture("vldm-places", { flex: `0 0 ${PLACES_HEIGHT}px`, minHeight: "0" });
      box.append(this.places);
    }
    this.report = element("div", "vldm-report", {
      flex: `0 0 ${REPORT_HEIGHT}px`, overflow: "auto", whiteSpace: "pre-wrap",
      font: "12px/1.4 sans-serif", color: "var(--input-text, #ddd)", userSelect: "text", overflowWrap: "anywhere",
    });
    // Text is to be scrolled and marked, not the canvas moved.
    this.report.addEventListener("pointerdown", (event) => event.stopPropagation());
    this.report.addEventListener("wheel", (event) => event.stopPropagation());
    box.append(this.report);
    const least = REPORT_HEIGHT + (parts.includes("slider") ? SLIDER_HEIGHT + PLACES_HEIGHT : 0);
    box.style.minHeight = `${least}px`;
    const widget = node.addDOMWidget(WIDGET, WIDGET, box, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => least,
      getValue: () => this.report.textContent,
      setValue: () => {},
    });
    // Neither in the workflow file nor among the node's inputs.
    widget.serialize = false;
  }

  watch(url) {
    if (this.live) show(this.live, url);
  }

  take(output) {
    const text = textOf(output);
    if (text) this.report.textContent = text;
    // The film itself plays in the stock preview; a film that no browser plays leaves its last frame in sight.
    if (this.live && output?.images?.length) this.watch(null);
    this.slider?.show(viewUrl(output?.before?.[0]), viewUrl(output?.after?.[0]));
    if (this.places) show(this.places, viewUrl(output?.places?.[0]));
  }
}

// A node in a subgraph is named by the way to it, "4:7".
function nodeAt(path) {
  let graph = app.rootGraph ?? app.graph;
  let node = null;
  for (const part of String(path).split(":")) {
    node = graph?.getNodeById?.(part) ?? graph?.getNodeById?.(Number(part));
    graph = node?.subgraph;
  }
  return node;
}

// Other nodes have something to say only now and then: which frames a stage could not do.
function take(node, output) {
  if (!node?.comfyClass?.startsWith("VLDM_")) return;
  if (!node.vldmResult && textOf(output).includes(WARNING)) node.vldmResult = new Result(node, ["report"]);
  node.vldmResult?.take(output);
}

app.registerExtension({
  name: "VLDM.Results",

  setup() {
    api.addEventListener(LIVE_EVENT, ({ detail }) => nodeAt(detail.node)?.vldmResult?.watch(detail.picture));
  },

  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("VLDM_")) return;
    const parts = SHOWS[node.comfyClass];
    if (parts) node.vldmResult = new Result(node, parts);
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
      executed?.apply(this, arguments);
      take(this, output);
    };
  },

  // Newer frontends bring the outputs back when a workflow is opened again.
  onNodeOutputsUpdated(outputs) {
    for (const [path, output] of Object.entries(outputs)) take(nodeAt(path), output);
  },
});
