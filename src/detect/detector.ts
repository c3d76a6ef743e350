/** A decoded picture: RGB, 8 bits a channel, interleaved rows (HWC) without padding. */
export type Frame = { data: Uint8Array; width: number; height: number };

/** Width and height in pixels. */
export type Size = { width: number; height: number };

/** The size at which a picture is to be decoded; `linear` interpolation where nothing is said. */
export type FrameSize = Size & { kernel?: 'nearest' };

export type FaceLandmarks = {
  right_eye: [number, number];
  left_eye: [number, number];
  nose: [number, number];
  mouth_right: [number, number];
  mouth_left: [number, number];
};

/** One finding; all coordinates are fractional pixels of the frame that was given, inside it. */
export type Detection = {
  x: number;
  y: number;
  width: number;
  height: number;
  confidence: number;
  classId: number;
  label: string;
  landmarks?: FaceLandmarks;
};

export type DetectOptions = {
  /** 0 to 1; weaker findings are left out. */
  confidence: number;
  /** IoU, 0 to 1, above which the weaker of two boxes of one class is dropped. */
  nms: number;
  /** Labels to keep; all when undefined. */
  classes: readonly string[] | undefined;
  /** At most so many, the most confident first. */
  maxDetections: number;
  /** Longest side in pixels for models of free shape, a multiple of 32; chosen from the picture when undefined. */
  inputSize: number | undefined;
};

export type DetectOutcome = {
  /** By falling confidence. */
  detections: Detection[];
  inferenceMs: number;
  /** Filling the input, decoding the output and suppressing doubles, in ms. */
  postprocessMs: number;
};

export type Provider = 'cpu' | 'cuda';

/** A loaded model, ready to be asked again and again; not to be asked twice at the same time. */
export type Detector = {
  /**
   * The size at which the detector wants a picture to be decoded: the picture's own aspect ratio (to the nearest
   * pixel, at least 1x1), no larger than useful.
   */
  frameSize(picture: Size, options: DetectOptions): FrameSize;
  detect(frame: Frame, options: DetectOptions): Promise<DetectOutcome>;
  /** What it computes on. */
  readonly provider: Provider;
  close(): Promise<void>;
};

/** What a detector is made of besides its model. */
export type DetectorSettings = {
  executionProviders: readonly Provider[];
  /** Longest side in pixels at which Haar looks. */
  haarLongestSide: number;
};
