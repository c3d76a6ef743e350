import process from 'node:process';

// The library reads this as it is loaded. Otherwise it reports each use to its maker, and leaves a file in the folder for
// temporary ones for each process that loads it.
process.env.ORT_DISABLE_TELEMETRY = '1';

const { default: ort } = await import('onnxruntime-node');

/** ONNX Runtime, to be taken from here and never from the package itself. */
export { ort };
