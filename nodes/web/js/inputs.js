// Inputs of this pack's nodes that stand back, and values of workflows that were saved when a node had other ones.
import { app } from "../../../scripts/app.js";

// A workflow holds the values of a node's widgets in their order, without names: the orders that there were.
const EARLIER = {
  VLDM_DetectDamage: [
    "find", "dirt_threshold", "dirt_certainty", "dirt_grow", "dirt_polarity", "scratch_threshold", "scratch_min_depth",
    "locked_shots", "dirt_detector", "dirt_min_size", "dirt_lifetime", "scratch_detector", "scratch_certainty",
    "scratch_grow", "preview_style", "judge_probability",
  ],
  VLDM_RepairDamage: ["dirt_feather", "scratch_rows", "dirt_grain"],
  VLDM_RestoreReel: [
    "dirt", "scratches", "flicker", "stabilise", "codec", "crf", "folder", "filename_prefix", "dirt_detector",
    "scratch_detector", "dirt_grain", "prerestore", "prerestore_strength", "keep_grain", "strict", "flash",
    "deinterlace",
  ],
};
// What a node did not do in those workflows.
const WAS_OFF = { VLDM_RestoreReel: ["average"] };
// The first value of a node as it is now names a choice; before, it did not, or the second was a number.
const IS_EARLIER = {
  VLDM_DetectDamage: (values) => typeof values[1] === "number",
  VLDM_RepairDamage: (values) => typeof values[0] === "number",
  VLDM_RestoreReel: (values) => typeof values[0] === "boolean",
};

// Give every widget the value that it had by its name, and leave those that there were not at their defaults.
function restoreByName(node, values, defaults) {
  const names = EARLIER[node.comfyClass];
  const said = Object.fromEntries(names.map((name, place) => [name, values[place]]));
  for (const name of WAS_OFF[node.comfyClass] ?? []) said[name] = false;
  for (const widget of node.widgets ?? []) {
    const value = said[widget.name] ?? defaults.get(widget.name);
    if (value !== undefined) widget.value = value;
  }
}

// Frontends up to 1.27 leave room on the node for widgets that they do not draw: while one is hidden, it has no height.
function takeNoRoomWhileHidden(node, widget) {
  let own = widget.computeSize;
  // Every widget is given 4 pixels around it.
  const none = () => [0, -4];
  Object.defineProperty(widget, "computeSize", {
    configurable: true,
    get: () => (node.isWidgetVisible?.(widget) === false ? none : own),
    set: (made) => { own = made; },
  });
}

app.registerExtension({
  name: "VLDM.Inputs",

  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("VLDM_")) return;
    const behind = (node.widgets ?? []).filter((widget) => widget.options?.advanced);
    // Frontends up to 1.27 read the mark of the widget, and are given that of its options.
    for (const widget of behind) {
      widget.advanced = true;
      takeNoRoomWhileHidden(node, widget);
    }
    if (behind.length) node.setSize?.(node.computeSize());
    if (!EARLIER[node.comfyClass]) return;
    const defaults = new Map((node.widgets ?? []).map((widget) => [widget.name, widget.value]));
    const configured = node.onConfigure;
    node.onConfigure = function (saved) {
      const values = saved?.widgets_values;
      if (Array.isArray(values) && values.length && IS_EARLIER[this.comfyClass](values)) {
        restoreByName(this, values, defaults);
      }
      return configured?.apply(this, arguments);
    };
  },
});
