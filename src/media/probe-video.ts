import { AppError, TransientError } from '../errors.ts';
import { CagedProgramError } from './cage.ts';
import { probeStreams } from './ffprobe.ts';
import { isReachable, unreadable } from './media-errors.ts';
import { type VideoHeader, videoHeaderOf } from './video-header.ts';
import { videoContainerOf } from './video-signature.ts';

/** Time for the first look at a file. */
const PROBE_TIMEOUT_MS = 10_000;

const notAVideo = () =>
  new AppError(
    'UNSUPPORTED_MEDIA_TYPE',
    'The file is not a video of a supported type: MP4, MOV, 3GP, Matroska, WebM, AVI, FLV, WMV, MPEG-TS, MPEG-PS or GIF.',
  );

/**
 * Looks at a video without decoding it: type by content, size as a person sees it, rate, length, sound. ffprobe does the
 * reading, in a cage: it may open this file alone, as the one container that the first bytes name.
 *
 * @param head the first bytes of the file, 4100 or all of a shorter one
 * @param limits `pixels`: width x height of a frame, stored and as seen, that is still taken
 * @throws AppError UNSUPPORTED_MEDIA_TYPE for anything but the containers of {@link videoContainerOf}
 * @throws AppError UNREADABLE_MEDIA for an empty file, a broken one, one without video stream or with too large frames,
 *   and one that takes longer than ten seconds to look at
 * @throws TransientError where the file cannot be reached or ffprobe cannot be started, or the reason of the abort
 */
export async function probeVideo(
  path: string,
  head: Uint8Array,
  limits: { pixels: number },
  signal?: AbortSignal,
): Promise<VideoHeader> {
  if (head.length === 0) throw unreadable('The file is empty.');
  const container = videoContainerOf(head);
  if (container === undefined) throw notAVideo();
  const header = videoHeaderOf(await probe(path, container.demuxer, signal), container);
  for (const { width, height } of [header.stored, header]) {
    if (width * height > limits.pixels) {
      throw unreadable(
        `The video is too large: ${width} x ${height} pixels a frame, while this server reads at most ${limits.pixels} pixels.`,
      );
    }
  }
  return header;
}

async function probe(path: string, demuxer: string, signal: AbortSignal | undefined) {
  try {
    return await probeStreams({ path, demuxer }, { timeoutMs: PROBE_TIMEOUT_MS, signal });
  } catch (error) {
    if (signal?.aborted || error instanceof TransientError) throw error;
    if (error instanceof AppError) throw unreadable('It takes too long to find out what the video contains.', error);
    if (error instanceof CagedProgramError && !(await isReachable(path))) {
      throw new TransientError('The video cannot be read from storage.', { cause: error });
    }
    throw unreadable('The video is damaged or incomplete.', error);
  }
}
