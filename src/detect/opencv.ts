import { loadOpenCV } from '@opencvjs/node';

/**
 * The part of OpenCV's WebAssembly build that is used here; its own declarations leave `detectMultiScale3` out.
 * What `new` makes lives in its heap until `delete` is called.
 */
type OpenCv = {
  CV_8UC1: number;
  Mat: new (rows: number, columns: number, type: number) => Owned & { data: Uint8Array };
  Size: new (width: number, height: number) => object;
  RectVector: new () => Owned & Vector<{ x: number; y: number; width: number; height: number }>;
  IntVector: new () => Owned & Vector<number>;
  DoubleVector: new () => Owned & Vector<number>;
  CascadeClassifier: new () => Owned & {
    load(path: string): boolean;
    detectMultiScale3(
      image: object,
      objects: object,
      levels: object,
      weights: object,
      scaleFactor: number,
      minNeighbors: number,
      flags: number,
      minSize: object,
      maxSize: object,
      outputRejectLevels: boolean,
    ): void;
  };
  FS_createDataFile(folder: string, name: string, data: Uint8Array, read: boolean, write: boolean, own: boolean): void;
  FS_unlink(path: string): void;
  exceptionFromPtr(pointer: number): { msg: string };
};

type Owned = { delete(): void };
type Vector<T> = { size(): number; get(index: number): T };

export type CascadeFinding = { x: number; y: number; width: number; height: number; weight: number };

export type CascadeParameters = {
  /** By how much the picture shrinks from one scale to the next. */
  scaleFactor: number;
  /** How many overlapping hits make a finding. */
  minNeighbors: number;
  /** Smallest width and height of a finding in pixels. */
  minSide: number;
};

export type Cascade = {
  /**
   * Looks for objects; blocks the thread meanwhile.
   *
   * @param fill writes the grey picture's rows into the given memory, width x height bytes
   */
  detect(width: number, height: number, fill: (grey: Uint8Array) => void): CascadeFinding[];
  close(): void;
};

let cascadesMade = 0;

/** C++ exceptions come out of WebAssembly as bare numbers. */
function asError(cv: OpenCv, thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  let message = String(thrown);
  if (typeof thrown === 'number') {
    try {
      message = cv.exceptionFromPtr(thrown).msg;
    } catch {
      message = 'out of memory';
    }
  }
  return new Error(`OpenCV failed: ${message}`);
}

/**
 * Loads a cascade into OpenCV's WebAssembly build, which is loaded once per process.
 *
 * @param xml the cascade's file
 * @throws Error when it is no cascade
 */
export async function loadCascade(xml: Uint8Array, parameters: CascadeParameters): Promise<Cascade> {
  const cv = (await loadOpenCV()) as unknown as OpenCv;
  const name = `cascade-${cascadesMade++}.xml`;
  cv.FS_createDataFile('/', name, xml, true, false, false);
  const classifier = new cv.CascadeClassifier();
  try {
    if (!classifier.load(`/${name}`)) throw new Error('The file is no cascade.');
  } catch (error) {
    classifier.delete();
    throw asError(cv, error);
  } finally {
    cv.FS_unlink(`/${name}`);
  }
  const minSize = new cv.Size(parameters.minSide, parameters.minSide);
  const anySize = new cv.Size(0, 0);

  return {
    detect(width, height, fill) {
      const owned: Owned[] = [];
      const own = <T extends Owned>(object: T): T => {
        owned.push(object);
        return object;
      };
      try {
        const grey = own(new cv.Mat(height, width, cv.CV_8UC1));
        fill(grey.data);
        const boxes = own(new cv.RectVector());
        const levels = own(new cv.IntVector());
        const weights = own(new cv.DoubleVector());
        const { scaleFactor, minNeighbors } = parameters;
        classifier.detectMultiScale3(
          grey,
          boxes,
          levels,
          weights,
          scaleFactor,
          minNeighbors,
          0,
          minSize,
          anySize,
          true,
        );
        return Array.from({ length: boxes.size() }, (_, index) => {
          const { x, y, width: boxWidth, height: boxHeight } = boxes.get(index);
          return { x, y, width: boxWidth, height: boxHeight, weight: weights.get(index) };
        });
      } catch (error) {
        throw asError(cv, error);
      } finally {
        for (const object of owned) object.delete();
      }
    },
    close() {
      classifier.delete();
    },
  };
}
