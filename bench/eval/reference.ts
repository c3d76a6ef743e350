/**
 * Accuracy on the labelled pictures of ../shared/data as its makers measured it with their own code on the models' raw
 * output (../shared/models/README.md). Ours may differ by the choice of input size and by rounding to whole pixels.
 */
export type Reference = {
  ap50_95: number;
  ap50: number;
  person?: { ap50_95: number; ap50: number };
  /** At the model's default confidence of 0.6; `false_on_faceless`: on 24 pictures without a face. */
  at_0_6?: { recall: number; precision: number; false_on_faceless: number };
};

export const REFERENCES: Readonly<Record<string, Reference>> = {
  yunet: { ap50_95: 0.441, ap50: 0.836, at_0_6: { recall: 0.81, precision: 0.93, false_on_faceless: 5 } },
  yunet_s: { ap50_95: 0.405, ap50: 0.769, at_0_6: { recall: 0.72, precision: 0.93, false_on_faceless: 1 } },
  ultraface: { ap50_95: 0.3, ap50: 0.637 },
  yolox_nano: { ap50_95: 0.388, ap50: 0.578, person: { ap50_95: 0.329, ap50: 0.506 } },
  yolov8n_int8: { ap50_95: 0.504, ap50: 0.692, person: { ap50_95: 0.48, ap50: 0.646 } },
  yolo26n_int8: { ap50_95: 0.519, ap50: 0.686, person: { ap50_95: 0.459, ap50: 0.644 } },
};
