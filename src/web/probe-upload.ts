import pLimit from 'p-limit';
import type { Media } from '../contract/kinds.ts';
import { annotatedType } from '../media/media-types.ts';
import { probeImage } from '../media/probe-image.ts';
import { probeVideo } from '../media/probe-video.ts';
import type { Upload } from './upload.ts';

/** What is known of an upload before it is queued; width and height in pixels as a person sees it. */
export type UploadHeader = {
  mime: string;
  extension: string;
  width: number;
  height: number;
  annotatedExtension: string;
};

/** Videos are looked at by a program each: so many at a time. */
const VIDEO_PROBES_AT_ONCE = 8;

const videoProbes = pLimit(VIDEO_PROBES_AT_ONCE);

/**
 * Looks at an upload's header, by its content.
 *
 * @param limits `pixels`: width x height of a picture or a frame that is still taken
 * @param gone aborts when nobody waits for the answer any more
 * @throws AppError UNSUPPORTED_MEDIA_TYPE, UNREADABLE_MEDIA, the reason of `gone`
 */
export async function probeUpload(
  media: Media,
  { path, head, bytes }: Upload,
  limits: { pixels: number },
  gone: AbortSignal,
): Promise<UploadHeader> {
  if (media === 'image') {
    const header = await probeImage(path, head, bytes, limits);
    return { ...header, annotatedExtension: annotatedType(header.mime).extension };
  }
  const { mime, extension, width, height } = await videoProbes(() => probeVideo(path, head, limits, gone));
  return { mime, extension, width, height, annotatedExtension: 'mp4' };
}
