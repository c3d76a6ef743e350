import type { DetectOptions, Size } from './detector.ts';
import { fitWithin } from './letterbox.ts';

/** Sizes of a model's input; null sides are free. */
export type DeclaredSize = { width: number | null; height: number | null };

/** Free sides have to be multiples of this, the coarsest stride of the detectors here. */
export const SIZE_STEP = 32;

const roundedUp = (pixels: number) => Math.ceil(pixels / SIZE_STEP) * SIZE_STEP;

/**
 * The sizes between picture and model: a frame keeps the picture's aspect ratio and fills the input's longer side; a
 * free input is no larger than its frame needs.
 *
 * @param longestSide the frame's longest side in pixels where the input is free and the request does not say
 */
export function createSizing(declared: DeclaredSize, longestSide: (picture: Size) => number) {
  return {
    frameSize(picture: Size, options: Pick<DetectOptions, 'inputSize'>): Size {
      const side = options.inputSize ?? longestSide(picture);
      return fitWithin(picture, { width: declared.width ?? side, height: declared.height ?? side });
    },
    inputFor(frame: Size): Size {
      return {
        width: declared.width ?? roundedUp(frame.width),
        height: declared.height ?? roundedUp(frame.height),
      };
    },
  };
}
